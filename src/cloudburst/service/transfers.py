"""Transfers between the service and S3 or web servers: clients, inputs, results, progress."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import Lock, Semaphore, current_time, move_on_after, to_thread
from anyio.abc import TaskGroup
from starlette.types import Send

from cloudburst.concurrency import opened_in_thread
from cloudburst.models.transfers import (
    FetchEvent,
    FetchRequest,
    PutPart,
    TransferFailure,
    TransferProblem,
    UploadEvent,
    UploadRequest,
)
from cloudburst.renderer.job import RenderedVideo
from cloudburst.service.config import ServiceSettings
from cloudburst.service.content_store import ContentStore, OutOfDiskError
from cloudburst.service.http_errors import RejectedRequestError
from cloudburst.service.jobs import ServiceJob
from cloudburst.service.request_body import DISK_FULL_ERRNOS, new_file, write_all
from cloudburst.service.responses import LineStream

if TYPE_CHECKING:
    import httpx

    from cloudburst.net.transfers.fetch import Fetched


# Maximum number of files that are fetched from S3 at the same time, and again from web servers;
# further requests wait.
MAX_FETCHES = 8
# Maximum number of results that are written to S3 at the same time; further requests wait.
MAX_UPLOADS = 8

# Seconds between two lines while bytes are transferred.
PROGRESS_INTERVAL = 1.0
# Largest size in bytes of the body of ``POST /fetches``: a URL and a few headers.
MAX_FETCH_REQUEST_BYTES = 64 * 1024
# Largest size in bytes of the body of ``POST /jobs/{id}/uploads``: URLs of about 1,000 parts.
MAX_UPLOAD_REQUEST_BYTES = 4 * 1024 * 1024


class Transfers:
    """HTTP clients of all transfers of a service, and limits of their number."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._fetch_slots = {True: Semaphore(MAX_FETCHES), False: Semaphore(MAX_FETCHES)}
        self.upload_slots = Semaphore(MAX_UPLOADS)
        """Semaphore that each upload holds. Fetches from slow servers must not delay uploads."""
        self._stack = stack
        self._opening = Lock()
        self._clients: dict[bool, httpx.AsyncClient] = {}

    def fetch_slots(self, *, public_only: bool) -> Semaphore:
        """Return the semaphore for fetches from web servers (``public_only``) or from S3.

        Slow web servers must not delay fetches from S3.
        """
        return self._fetch_slots[public_only]

    async def client(self, *, public_only: bool) -> httpx.AsyncClient:
        """Return the client for URLs that are not trusted, or the one for those that are.

        The clients do not share connections, because different addresses are permitted to them.
        """
        async with self._opening:
            if public_only not in self._clients:
                await to_thread.run_sync(_import_modules)
                from cloudburst.net.session import (  # noqa: PLC0415
                    PUBLIC_URLS,
                    TRUSTED_URLS,
                    open_session,
                )

                self._clients[public_only] = await self._stack.enter_async_context(
                    open_session(PUBLIC_URLS if public_only else TRUSTED_URLS)
                )
            return self._clients[public_only]


@asynccontextmanager
async def open_transfers() -> AsyncGenerator[Transfers]:
    """Yield the transfers of a service; at the end, close their connections."""
    async with AsyncExitStack() as stack:
        yield Transfers(stack)


def _import_modules() -> None:
    # They need httpx. Most services make no transfers, and the import takes a third of the time of
    # their start.
    for name in ("fetch", "put"):
        import_module(f"cloudburst.net.transfers.{name}")


class TransferStream(LineStream):
    """Response that makes a transfer while it is sent.

    The transfer ends when the reader disconnects. The last line has its result or failure.
    """

    def __init__(self, transfer: InputFetch | ResultUpload, settings: ServiceSettings) -> None:
        super().__init__(settings)
        self._transfer = transfer
        self._result: FetchEvent | UploadEvent | None = None
        self._ended = anyio.Event()

    async def _run(self) -> None:
        self._result = await self._transfer.run()
        self._ended.set()

    async def _send_lines(self, send: Send, tasks: TaskGroup) -> None:
        tasks.start_soon(self._run)
        shown, sent_at = None, -math.inf
        while True:
            event = self._result or self._transfer.progress()
            if event != shown or current_time() - sent_at >= self._heartbeat:
                line = event.model_dump_json(exclude_defaults=True).encode()
                if not await self._send_line(send, line, more=self._result is None):
                    return
                shown, sent_at = event, current_time()
            with move_on_after(min(PROGRESS_INTERVAL, self._heartbeat)):
                await self._ended.wait()


