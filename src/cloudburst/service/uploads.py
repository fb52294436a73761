"""Videos, films and their other files that the service writes to S3."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
from cloudburst.renderer.job import RenderedVideo
from cloudburst.service.http_errors import RejectedRequestError, display_value
from cloudburst.service.jobs import Job
from cloudburst.service.transfers import Transfers
from cloudburst.transfers.errors import TransferError

MAX_UPLOAD_REQUEST_BYTES = 4 * 1024 * 1024
"""Largest size in bytes of the body of ``POST /jobs/{id}/uploads``: URLs of about 1,000 parts."""


class Upload:
    """Transfer of a result of a job to S3."""

    def __init__(
        self, transfers: Transfers, job: Job, done: RenderedVideo, request: UploadRequest
    ) -> None:
        path, size = job.video, done.size
        if request.file == "cover":
            if done.cover is None:
                raise RejectedRequestError(404, "there is no cover: the job has no option cover")
            path, size = job.cover, done.cover.size
        elif request.file == "subtitles":
            if done.subtitles is None:
                raise RejectedRequestError(404, "there are no subtitles: only films have them")
            path, size = job.subtitles, done.subtitles.size
        check_parts(request.parts, size)
        self._transfers = transfers
        self._job = job
        self._path = path
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
        from cloudburst.transfers.put import put_part  # noqa: PLC0415 - needs httpx

        async def read_block(offset: int, size: int) -> bytes:
            return await to_thread.run_sync(os.pread, file, size, offset)

        return await put_part(part, read_block, client=client, progress=self._progress_of(part))

    def _progress_of(self, part: PutPart) -> Callable[[int], None]:
        def on_progress(size: int) -> None:
            self._sent = part.offset + size

        return on_progress


def check_parts(parts: Sequence[PutPart], size: int) -> None:
    """Check that parts are the whole file of ``size`` bytes, in order.

    Raises:
        RejectedRequestError: Status 400 if they are not.
    """
    end = 0
    for number, part in enumerate(parts):
        if part.offset != end:
            raise _wrong_part(f"parts.{number}.offset", part.offset, end)
        end += part.size
    if end != size:
        raise _wrong_part("parts", end, size)


def _wrong_part(field: str, found: int, expected: int) -> RejectedRequestError:
    return RejectedRequestError(
        400,
        f"{field}: the parts are not the whole file",
        field=field,
        found=display_value(found),
        expected=f"{expected} bytes",
    )


def _open(path: Path) -> AbstractAsyncContextManager[int]:
    return opened_in_thread(lambda: os.open(path, os.O_RDONLY), os.close)
