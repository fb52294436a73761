"""One scene, from files to file."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import anyio

from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.scribe import Scribe
from cloudburst.engine.second import second_copy
from cloudburst.engine.slot import Lane, MovedError, Span, Stage, Ticket, Visit, Work
from cloudburst.errors import (
    CloudburstError,
    PoisonedSceneError,
    SceneTimeoutError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.entries import FaultEntry
from cloudburst.models.events import (
    SceneCopied,
    SceneEncoding,
    SceneGenerated,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
)
from cloudburst.models.failures import SPOT
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene, Video
from cloudburst.ports import Download

MOVES = 10
"""Workers that may end under one scene, before or after it encodes there."""
KILLS = 2
"""Workers that may end by themselves while they encode one scene, the last one with nothing else
to blame."""


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
    failures: int = 0
    """Attempts that failed by what may be the scene's own fault."""
    announced: bool = True
    """It was told that the scene waits: at first the run tells it of all scenes at once."""
    encoding: bool = False
    moves: int = 0
    """Attempts that its worker took along: it ended, or was taken away."""
    kills: int = 0
    """Workers that ended by themselves while they encoded it."""
    deaths: list[WorkerStoppedError] = field(default_factory=list[WorkerStoppedError])
    """What was said of them."""
    video: Video | None = None
    skipped: bool = False
    """The video is that of an earlier life of the run."""
    error: CloudburstError | None = None

    @contextmanager
    def clock(self, work: Work, visit: Visit) -> Generator[None]:
        """The time that passes inside is that work's, whatever ends it."""
        began = anyio.current_time()
        try:
            yield
        finally:
            ended = anyio.current_time()
            setattr(self, work, ended - began)
            visit.spans.append(Span(work, began, ended))

    def may_go_on(self, error: CloudburstError, attempts: int) -> bool:
        """Whether there is another attempt after this error.

        A worker that ends while it encodes the scene may end because of it. One that ends before
        or after, or that is taken away, does not count against the scene: there are many more
        attempts then, though not without end.
        """
        spot = isinstance(error, WorkerStoppedError) and SPOT.fits(error.stop_code)
        if isinstance(error, WorkerError) and (spot or not self.encoding):
            self.moves += 1
        else:
            self.failures += 1
        return self.failures < attempts and self.moves < MOVES

    def died(self, error: CloudburstError) -> None:
        """A worker is lost: that may be the scene's doing if it ended while it encoded that."""
        if isinstance(error, WorkerStoppedError) and error.died:
            self.kills += 1
            self.deaths.append(error)

    def poison(self) -> PoisonedSceneError | None:
        """Why the scene is set aside, if it is."""
        if self.kills < KILLS:
            return None
        told = "; ".join(map(str, self.deaths)) or "in an earlier life of the run"
        return PoisonedSceneError(
            f"set aside: {self.kills} workers ended while they encoded it: {told}",
            scene=self.name,
            tasks=[error.task for error in self.deaths],
        )

    def take_over(self, copy: SceneRecord) -> None:
        """A second copy was first: its stages are those of the attempt."""
        self.task, self.encoding = copy.task, False
        self.uploading, self.waiting = copy.uploading, copy.waiting
        self.generating, self.downloading = copy.generating, copy.downloading

    def restart(self) -> None:
        """A new attempt: the stages of the last one no longer count."""
        self.attempts += 1
        self.task, self.encoding = None, False
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
    fingerprint: str = ""
    """Of the scene's files and looks."""
    scribe: Scribe | None = None

    def write_fault(self, error: CloudburstError, *, given_up: bool = False) -> None:
        """Write down what went wrong so far."""
        if self.scribe is not None:
            record = self.record
            entry = FaultEntry(
                scene=record.name,
                failures=record.failures,
                moves=record.moves,
                kills=record.kills,
                kind=type(error).__name__ if given_up else None,
                message=str(error),
            )
            # Who waited here would miss what is decided about those who wait for a worker.
            self.scribe.add(entry)

    async def write_result(self, video: Video, visit: Visit, *, downloading: float) -> None:
        """Write down a video that is about to get its name; its download began at a time."""
        if self.scribe is not None:
            spans = [*visit.spans, Span("downloading", downloading, anyio.current_time())]
            await self.scribe.result(video, self.fingerprint, self.record.attempts, spans)


async def render_scene(job: SceneJob, pool: WorkerPool) -> Video:
    """Render on any worker; when that fails and another may do better, on another."""
    record = job.record
    while True:
        try:
            return await _attempt(job, pool)
        except MovedError:
            record.attempts -= 1  # our own choice, not a failure
        except CloudburstError as exc:
            if poison := record.poison():
                raise poison from exc
            if not exc.retryable or record.task is None or not record.may_go_on(exc, job.attempts):
                raise
            job.write_fault(exc)
            job.ticket.suspect = record.kills > 0
            job.ticket.avoid.add(record.task)
            job.tell(SceneRetried, task=record.task, kind=type(exc).__name__, message=str(exc))


