"""Request bodies: into a file while they are hashed, or small ones into memory."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from anyio import CancelScope, fail_after, to_thread
from starlette.requests import ClientDisconnect, Request

from cloudburst.service.refusal import BODY_READ, RefusedError

BLOCK = 1024 * 1024
"""Bytes that are gathered before a thread writes them: a thread costs about as much as 100 KB."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A body that lies whole in a file."""

    size: int
    sha256: str


def announced(request: Request, limit: int) -> int | None:
    """Its ``Content-Length``, checked; ``None`` for a chunked body.

    Raises:
        RefusedError: 400, 411 or 413.
    """
    said = request.headers.get("content-length")
    if said is None:
        if "transfer-encoding" in request.headers:
            return None
        raise RefusedError(411, "say the Content-Length, or send the body in chunks")
    if not (said.isascii() and said.isdigit()):
        raise RefusedError(400, "the Content-Length is not a number")
    size = int(said) if len(said) < 20 else limit + 1
    if size > limit:
        raise _too_large(limit)
    return size


async def into_file(request: Request, path: Path, *, limit: int, stall: float) -> Received:
    """Write the body to a new file; who made the path deletes what a failure leaves there.

    Raises:
        RefusedError: 400, 408, 411, 413 or 507.
        ClientDisconnect: the caller left.
    """
    expected = announced(request, limit)
    async with _new_file(path) as file:
        sink = _Sink(file)
        async with _translated():
            while (chunk := await _next(request, stall)) is not None:
                sink.waiting += chunk
                if sink.size > limit:
                    raise _too_large(limit)
                if len(sink.waiting) >= BLOCK:
                    await to_thread.run_sync(sink.flush)
            await to_thread.run_sync(sink.flush)
        if expected not in {None, sink.size}:
            raise RefusedError(400, f"{sink.size} bytes came, the Content-Length said {expected}")
        return Received(size=sink.size, sha256=sink.digest.hexdigest())


async def into_memory(request: Request, *, limit: int, stall: float) -> bytes:
    """The body itself, for small ones.

    Raises:
        RefusedError: 400, 408, 411 or 413.
        ClientDisconnect: the caller left.
    """
    announced(request, limit)
    body = bytearray()
    while (chunk := await _next(request, stall)) is not None:
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


async def to_nowhere(request: Request, *, limit: int, stall: float) -> None:
    """Read a body that is not needed, so that the caller gets to reading the answer."""
    announced(request, limit)
    size = 0
    while (chunk := await _next(request, stall)) is not None:
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)


class _Sink:
    """Hashes and writes what has come; `flush` runs in a thread."""

    def __init__(self, file: IO[bytes]) -> None:
        self.waiting = bytearray()
        self.digest = hashlib.sha256()
        self._file = file
        self._written = 0

    @property
    def size(self) -> int:
        return self._written + len(self.waiting)

    def flush(self) -> None:
        block, self.waiting = bytes(self.waiting), bytearray()
        self.digest.update(block)
        while block:
            written = self._file.write(block)
            self._written += written
            block = block[written:]


@asynccontextmanager
async def _new_file(path: Path) -> AsyncGenerator[IO[bytes]]:
    file = await to_thread.run_sync(lambda: path.open("xb", buffering=0))
    try:
        yield file
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(file.close)


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise RefusedError(507, "the disk is full") from error


async def _next(request: Request, stall: float) -> bytes | None:
    """The next piece, ``None`` at the end."""
    if request.scope.get(BODY_READ):
        return None
    try:
        with fail_after(stall):
            message = await request.receive()
    except TimeoutError:
        raise RefusedError(408, f"nothing came for {stall:g} s") from None
    if message["type"] != "http.request":
        raise ClientDisconnect
    request.scope[BODY_READ] = not message.get("more_body", False)
    piece: bytes = message.get("body", b"")
    return piece


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, f"more than {limit} bytes", limit=limit)
