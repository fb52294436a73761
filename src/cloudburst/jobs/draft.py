"""Job whose input files arrive, and which is then submitted."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio.to_thread

from cloudburst.jobs import job_rows
from cloudburst.jobs.admission import check_job
from cloudburst.jobs.event_rows import NewEvent
from cloudburst.jobs.input_check import check_files, video_seconds
from cloudburst.jobs.job_rows import NewJob
from cloudburst.jobs.models import Job, JobRequest, check_idempotency_key
from cloudburst.jobs.open_queue import OpenQueue
from cloudburst.models.locations import AnyLocation


class JobDraft:
    """Job that is not submitted yet. Its input files may be written into `inputs`."""

    def __init__(self, job: str, queue: OpenQueue, wake: Callable[[], None]) -> None:
        self.id = job
        """Identifier that the job will have."""
        self._folder = queue.folder.job(job)
        self.inputs: Path = self._folder.inputs
        """Folder for input files of the job, which are removed when it is finished."""
        self.submitted = False
        """True if the job was submitted, so that its files are kept."""
        self._lengths: Mapping[AnyLocation, float] = {}
        self._unknown_length = 0.0
        self._queue = queue
        self._wake = wake

    async def check_room(self, owner: str, size: int) -> None:
        """Note the size of the input files by now, in bytes, or that which was announced.

        It may be called for every part that arrives. Raises `JobLimitError` if the files would
        exceed a limit, with others that arrive at once.
        """
        await self._queue.room.check(self, owner, size)

    async def check_files(self, request: JobRequest) -> None:
        """Check files of the job on this machine, each as far as its start and its end show.

        No further file is checked after half a second; the check at the start of the job finds all
        other faults.
        Raises `InvalidScenesError` with every fault that was found.
        """
        limits = self._queue.client.limits
        self._lengths = await anyio.to_thread.run_sync(check_files, request, limits)
        self._unknown_length = limits.audio_seconds

    async def submit(
        self,
        request: JobRequest,
        *,
        owner: str = "",
        idempotency_key: str | None = None,
        request_sha256: str | None = None,
    ) -> Job:
        """Queue the job, and return it: see `JobQueue.submit`.

        Args:
            request: Scenes of the job, and what belongs to them.
            owner: Owner of the job.
            idempotency_key: Key by which a repeated request is known; the job of the first request
                is then returned, and this one is dropped.
            request_sha256: SHA-256 of what the caller sent, with which a repeated request is
                compared; ``None``: that of ``request``.
        """
        if idempotency_key is not None:
            check_idempotency_key(idempotency_key)
            if request_sha256 is None:
                request_sha256 = await anyio.to_thread.run_sync(_sha256, request)
        if request.webhook is not None:
            self._queue.log.webhooks.check_job_url(request.webhook)
        new = NewJob(
            id=self.id,
            owner=owner,
            request=request,
            request_sha256=request_sha256 or "",
            idempotency_key=idempotency_key,
            bytes=await anyio.to_thread.run_sync(self._folder.input_bytes),
            video_seconds=await anyio.to_thread.run_sync(self._video_seconds, request),
            now=time.time(),
        )
        job = await self._queue.database.write(lambda c: self._insert(c, new))
        self._wake()
        return job

    def _video_seconds(self, request: JobRequest) -> float:
        options, unknown = self._queue.client.options, self._unknown_length
        return video_seconds(request, options, self._lengths, unknown=unknown)

    def _insert(self, connection: sqlite3.Connection, new: NewJob) -> Job:
        if new.idempotency_key is not None:
            earlier = job_rows.find_repeated(
                connection, new.owner, new.idempotency_key, new.request_sha256
            )
            if earlier is not None:
                return job_rows.read_job(connection, earlier)
        check_job(connection, new, self._queue.limits)
        job_rows.insert_job(connection, new)
        self._queue.log.append(connection, new.id, [NewEvent(type="job.queued", time=new.now)])
        # Here, because a cancellation may hide that the transaction is complete. If it fails, only
        # files are left, which are removed later.
        self.submitted = True
        return job_rows.read_job(connection, new.id)


def _sha256(request: JobRequest) -> str:
    text = json.dumps(request.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
