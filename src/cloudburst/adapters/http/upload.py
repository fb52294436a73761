"""Upload of files to one native worker. A file that several scenes use is sent only once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

import anyio
import httpx

from cloudburst.adapters.http.connection import HttpConnection
from cloudburst.adapters.http.response import ErrorBody
from cloudburst.adapters.http.upload_files import FileHasher, HashedFile, SceneFile
from cloudburst.concurrency import collapse_single
from cloudburst.errors import CloudburstError, UploadError, WorkerProtocolError
from cloudburst.models import failures
from cloudburst.ports.sending import Sending, Turn, at_once
from cloudburst.text import describe_error

MIN_BYTES_TO_ASK = 256 * 1024
"""File size in bytes from which sending a file takes longer than asking whether the worker has
it."""

USE_INTERVAL = 30.0
"""Seconds between two requests to a worker while a file for it waits for its turn. A task ends by
itself after some minutes without a request."""


class FileUploader:
    """Uploader of files to one worker, which remembers the files that the worker has."""

    def __init__(self, connection: HttpConnection, hasher: FileHasher) -> None:
        self._connection = connection
        self._hasher = hasher
        self._files: dict[str, SceneFile] = {}
        self._uploaded: set[str] = set()
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def upload(self, file: SceneFile, turn: Turn = at_once) -> tuple[str, int]:
        """Send a file in turn unless the worker has it; return its SHA-256 and the bytes sent.

        Raises:
            UploadError: The file cannot be read, was changed, or was refused.
            WorkerError: The worker has stopped or refuses the key.
        """
        try:
            content = await self._hasher.hash_file(file.path)
        except OSError as exc:
            raise file.error(describe_error(exc)) from exc
        self._files[content.sha256] = file
        async with self._locks[content.sha256]:
            if content.sha256 in self._uploaded:
                return content.sha256, 0
            bytes_sent = 0
            if not await self._has(content):
                async with self._in_turn(content, turn) as sending:
                    bytes_sent = await self._send(file, content, sending)
                    sending.arrived()
            self._uploaded.add(content.sha256)
            return content.sha256, bytes_sent

    async def upload_again(self, sha256: str) -> bool:
        """Send a file that the worker has lost; return false if `upload` was never called for it.

        Raises:
            UploadError: The file has changed since it was sent, cannot be read, or was refused.
            WorkerError: The worker has stopped or refuses the key.
        """
        file = self._files.get(sha256)
        if file is None:
            return False
        self._uploaded.discard(sha256)
        current, _ = await self.upload(file)
        if current != sha256:
            raise file.error(f"{file.path} changed after it was sent")
        return True

    @asynccontextmanager
    async def _in_turn(self, content: HashedFile, turn: Turn) -> AsyncGenerator[Sending]:
        """Wait for the turn of a file; meanwhile send requests, so that the worker is not idle."""
        waiting, lost = anyio.CancelScope(), list[CloudburstError]()

        async def use_worker() -> None:
            try:
                with waiting:
                    while True:
                        await anyio.sleep(USE_INTERVAL)
                        await self._ask_for(content)
            except CloudburstError as exc:
                lost.append(exc)
                tasks.cancel_scope.cancel()

        with collapse_single():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(use_worker)
                async with turn(content.size) as sending:
                    waiting.cancel()
                    yield sending
        if lost:
            raise lost[0]

    async def _has(self, content: HashedFile) -> bool:
        """Ask the worker whether it has a file; return false for small files without asking."""
        if content.size < MIN_BYTES_TO_ASK:
            return False
        return await self._ask_for(content)

    async def _ask_for(self, content: HashedFile) -> bool:
        response = await self._connection.request_with_retries(
            "HEAD", _url(content), answer_timeout=self._connection.timeouts.call
        )
        return response.is_success

    async def _send(self, file: SceneFile, content: HashedFile, sending: Sending) -> int:
        bodies: list[_FileBody] = []

        def new_body() -> _FileBody:
            bodies.append(_FileBody(file, content, sending))
            return bodies[-1]

        response = await self._connection.request_with_retries(
            "PUT", _url(content), content=new_body, headers={"Content-Length": str(content.size)}
        )
        match failures.classify_http_status(response.status, context="file"):
            case None:
                pass
            case failure if failure.error is UploadError and (reason := ErrorBody.parse(response)):
                raise file.error(f"the worker refused {file.path}: {reason}")
            case failure:
                reason = ErrorBody.from_response(response)
                msg = f"{failure.summary} (HTTP {response.status}: {reason})"
                raise WorkerProtocolError(msg)
        return sum(body.bytes_sent for body in bodies)


class _FileBody(httpx.AsyncByteStream):
    """Request body that reads a file in blocks and counts the bytes that were sent."""

    def __init__(self, file: SceneFile, content: HashedFile, sending: Sending) -> None:
        self._file = file
        self._content = content
        self._sending = sending
        self._offset = 0
        self.bytes_sent = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self.bytes_sent = self._offset
        if self._offset >= self._content.size:
            raise StopAsyncIteration
        await self._sending.wait(self._offset)
        try:
            block = await self._content.read_block(self._offset)
        except OSError as exc:
            raise self._file.error(describe_error(exc)) from exc
        self._offset += len(block)
        return block


def _url(content: HashedFile) -> str:
    return f"/files/{content.sha256}"
