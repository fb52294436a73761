"""The render service without its web side: one folder, one store, one queue."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio import CancelScope, create_task_group, current_time, to_thread

from cloudburst.models.options import RenderOptions
from cloudburst.service.children import Children
from cloudburst.service.config import ServiceSettings
from cloudburst.service.job import JOB, RenderJob
from cloudburst.service.jobs import RENDER, Job, Jobs, QueueFullError, StoppingError
from cloudburst.service.refusal import RefusedError
from cloudburst.service.store import NoRoomError, Store

EXPIRY_SECONDS = 60.0
"""The longest time between two looks for what has expired."""


class Service:
    """What the endpoints of both protocols share."""

    def __init__(
        self, settings: ServiceSettings, folder: Path, store: Store, jobs: Jobs, children: Children
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.store = store
        self.jobs = jobs
        self.children = children
        self._requests = 0
        self._last_request = current_time()

    @contextmanager
    def request(self) -> Generator[None]:
        """While a request is answered the service is not idle."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self._last_request = current_time()

    def idle(self) -> float:
        """Seconds since there was neither a request nor a job."""
        if self._requests or self.jobs.active():
            return 0.0
        return current_time() - max(self._last_request, self.jobs.last_end)

    def check_queue(self) -> None:
        """See that the queue takes another job.

        Raises:
            RefusedError: 429 or 503.
        """
        with _refusing():
            self.jobs.check_room()

    async def make_room(self, size: int) -> None:
        """See that the disk takes so many bytes.

        Raises:
            RefusedError: 507.
        """
        try:
            await self.store.make_room(size)
        except NoRoomError:
            raise RefusedError(507, f"the disk has no room for {size} bytes") from None

    @asynccontextmanager
    async def draft(self, ident: str, *, attachment: str | None = None) -> AsyncGenerator[Job]:
        """A job with an empty folder, to be filled and submitted; else the folder goes again."""
        job = Job(ident, self.folder / "jobs" / ident, attachment=attachment)
        await to_thread.run_sync(job.folder.mkdir)
        try:
            yield job
        finally:
            if self.jobs.find(ident) is not job:
                with CancelScope(shield=True):
                    await to_thread.run_sync(_remove, job.folder)

    async def submit(self, job: Job, *, name: str, options: RenderOptions) -> None:
        """Put a drafted job in the queue.

        Raises:
            RefusedError: 429 or 503.
        """
        told = RenderJob(
            name=name,
            options=options,
            image_pixels=self.settings.image_pixels,
            audio_seconds=self.settings.audio_seconds,
        )
        text = told.model_dump_json()
        await to_thread.run_sync(lambda: (job.folder / JOB).write_text(text, encoding="utf-8"))
        with _refusing():
            self.jobs.submit(job)

    async def expire(self) -> None:
        """Delete, for ever, what nobody asked for in ``keep_seconds``."""
        keep = self.settings.keep_seconds
        while True:
            await anyio.sleep(min(keep, EXPIRY_SECONDS))
            await self.jobs.expire(keep)
            await self.store.expire(keep)


@asynccontextmanager
async def open_service(
    settings: ServiceSettings, *, render: Sequence[str] = RENDER
) -> AsyncGenerator[Service]:
    """The service with a fresh folder; at the end all jobs are killed and the folder is gone."""
    folder = await to_thread.run_sync(_make_folder, settings.folder)
    try:
        store = Store(folder / "files", reserve=settings.reserve_bytes)
        children = Children()
        async with create_task_group() as tasks:
            jobs = Jobs(tasks, children, settings, render=render)
            service = Service(settings, folder, store, jobs, children)
            tasks.start_soon(service.expire)
            try:
                yield service
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(_remove, folder)


@contextmanager
def _refusing() -> Generator[None]:
    try:
        yield
    except QueueFullError:
        raise RefusedError(429, "too many jobs wait; ask again later") from None
    except StoppingError:
        raise RefusedError(503, "the service is about to stop") from None


def _make_folder(parent: Path | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cloudburst-", dir=parent))
    (folder / "files").mkdir()
    (folder / "jobs").mkdir()
    return folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
