"""Input files: identified by their hash, checked for changes, sent to one native worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio
import httpx
from anyio import to_thread

from cloudburst.concurrency import collapse_single
from cloudburst.errors import CloudburstError, UploadError, WorkerProtocolError
from cloudburst.models import failures
from cloudburst.models.file_versions import KNOWN_HASHES, FileHashes, FileVersion
from cloudburst.models.locations import AnyLocation
from cloudburst.ports.renderer import Sending, Turn
from cloudburst.text import describe_error
from cloudburst.workers.http.connection import HttpConnection
from cloudburst.workers.http.response import ErrorBody

# Bytes that one call in a thread reads. The overhead of such a call is about the time in which 100
# kB are read.
READ_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFile:
    """An input file of a scene or film."""

    scene: str
    field: str
    """Use of the file: ``image``, ``audio``, ``subtitle``, ``watermark``, ``music`` or ``font``."""
    location: AnyLocation

    def error(self, message: str) -> UploadError:
        """Return an `UploadError` about this file."""
        return UploadError(f"{self.field}: {message}", scene=self.scene, field=self.field)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedFile:
    """A file with the hash of its content."""

    version: FileVersion
    sha256: str


async def hash_file(path: Path, hashes: FileHashes = KNOWN_HASHES) -> HashedFile:
    """Return the current version of a file with its hash; known hashes are not computed again.

    Raises:
        FileChangedError: The file was changed while it was read.
        OSError: The file cannot be read.
    """
    version = await to_thread.run_sync(FileVersion.from_path, path)
    if (sha256 := hashes.get(version)) is None:
        sha256 = await to_thread.run_sync(version.compute_sha256)
        hashes.add(version, sha256)
    return HashedFile(version=version, sha256=sha256)


# File size in bytes from which sending a file takes longer than asking whether the worker has it.
MIN_BYTES_TO_ASK = 256 * 1024

# Seconds between two requests to a worker while a file for it waits for its turn. A task ends by
# itself after some minutes without a request.
USE_INTERVAL = 30.0


async def send_file(
    connection: HttpConnection, file: SceneFile, content: HashedFile, turn: Turn
) -> tuple[str, int]:
    """Send a file in turn unless the worker has it; return its SHA-256 and the bytes sent.

    Raises:
        UploadError: The file cannot be read, was changed, or was refused.
        WorkerError: The worker has stopped or refuses the key.
    """
    # A small file is sent in less time than the question takes.
    if content.version.size >= MIN_BYTES_TO_ASK and await _ask_for(connection, content):
        return content.sha256, 0
    async with _in_turn(connection, content, turn) as sending:
        bytes_sent = await _send(connection, file, content, sending)
        sending.arrived()
    return content.sha256, bytes_sent


@asynccontextmanager
async def _in_turn(
    connection: HttpConnection, content: HashedFile, turn: Turn
) -> AsyncGenerator[Sending]:
    """Wait for the turn of a file; meanwhile send requests, so that the worker is not idle."""
    waiting, lost = anyio.CancelScope(), list[CloudburstError]()

    async def use_worker() -> None:
        try:
            with waiting:
                while True:
                    await anyio.sleep(USE_INTERVAL)
                    await _ask_for(connection, content)
        except CloudburstError as exc:
            lost.append(exc)
            tasks.cancel_scope.cancel()

    with collapse_single():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use_worker)
            async with turn(content.version.size) as sending:
                waiting.cancel()
                yield sending
    if lost:
        raise lost[0]


async def _ask_for(connection: HttpConnection, content: HashedFile) -> bool:
    """Ask the worker whether it has a file."""
    response = await connection.request_with_retries(
        "HEAD", f"/files/{content.sha256}", answer_timeout=connection.timeouts.call
    )
    return response.is_success


async def _send(
    connection: HttpConnection, file: SceneFile, content: HashedFile, sending: Sending
) -> int:
    bodies: list[_FileBody] = []

    def new_body() -> _FileBody:
        bodies.append(_FileBody(file, content.version, sending))
        return bodies[-1]

    headers = {"Content-Length": str(content.version.size)}
    response = await connection.request_with_retries(
        "PUT", f"/files/{content.sha256}", content=new_body, headers=headers
    )
    match failures.classify_http_status(response.status, context="file"):
        case None:
            pass
        case failure if failure.error is UploadError and (reason := ErrorBody.parse(response)):
            raise file.error(f"the worker refused {file.location}: {reason}")
        case failure:
            reason = ErrorBody.from_response(response)
            msg = f"{failure.summary} (HTTP {response.status}: {reason})"
            raise WorkerProtocolError(msg)
    return sum(body.bytes_sent for body in bodies)


class _FileBody(httpx.AsyncByteStream):
    """Request body that reads a file in blocks and counts the bytes that were sent."""

    def __init__(self, file: SceneFile, version: FileVersion, sending: Sending) -> None:
        self._file = file
        self._version = version
        self._sending = sending
        self._offset = 0
        self.bytes_sent = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self.bytes_sent = self._offset
        if self._offset >= self._version.size:
            raise StopAsyncIteration
        await self._sending.wait(self._offset)
        try:
            block = await to_thread.run_sync(
                self._version.read_block, self._offset, READ_BLOCK_BYTES
            )
        except OSError as exc:
            raise self._file.error(describe_error(exc)) from exc
        self._offset += len(block)
        return block
