"""One scene, from files to file."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import anyio

from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.slot import Lane, MovedError, Ticket
from cloudburst.errors import CloudburstError, SceneTimeoutError
from cloudburst.models.events import (
    SceneEncoding,
    SceneGenerated,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene, Video


@dataclass(eq=False, slots=True, kw_only=True)
class SceneRecord:
    """What happened to one scene; seconds as `SceneReport` has them."""

    name: str
    task: str | None = None
    attempts: int = 0
    queued: float = 0.0
    uploading: float = 0.0
    waiting: float = 0.0
    generating: float = 0.0
    downloading: float = 0.0
    sent: int = 0
    encodes: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    """Of all attempts: task, begin and end on anyio's clock."""
    video: Video | None = None
    error: CloudburstError | None = None

    @contextmanager
    def clock(self, stage: Literal["uploading", "generating", "downloading"]) -> Generator[None]:
        """The time that passes inside is that stage's, whatever ends it."""
        began = anyio.current_time()
        try:
            yield
        finally:
            setattr(self, stage, anyio.current_time() - began)

    @contextmanager
    def encode(self, task: str) -> Generator[None]:
        """As `clock`, and remembered for the worker's account."""
        began = anyio.current_time()
        try:
            with self.clock("generating"):
                yield
        finally:
            self.encodes.append((task, began, anyio.current_time()))

    def restart(self) -> None:
        """A new attempt: the stages of the last one no longer count."""
        self.attempts += 1
        self.task = None
        self.uploading = self.waiting = self.generating = self.downloading = 0.0


Tell: TypeAlias = Callable[..., None]
"""Called with the class of an event and its facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneJob:
    """Everything that one scene needs on its way."""

    scene: Scene
    ticket: Ticket
    to: Path
    options: RenderOptions
    record: SceneRecord
    tell: Tell
    seconds: float | None
    """Within which one attempt must be done."""
    attempts: int


async def render_scene(job: SceneJob, pool: WorkerPool) -> Video:
    """Render on any worker; when that fails and another may do better, on another."""
    record = job.record
    while True:
        try:
            return await _attempt(job, pool)
        except MovedError:
            record.attempts -= 1  # our own choice, not a failure
        except CloudburstError as exc:
            if not exc.retryable or record.attempts >= job.attempts or record.task is None:
                raise
            job.ticket.avoid.add(record.task)
            job.tell(SceneRetried, task=record.task, kind=type(exc).__name__, message=str(exc))


async def _attempt(job: SceneJob, pool: WorkerPool) -> Video:
    record = job.record
    record.restart()
    job.tell(SceneQueued, attempt=record.attempts)
    began, before = anyio.current_time(), record.queued
    try:
        async with pool.lease(job.ticket) as lane:
            record.queued += anyio.current_time() - began
            record.task = lane.worker.task
            with anyio.move_on_after(job.seconds):
                return await _render_on(lane, job)
            raise SceneTimeoutError(f"not done within {job.seconds} s", scene=record.name)
    except MovedError:
        record.queued = before + anyio.current_time() - began  # all of it was in vain
        raise


async def _render_on(lane: Lane, job: SceneJob) -> Video:
    record, scene = job.record, job.scene
    task, renderer = lane.worker.task, lane.worker.renderer
    job.tell(SceneStarted, task=task, attempt=record.attempts)
    with record.clock("uploading"):
        upload = await renderer.upload(scene, job.options)
    record.sent += upload.sent
    job.tell(SceneUploaded, task=task, sent=upload.sent)

    uploaded = anyio.current_time()
    async with lane.encoder():
        record.waiting = anyio.current_time() - uploaded
        job.tell(SceneEncoding, task=task)
        with record.encode(task):
            output = await renderer.generate(
                upload, progress=lambda share: job.tell(SceneProgress, task=task, progress=share)
            )
    job.tell(SceneGenerated, task=task)

    with record.clock("downloading"):
        file = await renderer.download(output, job.to)
    return Video(
        scene=scene.name,
        path=file.path,
        task=task,
        size=file.size,
        sha256=file.sha256,
        seconds=output.seconds,
    )
