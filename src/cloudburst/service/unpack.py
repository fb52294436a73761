"""A onestep body becomes a job's files: run as ``python -m cloudburst.service.unpack FOLDER``.

A process of its own, because a body of hundreds of megabytes in JSON would stall the server and
stay in its memory. It holds little itself: long base64 strings are found in the mapped file and
decoded piece by piece; JSON is read with short marks in their places.

One line of JSON tells the outcome: ``{"unpacked": …}``, or ``{"fault": …}`` with exit code 2.
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

from cloudburst.models.options import RenderOptions
from cloudburst.service.job import (
    AUDIO,
    FAULT_EXIT,
    IMAGE,
    SUBTITLE,
    WATERMARK,
    InputFault,
    InputFaultError,
)

BODY = "body.json"
"""Where the server has put the body."""

FILES = {"input_image": IMAGE, "input_audio": AUDIO, "subtitle": SUBTITLE, "watermark": WATERMARK}
REQUIRED = {"input_image", "input_audio"}
OPTIONS = (
    "background_box",
    "background_opacity",
    "effects",
    "font_size",
    "is_portrait",
    "language",
    "outline_color",
)

PIECE = 1024 * 1024
REST_BYTES = 1024 * 1024
"""What may be left of a body without its long strings."""
FILENAME_CHARS = 255

# Neither a colon nor a comma nor a space is in here: between the end of one string and the start
# of the next there is always one, so that a match is one string from quote to quote.
_LONG = re.compile(rb'"([A-Za-z0-9+/=_\\-]{4096,}+)"')

Span: TypeAlias = tuple[int, int]


class Unpacked(BaseModel):
    """What a body said beside the files that now lie in the folder."""

    model_config = ConfigDict(frozen=True)

    filename: str
    options: RenderOptions


class UnpackLine(BaseModel):
    """The line that tells the outcome."""

    unpacked: Unpacked | None = None
    fault: InputFault | None = None


def unpack(folder: Path) -> Unpacked:
    """Write the files of ``body.json`` and delete it.

    Raises:
        InputFaultError: with the field that is wrong.
    """
    path = folder / BODY
    if path.stat().st_size == 0:
        raise InputFaultError("body", "nothing", "a JSON object")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        data, spans = _read(raw)
        unpacked = Unpacked(filename=_filename(data), options=_options(data))
        for field, name in FILES.items():
            value = data.get(field)
            if value not in {None, ""} if isinstance(value, str | None) else True:
                _write(folder / name, field, _pieces(raw, spans, field, value))
            elif field in REQUIRED:
                raise InputFaultError(field, "nothing", "a file in base64")
    path.unlink()
    return unpacked


def _read(raw: mmap.mmap) -> tuple[Mapping[str, Any], Mapping[str, Span]]:
    """The object, and where those of its strings lie that are only marks in it."""
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
        raise InputFaultError("body", f"no JSON ({error})", "a JSON object") from None
    if not isinstance(data, dict):
        raise InputFaultError("body", type(data).__name__, "a JSON object")
    return cast("dict[str, Any]", data), spans


def _check_rest(size: int) -> None:
    if size > REST_BYTES:
        raise InputFaultError(
            "body", "a megabyte that is not base64", "files in base64 and some options"
        )


def _filename(data: Mapping[str, Any]) -> str:
    name = data.get("output_filename")
    if name is None:
        return "output.mp4"
    if not isinstance(name, str) or len(name) > FILENAME_CHARS:
        expected = f"a text of at most {FILENAME_CHARS} characters"
        raise InputFaultError("output_filename", repr(name)[:200], expected)
    return name


def _options(data: Mapping[str, Any]) -> RenderOptions:
    """As the public image reads them: null is the default, and the default is no effect."""
    given = {name: data[name] for name in OPTIONS if data.get(name) is not None}
    if given.get("is_portrait") is False:
        del given["is_portrait"]  # there it only chose the subtitles' style
    try:
        return RenderOptions.model_validate({"effects": (), **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InputFaultError(field, repr(first["input"])[:200], first["msg"]) from None


def _pieces(
    raw: mmap.mmap, spans: Mapping[str, Span], field: str, value: object
) -> Iterator[bytes]:
    """The base64 text of a field, without escapes."""
    if not isinstance(value, str):
        raise InputFaultError(field, type(value).__name__, "a file in base64")
    if value not in spans:
        yield value.encode("utf-8", "replace")
        return
    at, end = spans[value]
    while at < end:
        piece = raw[at : min(end, at + PIECE)]
        if at + len(piece) < end and (escape := piece.rfind(b"\\", len(piece) - 6)) > 0:
            piece = piece[:escape]  # not in the midst of one
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
        raise InputFaultError(field, f"no base64 ({error})", "a file in base64") from None


def main() -> None:
    """Unpack the folder that is the only argument."""
    code = 0
    try:
        line = UnpackLine(unpacked=unpack(Path(sys.argv[1])))
    except InputFaultError as error:
        line, code = UnpackLine(fault=error.fault), FAULT_EXIT
    sys.stdout.write(json.dumps(line.model_dump(mode="json")) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
