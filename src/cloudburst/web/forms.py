"""Forms with files, which are written to a folder while they arrive."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any, cast

import anyio.to_thread
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

from cloudburst.web.request_limits import RequestLimits, full_disk_refused

# Form field with the JSON of a job.
FORM_FIELD = "job"
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


async def read_form(
    body: AsyncIterator[bytes], boundary: bytes, *, folder: Path, limits: RequestLimits
) -> Form:
    """Read a body of the type ``multipart/form-data``: a job as JSON, and files.

    The files are numbered in the folder; the names that the sender gives never become paths. The
    caller limits the size of the body, and removes the folder if an exception is raised.

    Raises:
        HTTPException: Status 400, 413 or 507, with the reason in its detail.
    """
    form = Form(folder, limits)
    callbacks = {
        "on_header_field": form.add_header_name,
        "on_header_value": form.add_header_value,
        "on_header_end": form.end_header,
        "on_headers_finished": form.begin_part,
        "on_part_data": form.add_data,
        "on_part_end": form.close,
        "on_end": form.end,
    }
    try:
        parser = MultipartParser(boundary, cast("Any", callbacks))
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
    if form.job is None:
        raise HTTPException(400, f"no form field {FORM_FIELD}; expected it, and files")
    return form


@dataclass(slots=True)
class Form:
    """Form that arrives: files on disk, the job in memory.

    The parser limits the number and the size of the headers of each part.
    """

    _folder: Path
    _limits: RequestLimits
    # JSON of the job; ``None`` before it arrives.
    job: bytearray | None = None
    # Path of each file in the folder, by the file name that the sender gave.
    files: dict[str, Path] = field(default_factory=dict[str, Path])
    # True if the last boundary has arrived.
    complete: bool = False
    _file: BufferedWriter | None = None
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""

    def add_header_name(self, data: bytes, start: int, end: int) -> None:
        """Add to the name of the header that arrives."""
        self._header += data[start:end]

    def add_header_value(self, data: bytes, start: int, end: int) -> None:
        """Add to the value of the header that arrives."""
        self._value += data[start:end]

    def end_header(self) -> None:
        """Note the header that has arrived if it names the part."""
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def begin_part(self) -> None:
        """Begin a file, or the job, whose headers have arrived."""
        _, options = parse_options_header(self._disposition)
        self._disposition = b""
        if b"filename" not in options:
            name = options.get(b"name", b"").decode("utf-8", "replace")
            if name != FORM_FIELD:
                raise HTTPException(
                    400,
                    f"the form field {name[:80]!r} is not a file; expected the field "
                    f"{FORM_FIELD}, and files, for example curl -F files=@PATH",
                )
            if self.job is not None:
                raise HTTPException(400, f"the form field {FORM_FIELD} twice; expected it once")
            self.job = bytearray()
            return
        name = options[b"filename"].decode("utf-8", "replace")
        if name in self.files:
            raise HTTPException(400, f"two files have the name {name[:80]!r}")
        if len(self.files) >= self._limits.files:
            raise HTTPException(413, f"expected at most {self._limits.files} files")
        suffix = Path(name).suffix.lower()
        suffix = suffix if _SUFFIX.fullmatch(suffix) else ""
        self.files[name] = self._folder / f"{len(self.files)}{suffix}"
        self._file = self.files[name].open("xb")

    def add_data(self, data: bytes, start: int, end: int) -> None:
        """Add to the file, or the job, that arrives."""
        if self._file is not None:
            self._file.write(data[start:end])
        elif self.job is not None:
            self.job += data[start:end]
            if len(self.job) > self._limits.json_bytes:
                limit = f"{self._limits.json_bytes:,} bytes of {FORM_FIELD}"
                raise HTTPException(413, f"expected at most {limit}")

    def end(self) -> None:
        """Note that the last boundary has arrived."""
        self.complete = True

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None