class InputFetch:
    """Transfer of one file into the store of the service."""

    def __init__(
        self, transfers: Transfers, store: ContentStore, request: FetchRequest, limit: int
    ) -> None:
        self._transfers = transfers
        self._store = store
        self._request = request.model_copy(update={"max_bytes": min(request.max_bytes, limit)})
        self._received = 0

    def progress(self) -> FetchEvent:
        """Return how much was received so far."""
        return FetchEvent(received=self._received)

    async def run(self) -> FetchEvent:
        """Store the file, and return its hash or the reason why there is none.

        Nothing is kept of a file that was not received completely.
        """
        client = await self._transfers.client(public_only=self._request.public_only)
        from cloudburst.net.transfers.errors import TransferError  # noqa: PLC0415 - needs httpx

        try:
            fetched = await self._stored(client)
        except TransferError as error:
            return FetchEvent(received=self._received, failure=error.failure)
        except OutOfDiskError:
            reason = "not enough free disk space on the worker at the moment"
        except OSError as error:
            if error.errno not in DISK_FULL_ERRNOS:
                raise
            reason = "the disk of the worker is full"
        else:
            return FetchEvent(received=fetched.size, sha256=fetched.sha256, etag=fetched.etag)
        failure = TransferFailure(problem=TransferProblem.NO_SPACE, reason=reason)
        return FetchEvent(received=self._received, failure=failure)

    async def _stored(self, client: httpx.AsyncClient) -> Fetched:
        async with (
            self._transfers.fetch_slots(public_only=self._request.public_only),
            self._store.partial() as path,
        ):
            fetched = await self._write(path, client)
            await self._store.add(path, fetched.sha256)
        return fetched

    async def _write(self, path: Path, client: httpx.AsyncClient) -> Fetched:
        from cloudburst.net.transfers.fetch import fetch  # noqa: PLC0415 - needs httpx

        async with new_file(path) as file:

            async def write(block: bytes) -> None:
                await self._store.ensure_room(len(block))
                await to_thread.run_sync(write_all, file, block)
                self._received += len(block)

            return await fetch(self._request, write, client=client)


class ResultUpload:
    """Transfer of a result of a job to S3."""

    def __init__(
        self, transfers: Transfers, job: ServiceJob, done: RenderedVideo, request: UploadRequest
    ) -> None:
        if request.file == "cover" and done.cover is None:
            raise RejectedRequestError(404, "there is no cover: the job has no option cover")
        if request.file == "subtitles" and done.subtitles is None:
            raise RejectedRequestError(404, "there are no subtitles: only films have them")
        self._transfers = transfers
        self._job = job
        paths = {"video": job.video, "cover": job.cover, "subtitles": job.subtitles}
        self._path = paths[request.file]
        self._request = request
        self._sent = 0

    def progress(self) -> UploadEvent:
        """Return how much was sent so far."""
        return UploadEvent(sent=self._sent)

    async def run(self) -> UploadEvent:
        """Write all parts, and return their ETags or the reason why they are not written.

        After the video, the job counts as delivered.
        """
        client = await self._transfers.client(public_only=False)
        from cloudburst.net.transfers.errors import TransferError  # noqa: PLC0415 - needs httpx

        try:
            async with self._transfers.upload_slots, _open(self._path) as file:
                etags = [await self._put(part, file, client) for part in self._request.parts]
        except TransferError as error:
            return UploadEvent(sent=self._sent, failure=error.failure)
        except FileNotFoundError:
            failure = TransferFailure(problem=TransferProblem.INVALID, reason="the job was deleted")
            return UploadEvent(sent=self._sent, failure=failure)
        if self._request.file == "video":
            self._job.delivered = True
        return UploadEvent(sent=self._sent, etags=tuple(etags))

    async def _put(self, part: PutPart, file: int, client: httpx.AsyncClient) -> str:
        from cloudburst.net.transfers.put import put_part  # noqa: PLC0415 - needs httpx

        async def read_block(offset: int, size: int) -> bytes:
            return await to_thread.run_sync(os.pread, file, size, offset)

        return await put_part(part, read_block, client=client, progress=self._progress_of(part))

    def _progress_of(self, part: PutPart) -> Callable[[int], None]:
        def on_progress(size: int) -> None:
            self._sent = part.offset + size

        return on_progress


def _open(path: Path) -> AbstractAsyncContextManager[int]:
    return opened_in_thread(lambda: os.open(path, os.O_RDONLY), os.close)
