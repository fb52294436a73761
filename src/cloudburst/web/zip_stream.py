"""Archives of files that are sent while they are made: zip without compression."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import aclosing, closing
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, cast
from urllib.parse import quote

from anyio import to_thread
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.files import open_regular_file, require_regular_file

_CHUNK_BYTES = 2**20
# Maximum number of seconds for reading a part of a file.
READ_TIMEOUT = 60.0


class ZipEntry(NamedTuple):
    """File in an archive."""

    path: Path
    info: zipfile.ZipInfo


def zip_entries(files: Iterable[tuple[Path, str]]) -> list[ZipEntry]:
    """Return the entries of files, each with its name in the archive; missing files are left out.

    Blocks.
    """
    entries = list[ZipEntry]()
    for path, name in files:
        try:
            require_regular_file(path.lstat(), path)
            info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
        except OSError:
            continue
        entries.append(ZipEntry(path, info))
    return entries


def zip_size(entries: Sequence[ZipEntry]) -> int:
    """Return the size of an archive in bytes, as `zip_parts` makes it."""
    # Sizes of the records: PKWARE APPNOTE 6.3.10, section 4.3.
    offset = directory = 0
    for _, info in entries:
        name, is_large = len(info.filename.encode()), info.file_size * 1.05 > zipfile.ZIP64_LIMIT
        extra = 16 * (info.file_size > zipfile.ZIP64_LIMIT) + 8 * (offset > zipfile.ZIP64_LIMIT)
        directory += 46 + name + (extra and extra + 4)
        offset += 30 + name + info.file_size + (20 + 24 if is_large else 16)
    needs_zip64 = max(offset, directory) > zipfile.ZIP64_LIMIT
    return offset + directory + (76 if needs_zip64 else 0) + 22


class ZipResponse(StreamingResponse):
    """Response with an archive, which is made while it is sent. A closed connection ends it."""

    media_type = "application/zip"

    def __init__(self, entries: Sequence[ZipEntry], name: str) -> None:
        self._parts = _read(entries)
        super().__init__(self._parts)
        self.headers["content-length"] = str(zip_size(entries))
        self.headers["content-disposition"] = f"attachment; filename*=utf-8''{quote(name)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as an ASGI application."""
        async with aclosing(self._parts):
            if scope["method"] == "HEAD":
                await Response(headers=self.headers)(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)


async def _read(entries: Sequence[ZipEntry]) -> AsyncGenerator[bytes]:
    with closing(zip_parts(entries)) as parts:
        read = partial(to_thread.run_sync, partial(next, parts, b""))
        while part := await finish_despite_cancel(read, seconds=READ_TIMEOUT):
            yield part


def zip_parts(entries: Sequence[ZipEntry]) -> Generator[bytes]:
    """Yield an archive in parts. Blocks.

    Raises ``OSError`` for a file that was removed; one that was shortened makes the archive
    shorter.
    """
    sink = _Sink()
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w") as archive:
        for path, info in entries:
            size = info.file_size
            with (
                open_regular_file(path, follow_links=False) as source,
                archive.open(info, "w") as target,
            ):
                for start in range(0, size, _CHUNK_BYTES):
                    target.write(source.read(min(_CHUNK_BYTES, size - start)))
                    yield sink.take()
    yield sink.take()


class _Sink:
    """File that cannot be read or moved in; what is written is taken from it."""

    def __init__(self) -> None:
        self._parts = list[bytes]()

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
