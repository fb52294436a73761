"""Conversion of a onestep body to a job's files: ``python -m cloudburst.service.unpack FOLDER``.

The conversion runs in its own process, because parsing a body of hundreds of megabytes of JSON
would block the server and stay in its memory. The process itself needs little memory: long base64
strings are found in the memory-mapped file and decoded in blocks, and the JSON is parsed with short
placeholders in their place.

The process writes one line of JSON: ``{"unpacked": …}``, or ``{"fault": …}`` with exit code 2.
"""

from __future__ import annotations

import binascii
import json
import mmap
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from cloudburst.confinement.decoders import confine
from cloudburst.models.options import RenderOptions
from cloudburst.renderer.job import (
    AUDIO,
    IMAGE,
    INPUT_FAULT_EXIT_CODE,
    SUBTITLE,
    WATERMARK,
    InputFault,
    InputFaultError,
)

BODY_FILE = "body.json"
"""Name of the file in a job's folder to which the server writes the request body."""

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

DECODE_BLOCK_BYTES = 1024 * 1024
MAX_REST_BYTES = 1024 * 1024
"""Largest size in bytes of a request body without its long base64 strings."""
MAX_FILENAME_CHARS = 255

# The set has no colon, comma or space. One of them always follows a string, so a match is exactly
# one string from quote to quote.
_LONG = re.compile(rb'"([A-Za-z0-9+/=_\\-]{4096,}+)"')

Span: TypeAlias = tuple[int, int]


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
    """Unpack ``body.json`` to the input files of a job, and return its other values.

    ``body.json`` is deleted afterwards.

    Raises:
        InputFaultError: a field is invalid.
    """
    path = folder / BODY_FILE
    if path.stat().st_size == 0:
        raise InputFaultError("body", "nothing", "a JSON object")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        data, spans = _read(raw)
        unpacked = Unpacked(filename=_filename(data), options=_options(data))
        for field, name in FILE_FIELDS.items():
            value = data.get(field)
            if value not in {None, ""} if isinstance(value, str | None) else True:
                _write(folder / name, field, _pieces(raw, spans, field, value))
            elif field in REQUIRED_FIELDS:
                raise InputFaultError(field, "nothing", "a file in base64")
    path.unlink()
    return unpacked


def _read(raw: mmap.mmap) -> tuple[Mapping[str, Any], Mapping[str, Span]]:
    """Return the parsed body with placeholders, and the spans of the long strings they replace."""
    spans: dict[str, Span] = {}
    rest = bytearray()
    at = 0
    for match in _LONG.finditer(raw):
        mark = token_hex(16)
        spans[mark] = match.span(1)
        rest += raw[at : match.start(1)] + mark.encode()
        at = match.end(1)
        _check_rest(len(rest))
    _check_rest(len(rest) + len(raw) - at)
    rest += raw[at:]
    try:
        data: object = from_json(bytes(rest), allow_inf_nan=False)
    except ValueError as error:
        raise InputFaultError("body", f"invalid JSON ({error})", "a JSON object") from None
    if not isinstance(data, dict):
        raise InputFaultError("body", type(data).__name__, "a JSON object")
    return cast("dict[str, Any]", data), spans


def _check_rest(size: int) -> None:
    if size > MAX_REST_BYTES:
        raise InputFaultError(
            "body", "a megabyte that is not base64", "files in base64 and some options"
        )


def _filename(data: Mapping[str, Any]) -> str:
    name = data.get("output_filename")
    if name is None:
        return "output.mp4"
    if not isinstance(name, str) or len(name) > MAX_FILENAME_CHARS:
        expected = f"a text of at most {MAX_FILENAME_CHARS} characters"
        raise InputFaultError("output_filename", repr(name)[:200], expected)
    return name


def _options(data: Mapping[str, Any]) -> RenderOptions:
    """Return the render options; as in the public image, ``null`` means the default.

    The default of the effects is no effect, as in that image.
    """
    given = {name: data[name] for name in OPTION_FIELDS if data.get(name) is not None}
    if given.get("is_portrait") is False:
        del given["is_portrait"]  # in the public image it only selected the subtitle style
    try:
        return RenderOptions.model_validate({"effects": (), **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InputFaultError(field, repr(first["input"])[:200], first["msg"]) from None


def _pieces(
    raw: mmap.mmap, spans: Mapping[str, Span], field: str, value: object
) -> Iterator[bytes]:
    """Yield the base64 text of a field in pieces, with JSON escapes resolved."""
    if not isinstance(value, str):
        raise InputFaultError(field, type(value).__name__, "a file in base64")
    if value not in spans:
        yield value.encode("utf-8", "replace")
        return
    at, end = spans[value]
    while at < end:
        piece = raw[at : min(end, at + DECODE_BLOCK_BYTES)]
        if at + len(piece) < end and (escape := piece.rfind(b"\\", len(piece) - 6)) > 0:
            piece = piece[:escape]  # not in the middle of an escape
        at += len(piece)
        try:
            text: str = from_json(b'"' + piece + b'"') if b"\\" in piece else piece.decode()
        except ValueError:
            raise InputFaultError(field, "a broken escape", "a file in base64") from None
        yield text.encode("utf-8", "replace")


def _write(path: Path, field: str, pieces: Iterator[bytes]) -> None:
    rest = b""
    with path.open("xb") as file:
        for piece in pieces:
            text = rest + piece.translate(None, b" \t\r\n")
            whole = len(text) - len(text) % 4
            rest = text[whole:]
            file.write(_decoded(field, text[:whole]))
        file.write(_decoded(field, rest))


def _decoded(field: str, text: bytes) -> bytes:
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
