"""Archives of files that are sent while they are made: zip without compression."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing
from functools import partial
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote
from zipfile import ZipInfo

from anyio import to_thread
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.files import open_regular_file

_CHUNK_BYTES = 2**20
# Maximum number of seconds for reading a part of a file.
READ_TIMEOUT = 60.0


class ZipResponse(StreamingResponse):
    """Response with an archive, which is made while it is sent. A closed connection ends it.

    To make it blocks, because it looks at the files.

    Args:
        files: Names in the archive by the paths of the files; those that are missing are left out.
        name: File name under which browsers save the archive.
    """

    media_type = "application/zip"

    def __init__(self, files: Mapping[Path, str], name: str) -> None:
        self.entries = {
            path: ZipInfo.from_file(path, inside, strict_timestamps=False)
            for path, inside in files.items()
            if path.is_file() and not path.is_symlink()
        }
        """Entries of the archive by the paths of the files."""
        self._parts = _stream(self.entries)
        super().__init__(self._parts)
        self.headers["content-length"] = str(zip_size(self.entries))
        self.headers["content-disposition"] = f"attachment; filename*=utf-8''{quote(name, safe='')}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as an ASGI application."""
        async with aclosing(self._parts):
            if scope["method"] == "HEAD":
                await Response(headers=self.headers)(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)


async def _stream(entries: Mapping[Path, ZipInfo]) -> AsyncGenerator[bytes]:
    with closing(zip_parts(entries)) as parts:
        read = partial(to_thread.run_sync, partial(next, parts, b""))
        while part := await finish_despite_cancel(read, seconds=READ_TIMEOUT):
            yield part


def zip_size(entries: Mapping[Path, ZipInfo]) -> int:
    """Return the size of an archive in bytes, as `zip_parts` makes it."""
    # Sizes of the records: PKWARE APPNOTE 6.3.10, section 4.3.
    offset, directory, limit = 0, 0, zipfile.ZIP64_LIMIT
    for info in entries.values():
        name, is_large = len(info.filename.encode()), info.file_size * 1.05 > limit
        extra = 16 * (info.file_size > limit) + 8 * (offset > limit)
        directory += 46 + name + (extra and extra + 4)
        offset += 30 + name + info.file_size + (20 + 24 if is_large else 16)
    return offset + directory + (76 if max(offset, directory) > limit else 0) + 22


def zip_parts(entries: Mapping[Path, ZipInfo]) -> Generator[bytes]:
    """Yield an archive in parts. Blocks.

    Raises ``OSError`` for a file that was removed; one that was shortened makes the archive
    shorter.
    """
    sink = _Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w") as archive:
        for path, info in entries.items():
            sizes = range(info.file_size, 0, -_CHUNK_BYTES)
            with open_regular_file(path) as source, archive.open(info, "w") as target:
                for left in sizes:
                    target.write(source.read(min(_CHUNK_BYTES, left)))
                    yield sink.take()
    yield sink.take()


class _Sink:
    """File that can only be written, and of which what was written is taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data, self._data = self._data, bytearray()
        return bytes(data)
