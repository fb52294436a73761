"""State of a run as displays show it, built from the events of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, assert_never

from cloudburst.cli.output import failure_key
from cloudburst.events import (
    Event,
    FilmCompleted,
    FilmFailed,
    FilmProgress,
    SceneCompleted,
    SceneCopied,
    SceneEncoded,
    SceneEncoding,
    SceneFailed,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
    WorkerFailed,
    WorkerLaunched,
    WorkerReady,
    WorkerStopped,
)


class SceneStage(StrEnum):
    """Stage of a scene, with the text that displays show."""

    QUEUED = "queued"
    UPLOADING = "uploading"
    WAITING = "waiting to encode"
    ENCODING = "encoding"
    DOWNLOADING = "downloading"
    DONE = "done"
    FAILED = "failed"


_BEGINS = {
    SceneStage.QUEUED: 0.0,
    SceneStage.UPLOADING: 0.0,
    SceneStage.WAITING: 0.03,
    SceneStage.ENCODING: 0.05,
    SceneStage.DOWNLOADING: 0.95,
    SceneStage.DONE: 1.0,
    SceneStage.FAILED: 1.0,
}
"""Share of a scene's work that is done at the beginning of each stage, between 0 and 1. The encode
is nearly all of the work."""

FailureEvent: TypeAlias = WorkerFailed | SceneRetried | SceneFailed | FilmFailed


@dataclass(slots=True)
class SceneView:
    """State of one scene."""

    name: str
    stage: SceneStage = SceneStage.QUEUED
    progress: float = 0.0
    """Progress of the encode, between 0 and 1."""
    task: str | None = None

    @property
    def share(self) -> float:
        """Share of the scene that is done, between 0 and 1."""
        begins = _BEGINS[self.stage]
        if self.stage is SceneStage.ENCODING:
            return begins + (_BEGINS[SceneStage.DOWNLOADING] - begins) * self.progress
        return begins


@dataclass(slots=True)
class WorkerView:
    """State of a worker that has not stopped."""

    number: int
    """Number of the worker in the order of launches, from 1."""
    backend: str
    since: float
    """Time of the launch, in seconds since the start of the run."""
    ready: bool = False


@dataclass(slots=True)
class RunView:
    """State of a run, according to its events so far."""

    scenes: dict[str, SceneView] = field(default_factory=dict[str, SceneView])
    """Scenes by name, in the caller's order; empty until they have been checked."""
    workers: dict[str, WorkerView] = field(default_factory=dict[str, WorkerView])
    """Workers that have not stopped, by task, in the order of their launches."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    """Number of each worker (`WorkerView.number`), by task; includes workers that have stopped."""
    first_failures: dict[str, FailureEvent] = field(default_factory=dict[str, FailureEvent])
    """First failure with each cause; the key is the `failure_key` of the failure."""

    stopping: bool = False
    """True if the run is being stopped by a signal."""
    film: float | None = None
    """Finished share of the film, between 0 and 1; ``None`` before the film is begun."""
    _counts: Counter[SceneStage] = field(default_factory=Counter[SceneStage])
    _on_workers: dict[str, dict[str, SceneView]] = field(
        default_factory=dict[str, dict[str, SceneView]]
    )
    """Scenes by name, by the task that has them."""

    def begin(self, names: Iterable[str]) -> None:
        """Set the names of the scenes, after the scenes have been checked."""
        self.scenes = {name: SceneView(name) for name in names}
        self._counts = Counter({SceneStage.QUEUED: len(self.scenes)})

    @property
    def done(self) -> int:
        """Number of scenes with a video."""
        return self._counts[SceneStage.DONE]

    @property
    def failed(self) -> int:
        """Number of scenes that failed."""
        return self._counts[SceneStage.FAILED]

    @property
    def share(self) -> float:
        """Share of the run that is done, between 0 and 1."""
        begun = sum(_BEGINS[stage] * count for stage, count in self._counts.items())
        encoded = sum(
            scene.share - _BEGINS[scene.stage]
            for scenes in self._on_workers.values()
            for scene in scenes.values()
        )
        return (begun + encoded) / max(len(self.scenes), 1)

    def scenes_on(self, task: str) -> list[SceneView]:
        """Return the scenes on a worker, by stage: encoding, downloading, waiting, uploading."""
        scenes = self._on_workers.get(task, {}).values()
        return sorted(
            scenes, key=lambda scene: (_DISPLAY_ORDER.index(scene.stage), -scene.progress)
        )

    def worker_name(self, task: str) -> str:
        """Return the displayed name of a worker: ``worker 2``, or ``a worker`` if not launched."""
        return f"worker {self.numbers[task]}" if task in self.numbers else "a worker"

    def apply(self, event: Event) -> None:
        """Update the state with one event."""
        if isinstance(event, FailureEvent):
            self.first_failures.setdefault(_cause(event), event)
        match event:
            case WorkerLaunched() | WorkerReady() | WorkerStopped() | WorkerFailed():
                self._update_worker(event)
            case SceneStarted() | SceneUploaded() | SceneEncoding() | SceneEncoded():
                self._move(event.scene, _STAGE_AFTER[type(event)], event.task)
            case SceneProgress(scene=name, progress=progress):
                self.scenes[name].progress = progress
            case SceneCopied():
                pass  # the stage does not change unless the copy has encoded first
            case SceneQueued(scene=name) | SceneRetried(scene=name):
                self._move(name, SceneStage.QUEUED)
            case SceneCompleted(scene=name):
                self._move(name, SceneStage.DONE)
            case SceneFailed(scene=name):
                self._move(name, SceneStage.FAILED)
            case FilmProgress() | FilmCompleted() | FilmFailed():
                self.film = event.progress if isinstance(event, FilmProgress) else None
            case _:
                assert_never(event)

    def first_failure(self, event: FailureEvent) -> FailureEvent:
        """Return the first failure with the same cause as ``event``, possibly ``event`` itself."""
        return self.first_failures.get(_cause(event), event)

    def is_new(self, reason: str) -> bool:
        """Return whether no failure had the reason of a worker's end as its message."""
        suffix = f": {failure_key(reason)}"
        return not any(cause.endswith(suffix) for cause in self.first_failures)

    def _update_worker(
        self, event: WorkerLaunched | WorkerReady | WorkerStopped | WorkerFailed
    ) -> None:
        if isinstance(event, WorkerStopped | WorkerFailed):
            self.workers.pop(event.task, None)
            return
        # A worker that an earlier run started has no launch event in this run.
        number = self.numbers.setdefault(event.task, len(self.numbers) + 1)
        worker = WorkerView(number, event.backend, event.at)
        worker = self.workers.setdefault(event.task, worker)
        worker.ready = worker.ready or isinstance(event, WorkerReady)

    def _move(self, name: str, stage: SceneStage, task: str | None = None) -> None:
        scene = self.scenes[name]
        self._counts[scene.stage] -= 1
        self._counts[stage] += 1
        if scene.task is not None:
            on_worker = self._on_workers[scene.task]
            del on_worker[name]
            if not on_worker:
                del self._on_workers[scene.task]
        if task is not None:
            self._on_workers.setdefault(task, {})[name] = scene
        scene.stage, scene.task, scene.progress = stage, task, 0.0


def _cause(event: FailureEvent) -> str:
    scene = "" if isinstance(event, WorkerFailed | FilmFailed) else event.scene
    return failure_key(f"{event.kind}: {event.message}", scene)


def failure_name(event: FailureEvent, view: RunView) -> str:
    """Return the name of the scene or worker that a failure is about, or ``the film``."""
    if isinstance(event, FilmFailed):
        return "the film"
    return view.worker_name(event.task) if isinstance(event, WorkerFailed) else event.scene


_DISPLAY_ORDER = (
    SceneStage.ENCODING,
    SceneStage.DOWNLOADING,
    SceneStage.WAITING,
    SceneStage.UPLOADING,
)
_STAGE_AFTER: dict[type[object], SceneStage] = {
    SceneStarted: SceneStage.UPLOADING,
    SceneUploaded: SceneStage.WAITING,
    SceneEncoding: SceneStage.ENCODING,
    SceneEncoded: SceneStage.DOWNLOADING,
}