async def _attempt(job: SceneJob, pool: WorkerPool) -> Video:
    record = job.record
    record.restart()
    if not record.announced:
        job.tell(SceneQueued, attempt=record.attempts)
    record.announced = False
    async with second_copy(job.ticket, lambda lane: _second(lane, job, pool)) as second:
        try:
            return await _first(job, pool)
        except CloudburstError as exc:
            if video := await second.instead():
                return video
            if isinstance(exc, MovedError) and second.error:  # it had encoded first
                raise second.error from exc
            raise
    raise AssertionError("unreachable: nobody cancels that scope")


async def _first(job: SceneJob, pool: WorkerPool) -> Video:
    record = job.record
    began, before = job.ticket.waited_since(), record.queued
    try:
        async with pool.lease(job.ticket) as lane:
            record.queued += anyio.current_time() - began
            record.task = lane.worker.task
            return await _within_patience(lane, job, pool)
    except MovedError:
        if not record.encoding:
            record.queued = before + anyio.current_time() - began  # all of it was in vain
        raise
    except CloudburstError as exc:
        if record.encoding:
            record.died(exc)
        raise


async def _second(lane: Lane, job: SceneJob, pool: WorkerPool) -> Video:
    """The same on a lane of its own. Until it has won, the scene is where the first one is."""
    attempts = job.record.attempts
    mine = SceneRecord(name=job.record.name, task=lane.worker.task, attempts=attempts)

    def tell(event: type[Any], **facts: Any) -> None:
        if event is SceneGenerated:
            job.tell(event, **facts)

    try:
        async with pool.lease(job.ticket, lane):
            job.tell(SceneCopied, task=lane.worker.task)
            return await _within_patience(lane, replace(job, record=mine, tell=tell), pool)
    except MovedError:
        raise
    except CloudburstError as exc:
        job.ticket.avoid.add(lane.worker.task)
        if mine.encoding:
            job.record.died(exc)
        raise
    finally:
        job.record.sent += mine.sent
        if lane.stage is Stage.DOWNLOADING and not mine.encoding:
            job.record.take_over(mine)


async def _within_patience(lane: Lane, job: SceneJob, pool: WorkerPool) -> Video:
    seconds = _patience(job, lane)
    with anyio.move_on_after(seconds) as patience:
        return await _render_on(lane, job, pool, patience)
    raise SceneTimeoutError(f"not done within {seconds} s", scene=job.record.name)


def _patience(job: SceneJob, lane: Lane) -> float | None:
    """Seconds for one attempt: more than the setting where the worker is known to be slow."""
    slowness = lane.slot.backend.slowness
    if job.seconds is None or not slowness:
        return job.seconds
    return max(job.seconds, 60 + slowness * job.ticket.seconds)


async def _render_on(
    lane: Lane, job: SceneJob, pool: WorkerPool, patience: anyio.CancelScope
) -> Video:
    record, scene = job.record, job.scene
    task, renderer, visit = lane.worker.task, lane.worker.renderer, lane.visit()
    job.tell(SceneStarted, task=task, attempt=record.attempts)

    def progress(share: float) -> None:
        lane.progress = share
        job.tell(SceneProgress, task=task, progress=share)

    with record.clock("uploading", visit):
        upload = await renderer.upload(scene, job.options)
    record.sent += upload.sent
    job.tell(SceneUploaded, task=task, sent=upload.sent)

    uploaded = anyio.current_time()
    # It is not the scene's fault how long others encode, each of which has a limit of its own.
    left, patience.deadline = patience.deadline - uploaded, math.inf
    async with lane.encoder():
        granted = anyio.current_time()
        record.waiting, patience.deadline = granted - uploaded, granted + left
        job.tell(SceneEncoding, task=task)
        record.encoding = True
        with record.clock("generating", visit):
            output = await renderer.generate(upload, progress=progress)
    if not lane.wins():
        raise MovedError
    record.encoding = False
    job.tell(SceneGenerated, task=task)

    def video_of(file: Download) -> Video:
        return Video(
            scene=scene.name,
            path=file.path,
            task=task,
            size=file.size,
            sha256=file.sha256,
            seconds=output.seconds or file.seconds,
        )

    began = anyio.current_time()

    async def arrived(file: Download) -> None:
        # Before it has its name: a video without an entry is somebody else's.
        await job.write_result(video_of(file), visit, downloading=began)

    with record.clock("downloading", visit):
        file = await renderer.download(output, job.to, arrived=arrived)
    pool.finished(visit, lane)
    return video_of(file)
