"""Download of a blob to a file: resumed after broken connections, and checked."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import anyio
import httpx
from anyio import to_thread

from cloudburst.registry.documents import Descriptor
from cloudburst.registry.errors import DigestError, RegistryError
from cloudburst.registry.http import Answer, RegistryHttp
from cloudburst.registry.login import Scope
from cloudburst.registry.names import require_digest, require_repository
from cloudburst.registry.retries import REPEATED, NoAnswerError

WRITE_BYTES = 1024**2
"""Number of bytes that are hashed and written at once, in a thread."""
MIN_PROGRESS_BYTES = 64 * 1024
"""Number of bytes between two broken connections after which the transfer makes progress."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-\d{1,15}/(?:\d{1,15}|\*)")
_CREATE_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class _Blob(NamedTuple):
    """Blob at a registry."""

    url: httpx.URL
    scope: Scope
    descriptor: Descriptor


async def download_blob(
    http: RegistryHttp,
    repository: str,
    descriptor: Descriptor,
    path: Path,
    on_progress: Callable[[int], object],
) -> None:
    """Write a blob to a file, whole or not at all: see `RegistryClient.download`."""
    url = http.path(require_repository(repository), "blobs", require_digest(descriptor.digest))
    blob = _Blob(url, Scope(repository), descriptor)
    retries = http.new_retries(f"download of {descriptor.digest} from {repository}")
    async with _new_file(path) as file:
        with retries.limited(descriptor.size):
            while True:
                before = file.size
                try:
                    await _receive(http, blob, file, on_progress)
                    break
                except REPEATED as exc:
                    if file.size >= before + MIN_PROGRESS_BYTES:
                        retries.progress()
                    await retries.wait(exc)
        if file.size != descriptor.size or file.digest != descriptor.digest:
            raise DigestError(
                f"{http.name}: blob {descriptor.digest} of {descriptor.size} bytes: received "
                f"{file.size} bytes with the digest {file.digest}"
            )
        await file.run(file.commit)


async def _receive(
    http: RegistryHttp,
    blob: _Blob,
    file: _NewFile,
    on_progress: Callable[[int], object],
) -> None:
    """Receive the rest of a blob over one connection."""
    if file.size == blob.descriptor.size and file.size > 0:
        return  # the connection broke after the last byte
    headers = {"Range": f"bytes={file.size}-"} if file.size else {}
    async with http.stream(blob.url, blob.scope, headers=headers) as response:
        if not response.is_success:
            await _raise_for_status(http, response, blob.descriptor)
        if file.size and not _continues(response, file.size):
            await file.run(file.restart)
        size = blob.descriptor.size - file.size
        async with aclosing(http.iter_body(response, size)) as body:
            await _write(body, file, on_progress)
    on_progress(file.size)
    if file.size < blob.descriptor.size:
        raise NoAnswerError(f"the answer ended after {file.size} of {blob.descriptor.size} bytes")


async def _write(
    body: AsyncIterable[bytes], file: _NewFile, on_progress: Callable[[int], object]
) -> None:
    """Append a body to a file, with what has arrived of a broken one."""
    buffer = bytearray()
    try:
        async for piece in body:
            buffer += piece
            if len(buffer) >= WRITE_BYTES:
                await file.run(file.write, bytes(buffer))
                buffer.clear()
                on_progress(file.size)
    except REPEATED:
        await file.run(file.write, bytes(buffer))
        raise
    await file.run(file.write, bytes(buffer))


def _continues(response: httpx.Response, offset: int) -> bool:
    """Return whether an answer is the part of the blob from ``offset`` on, not the whole blob."""
    if response.status_code != 206:
        return False
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != offset:
        raise NoAnswerError("an answer with another range than the one asked for")
    return True


async def _raise_for_status(
    http: RegistryHttp, response: httpx.Response, descriptor: Descriptor
) -> None:
    with anyio.fail_after(http.policy.answer_timeout):
        answer = Answer(response.status_code, response.headers, await http.read_body(response))
    http.raise_for_status(answer, f"blob {descriptor.digest}")


@asynccontextmanager
async def _new_file(path: Path) -> AsyncGenerator[_NewFile]:
    """Yield a temporary file beside a path, and remove it at the end unless it was committed."""
    file = _NewFile(path)
    try:
        yield file
    finally:
        file.discard()  # removing a file takes no time worth a thread


class _NewFile:
    """Temporary file that is hashed while it is written.

    Threads continue when asyncio cancels the task that waits for them. The lock makes `discard`
    wait for such a thread, and nothing is written after `discard`.
    """

    def __init__(self, path: Path) -> None:
        self.size = 0
        self._path = path
        self._temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._over = False

    @property
    def digest(self) -> str:
        """Digest of the bytes written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    async def run(self, call: Callable[..., None], *args: bytes) -> None:
        """Call a method in a thread; raise `RegistryError` if the file cannot be written."""

        def locked() -> None:
            with self._lock:
                if not self._over:
                    call(*args)

        try:
            await to_thread.run_sync(locked)
        except OSError as exc:
            msg = f"{self._path} cannot be written: {exc.strerror or exc}"
            raise RegistryError(msg) from exc

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._open().write(data)
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Remove the bytes written so far."""
        file = self._open()
        file.seek(0)
        file.truncate()
        self.size, self._hash = 0, hashlib.sha256()

    def commit(self) -> None:
        """Rename the file to its final path."""
        file = self._open()
        file.close()
        self._temporary.replace(self._path)
        self._over = True

    def discard(self) -> None:
        """Close and remove the file unless it was committed."""
        with self._lock:
            if self._over or self._file is None:
                self._over = True
                return
            self._over = True
            with suppress(OSError):  # a late write error, which no longer matters
                self._file.close()
            with suppress(OSError):
                self._temporary.unlink()

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self._temporary, _CREATE_NEW, 0o666), "wb")
        return self._file
