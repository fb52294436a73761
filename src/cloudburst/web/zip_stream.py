"""Archives of files that are sent while they are made: zip without compression."""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cloudburst.files import open_regular_file

_CHUNK_BYTES = 2**20


class ZipResponse(StreamingResponse):
    """Response with an archive, which is made while it is sent. A closed connection ends it.

    Args:
        files: Names in the archive by the paths of the files.
        name: File name under which browsers save the archive.
    """

    media_type = "application/zip"

    def __init__(self, files: Mapping[Path, str], name: str) -> None:
        self._parts = _zip_parts(files)
        saved = f"attachment; filename*=utf-8''{quote(name, safe='')}"
        super().__init__(self._parts, headers={"content-disposition": saved})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as an ASGI application."""
        with closing(self._parts):
            await super().__call__(scope, receive, send)


def _zip_parts(files: Mapping[Path, str]) -> Generator[bytes]:
    """Yield an archive in parts. Blocks. Raises ``OSError`` for a file that was removed."""
    sink = _Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w") as archive:
        for path, name in files.items():
            # With the size of the file, which decides about fields of 64 bits.
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
            with open_regular_file(path) as source, archive.open(info, "w") as target:
                while data := source.read(_CHUNK_BYTES):
                    target.write(data)
                    yield sink.take()
    yield sink.take()


class _Sink(bytearray):
    """File that can only be written, and of which what was written is taken."""

    def write(self, data: bytes) -> int:
        self.extend(data)
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data = bytes(self)
        self.clear()
        return data
