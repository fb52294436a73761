"""Conversion of a onestep body to a job's files: ``python -m cloudburst.service.unpack FOLDER``.

In a process of its own, because parsing hundreds of megabytes of JSON would block the server and
stay in its memory. It writes one line: ``{"unpacked": …}``, or ``{"fault": …}`` with exit code 2.
"""

from __future__ import annotations

import binascii
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from cloudburst.models.options import RenderOptions
from cloudburst.renderer.confinement.decoders import confine
from cloudburst.renderer.job import (
    AUDIO,
    IMAGE,
    INPUT_FAULT_EXIT_CODE,
    SUBTITLE,
    WATERMARK,
    InputFault,
    InputFaultError,
)

# Name of the file in a job's folder to which the server writes the request body.
BODY_FILE = "body.json"

FILE_FIELDS = {
    "input_image": IMAGE,
    "input_audio": AUDIO,
    "subtitle": SUBTITLE,
    "watermark": WATERMARK,
}
REQUIRED_FIELDS = {"input_image", "input_audio"}
OPTION_FIELDS = (
    "background_box",
    "background_opacity",
    "effects",
    "font_size",
    "is_portrait",
    "language",
    "outline_color",
)

MAX_FILENAME_CHARS = 255


class Unpacked(BaseModel):
    """Values in the body of a request, apart from its files, which `unpack` writes to a folder."""

    model_config = ConfigDict(frozen=True)

    filename: str
    options: RenderOptions


class UnpackLine(BaseModel):
    """Output line of the process that unpacks a request body: the values, or their fault."""

    unpacked: Unpacked | None = None
    fault: InputFault | None = None


def unpack(folder: Path) -> Unpacked:
    """Unpack and delete ``body.json``, and return its values besides the input files.

    Raises `InputFaultError` for an invalid field.
    """
    path = folder / BODY_FILE
    try:
        data: Any = from_json(path.read_bytes(), allow_inf_nan=False)
    except ValueError as error:
        raise InputFaultError("body", f"invalid JSON ({error})", "a JSON object") from None
    if not isinstance(data, dict):
        raise InputFaultError("body", type(data).__name__, "a JSON object")
    fields = cast("dict[str, Any]", data)
    unpacked = Unpacked(filename=_filename(fields), options=_options(fields))
    for field, name in FILE_FIELDS.items():
        if (value := fields.get(field)) not in (None, ""):
            (folder / name).write_bytes(_decoded(field, value))
        elif field in REQUIRED_FIELDS:
            raise InputFaultError(field, "nothing", "a file in base64")
    path.unlink()
    return unpacked


def _filename(data: Mapping[str, Any]) -> str:
    name = data.get("output_filename")
    if name is None:
        return "output.mp4"
    if not isinstance(name, str) or len(name) > MAX_FILENAME_CHARS:
        expected = f"a text of at most {MAX_FILENAME_CHARS} characters"
        raise InputFaultError("output_filename", repr(name)[:200], expected)
    return name


def _options(data: Mapping[str, Any]) -> RenderOptions:
    # As in the public image, ``null`` means the default, and the default of the effects is no
    # effect.
    given = {name: data[name] for name in OPTION_FIELDS if data.get(name) is not None}
    if given.get("is_portrait") is False:
        del given["is_portrait"]  # in the public image it only selected the subtitle style
    try:
        return RenderOptions.model_validate({"effects": (), **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InputFaultError(field, repr(first["input"])[:200], first["msg"]) from None


def _decoded(field: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise InputFaultError(field, type(value).__name__, "a file in base64")
    text = value.encode("utf-8", "replace").translate(None, b" \t\r\n")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise InputFaultError(field, f"invalid base64 ({error})", "a file in base64") from None


def main() -> None:
    """Unpack the body in the folder that is the only command-line argument."""
    code, folder = 0, Path(sys.argv[1])
    confine(folder)
    try:
        line = UnpackLine(unpacked=unpack(folder))
    except InputFaultError as error:
        line, code = UnpackLine(fault=error.fault), INPUT_FAULT_EXIT_CODE
    sys.stdout.write(json.dumps(line.model_dump(mode="json")) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
