"""Render service without its HTTP endpoints: its folder, file store, jobs and processes."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex

import anyio
from anyio import CancelScope, create_task_group, current_time, to_thread

from cloudburst.renderer.job import JOB_FILE, RenderJob
from cloudburst.service.config import ServiceSettings
from cloudburst.service.content_store import ContentStore
from cloudburst.service.encoder_slots import GOP_COMMAND
from cloudburst.service.job_output import clear
from cloudburst.service.jobs import RENDER_COMMAND, ServiceJob, ServiceJobs
from cloudburst.service.self_test import TEST_RENDER_COMMAND, SelfTest
from cloudburst.service.subprocesses import Subprocesses
from cloudburst.service.transfers import Transfers, open_transfers

# Longest time between two deletions of expired files and jobs, in seconds.
MAX_EXPIRY_INTERVAL = 60.0


@dataclass(slots=True)
class RenderService:
    """State of the render service that its endpoints share."""

    settings: ServiceSettings
    folder: Path
    store: ContentStore
    jobs: ServiceJobs
    subprocesses: Subprocesses
    self_test: SelfTest
    transfers: Transfers
    _requests: int = field(default=0, init=False)
    _last_request: float = field(default_factory=current_time, init=False)

    @contextmanager
    def request_in_progress(self) -> Generator[None]:
        """Mark the service as not idle while a request is answered."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self._last_request = current_time()

    def idle_seconds(self) -> float:
        """Return the seconds since the last request or job ended; 0 while any is in progress."""
        if self._requests or self.jobs.active():
            return 0.0
        return current_time() - max(self._last_request, self.jobs.last_end)

    @asynccontextmanager
    async def draft_job(self, ident: str, *, is_film: bool = False) -> AsyncGenerator[ServiceJob]:
        """Yield a job with an empty folder; delete the folder unless the job is submitted."""
        # The folder of a deleted job of the same id may still be there.
        folder = self.folder / "jobs" / f"{ident}-{token_hex(4)}"
        job = ServiceJob(ident, folder, is_film=is_film)
        await to_thread.run_sync(job.folder.mkdir)
        try:
            yield job
        finally:
            if self.jobs.find(ident) is not job:
                with CancelScope(shield=True):
                    await to_thread.run_sync(clear, job.folder)

    async def submit(self, job: ServiceJob, description: RenderJob) -> None:
        """Add a drafted job with its files to the queue, with the limits of this service.

        Raises as `ServiceJobs.check_accepts`.
        """
        job.name = description.name
        description = replace(
            description,
            image_pixels=self.settings.image_pixels,
            audio_seconds=self.settings.audio_seconds,
        )
        await self.submit_text(job, description.to_json())

    async def submit_text(self, job: ServiceJob, text: str) -> None:
        """Add a drafted job to the queue with the content of its ``job.json``."""
        await to_thread.run_sync(lambda: (job.folder / JOB_FILE).write_text(text, encoding="utf-8"))
        self.jobs.submit(job)

    async def expire(self) -> None:
        """Delete at intervals what was not requested for ``keep_seconds``, until cancelled."""
        keep = self.settings.keep_seconds
        while True:
            await anyio.sleep(min(keep, MAX_EXPIRY_INTERVAL))
            await self.jobs.expire(keep)
            await self.store.expire(keep)


@asynccontextmanager
async def open_service(
    settings: ServiceSettings,
    *,
    render: Sequence[str] = RENDER_COMMAND,
    gop_command: Sequence[str] = GOP_COMMAND,
    probe: Sequence[str] = TEST_RENDER_COMMAND,
) -> AsyncGenerator[RenderService]:
    """Yield a service with a new folder; at the end, kill all its jobs and delete the folder."""
    folder = await to_thread.run_sync(_make_folder, settings.folder)
    try:
        store = ContentStore(folder / "files", reserve=settings.reserve_bytes)
        subprocesses = Subprocesses()
        async with open_transfers() as transfers, create_task_group() as tasks:
            self_test = SelfTest(tasks, subprocesses, folder / "probe", probe=probe)
            jobs = ServiceJobs(
                tasks,
                subprocesses,
                settings,
                render=render,
                gop_command=gop_command,
                on_broken_render=self_test.start,  # is the machine the cause?
            )
            service = RenderService(
                settings,
                folder,
                store=store,
                jobs=jobs,
                subprocesses=subprocesses,
                self_test=self_test,
                transfers=transfers,
            )
            tasks.start_soon(service.expire)
            try:
                yield service
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(clear, folder)


def _make_folder(parent: Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cloudburst-", dir=parent))
    (folder / "files").mkdir()
    (folder / "jobs").mkdir()
    return folder
