"""Functions that read request bodies: large bodies into a file, small ones into memory."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from anyio import fail_after, to_thread
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request

from cloudburst.concurrency import opened_in_thread
from cloudburst.service.content_store import ContentStore
from cloudburst.service.http_errors import BODY_READ_KEY, RejectedRequestError, display_value

# Number of bytes that are collected before a thread writes them; the use of a thread costs as much
# time as writing 100 KB.
BODY_BLOCK_BYTES = 1024 * 1024

# Text in place of a value that may be secret.
HIDDEN = "a value that is not shown"

Model = TypeVar("Model", bound=BaseModel)

DISK_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBody:
    """Size and hash of a request body that was written to a file completely."""

    size: int
    sha256: str


def content_length(request: Request, limit: int) -> int | None:
    """Return the checked ``Content-Length`` in bytes; ``None`` for a chunked body.

    Raises `RejectedRequestError` with status 400, 411 without a length, or 413 above ``limit``.
    """
    text = request.headers.get("content-length")
    if text is None:
        if "transfer-encoding" in request.headers:
            return None
        raise RejectedRequestError(411, "send a Content-Length, or send the body in chunks")
    if not (text.isascii() and text.isdigit()):
        raise RejectedRequestError(400, "the Content-Length is not a number")
    size = int(text) if len(text) < 20 else limit + 1
    if size > limit:
        raise _too_large(limit)
    return size


async def read_to_file(
    request: Request, path: Path, store: ContentStore, *, limit: int, stall: float
) -> ReceivedBody:
    """Write a request body to a new file, as long as the disk of the store has room for it.

    A request is rejected above ``limit`` bytes, or after ``stall`` seconds without data. The caller
    deletes the file after a failure.

    Raises:
        RejectedRequestError: Status 400, 408, 411, 413 or 507.
        ClientDisconnect: The caller disconnected.
    """
    expected = content_length(request, limit)
    await store.ensure_room(expected or 0)
    async with new_file(path) as file:
        sink = _Sink(file)
        async with _translated():
            while (chunk := await _next(request, stall)) is not None:
                sink.waiting += chunk
                if sink.size > limit:
                    raise _too_large(limit)
                if len(sink.waiting) >= BODY_BLOCK_BYTES:
                    await _flush(sink, store)
            await _flush(sink, store)
        if expected not in {None, sink.size}:
            raise RejectedRequestError(
                400, f"received {sink.size} bytes; the Content-Length is {expected}"
            )
        return ReceivedBody(size=sink.size, sha256=sink.digest.hexdigest())


async def read_model(
    request: Request, model: type[Model], *, limit: int, stall: float, secret: bool = False
) -> Model:
    """Return the validated JSON body of a request, of at most ``limit`` bytes.

    With ``secret``, errors do not show the values that were found. Raises as `read_to_file`.
    """
    raw = await read_to_memory(request, limit=limit, stall=stall)
    try:
        data: Any = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise RejectedRequestError(
            400,
            f"not JSON: {error}",
            field="",
            found=HIDDEN if secret else display_value(raw[:80]),
            expected="a JSON object",
        ) from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _rejection(error, secret=secret) from None


def _rejection(error: ValidationError, *, secret: bool = False) -> RejectedRequestError:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"]))
    shown = "nothing" if first["type"] == "missing" else display_value(first["input"])
    return RejectedRequestError(
        400,
        f"{field or 'the request'}: {first['msg']}",
        field=field,
        found=HIDDEN if secret else shown,
        expected=first["msg"],
    )


async def read_to_memory(request: Request, *, limit: int, stall: float) -> bytes:
    """Return a request body of at most ``limit`` bytes; raise as `read_to_file`."""
    body = bytearray()
    await _read(request, body.extend, limit=limit, stall=stall)
    return bytes(body)


async def discard(request: Request, *, limit: int, stall: float) -> None:
    """Read and discard a request body, so that the caller can read the response."""
    await _read(request, lambda _: None, limit=limit, stall=stall)


async def _read(
    request: Request, take: Callable[[bytes], object], *, limit: int, stall: float
) -> None:
    content_length(request, limit)
    size = 0
    while (chunk := await _next(request, stall)) is not None:
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        take(chunk)


async def _flush(sink: _Sink, store: ContentStore) -> None:
    await store.ensure_room(len(sink.waiting))
    await to_thread.run_sync(sink.flush)


class _Sink:
    """Buffer that hashes received bytes and writes them to a file; `flush` runs in a thread."""

    def __init__(self, file: IO[bytes]) -> None:
        self.waiting = bytearray()
        self.digest = hashlib.sha256()
        self.written = 0
        self._file = file

    @property
    def size(self) -> int:
        return self.written + len(self.waiting)

    def flush(self) -> None:
        block, self.waiting = bytes(self.waiting), bytearray()
        self.digest.update(block)
        write_all(self._file, block)
        self.written += len(block)


def write_all(file: IO[bytes], block: bytes) -> None:
    """Write a block to a file without a buffer, which may take it in parts."""
    while block:
        block = block[file.write(block) :]


@asynccontextmanager
async def new_file(path: Path) -> AsyncGenerator[IO[bytes]]:
    """Yield a new file, which is opened for writing without a buffer, and close it afterwards."""
    async with opened_in_thread(
        lambda: path.open("xb", buffering=0), lambda file: file.close()
    ) as file:
        yield file


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL_ERRNOS:
            raise
        raise RejectedRequestError(507, "the disk is full") from error


async def _next(request: Request, stall: float) -> bytes | None:
    if request.scope.get(BODY_READ_KEY):
        return None
    try:
        with fail_after(stall):
            message = await request.receive()
    except TimeoutError:
        raise RejectedRequestError(408, f"no data for {stall:g} s") from None
    if message["type"] != "http.request":
        raise ClientDisconnect
    request.scope[BODY_READ_KEY] = not message.get("more_body", False)
    piece: bytes = message.get("body", b"")
    return piece


def _too_large(limit: int) -> RejectedRequestError:
    return RejectedRequestError(413, f"more than {limit} bytes", limit=limit)
