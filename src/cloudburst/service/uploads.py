"""Videos, films and their other files that the service writes to S3."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from anyio import to_thread

from cloudburst.concurrency import opened_in_thread
from cloudburst.models.transfers import (
    PutPart,
    TransferFailure,
    TransferProblem,
    UploadEvent,
    UploadRequest,
)
from cloudburst.net.transfers.errors import TransferError
from cloudburst.renderer.job import RenderedVideo
from cloudburst.service.http_errors import RejectedRequestError
from cloudburst.service.jobs import Job
from cloudburst.service.transfers import Transfers

MAX_UPLOAD_REQUEST_BYTES = 4 * 1024 * 1024
"""Largest size in bytes of the body of ``POST /jobs/{id}/uploads``: URLs of about 1,000 parts."""


class Upload:
    """Transfer of a result of a job to S3."""

    def __init__(
        self, transfers: Transfers, job: Job, done: RenderedVideo, request: UploadRequest
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
        try:
            async with self._transfers.upload_slots, _open(self._path) as file:
                etags = [await self._put(part, file) for part in self._request.parts]
        except TransferError as error:
            return UploadEvent(sent=self._sent, failure=error.failure)
        except FileNotFoundError:
            failure = TransferFailure(problem=TransferProblem.INVALID, reason="the job was deleted")
            return UploadEvent(sent=self._sent, failure=failure)
        if self._request.file == "video":
            self._job.delivered = True
        return UploadEvent(sent=self._sent, etags=tuple(etags))

    async def _put(self, part: PutPart, file: int) -> str:
        client = await self._transfers.client(public_only=False)
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
