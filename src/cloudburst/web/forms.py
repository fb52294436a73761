"""Forms with files, which are written to a folder while they arrive."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

from cloudburst.web.request_bodies import full_disk_refused

_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Form:
    """Form that has arrived."""

    text: bytes
    """Content of the text field."""
    files: Mapping[str, Path]
    """Path of each file in the folder, by the file name that the sender gave."""


async def read_form(
    body: AsyncIterator[bytes],
    boundary: bytes,
    *,
    field_name: str,
    folder: Path,
    max_field_bytes: int,
    max_files: int,
) -> Form:
    """Read a body of the type ``multipart/form-data``: one text field, and files.

    The files are numbered in the folder; the names that the sender gives never become paths. The
    caller limits the size of the body, and removes the folder if an exception is raised.

    Args:
        body: Parts of the body.
        boundary: Boundary of the parts of the form, from the header ``Content-Type``.
        field_name: Name of the text field.
        folder: Folder for the files, which exists.
        max_field_bytes: Maximum size of the text field, in bytes.
        max_files: Maximum number of files.

    Raises:
        HTTPException: Status 400, 413 or 507, with the reason in its detail.
    """
    form = _ArrivingForm(field_name, folder, max_field_bytes, max_files)
    try:
        parser = MultipartParser(boundary, cast("Any", form.callbacks()))
        with full_disk_refused():
            async for chunk in body:
                await anyio.to_thread.run_sync(parser.write, chunk)
            parser.finalize()
    except FormParserError as exc:
        raise HTTPException(400, "the body is not valid multipart/form-data") from exc
    finally:
        form.close()
    if not form.complete:
        raise HTTPException(400, "the form ends too early")
    if form.text is None:
        raise HTTPException(400, f"no form field {field_name}; expected it, and files")
    return Form(bytes(form.text), form.files)


@dataclass(slots=True)
class _ArrivingForm:
    """State of a form while it arrives: files on disk, the text field in memory.

    The parser limits the number and the size of the headers of each part.
    """

    field_name: str
    folder: Path
    max_field_bytes: int
    max_files: int
    text: bytearray | None = None
    files: dict[str, Path] = field(default_factory=dict[str, Path])
    file: BufferedWriter | None = None
    """File of the part that arrives; ``None`` while the text field arrives."""
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    complete: bool = False
    """True if the last boundary has arrived."""

    def callbacks(self) -> Mapping[str, Callable[..., None]]:
        """Return the functions that the parser calls for each piece of the body."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self.close,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self.headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def _header_end(self) -> None:
        self.headers[bytes(self.name).lower()] = bytes(self.value)
        self.name.clear()
        self.value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self.headers.get(b"content-disposition"))
        filename = options.get(b"filename")
        if filename is None:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            if name != self.field_name:
                raise HTTPException(
                    400,
                    f"the form field {name[:80]!r} is not a file; expected the field "
                    f"{self.field_name}, and files, for example curl -F files=@PATH",
                )
            if self.text is not None:
                raise HTTPException(
                    400, f"the form field {self.field_name} twice; expected it once"
                )
            self.text = bytearray()
            return
        name = filename.decode("utf-8", "replace")
        if name in self.files:
            raise HTTPException(400, f"two files have the name {name[:80]!r}")
        if len(self.files) >= self.max_files:
            raise HTTPException(413, f"expected at most {self.max_files} files")
        suffix = Path(name).suffix.lower()
        path = self.folder / f"{len(self.files)}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
        self.files[name] = path
        self.file = path.open("xb")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self.file is not None:
            self.file.write(data[start:end])
        elif self.text is not None:
            self.text += data[start:end]
            if len(self.text) > self.max_field_bytes:
                limit = f"{self.max_field_bytes:,} bytes of {self.field_name}"
                raise HTTPException(413, f"expected at most {limit}")

    def _end(self) -> None:
        self.complete = True

    def close(self) -> None:
        """Close the file that is being written."""
        if self.file is not None:
            self.file.close()
            self.file = None
