"""State of a run, built from its events: what displays, jobs and pages show of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from cloudburst.engine.failure_groups import FailureEvent, FailureGroup, key_of
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
from cloudburst.models.run_progress import WorkerActivity, WorkerPlace, WorkerProgress


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


@dataclass(slots=True)
class SceneView:
    """State of one scene."""

    name: str
    stage: SceneStage = SceneStage.QUEUED
    progress: float = 0.0
    """Progress of the encode, between 0 and 1."""
    task: str | None = None
    copy_task: str | None = None
    """Task with the speculative copy of the scene."""

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
    place: WorkerPlace
    size: str
    """Size of a billed task: ``2 vCPU, 4 GB``; empty if nothing is billed."""
    since: float
    """Time of the launch, in seconds since the start of the run."""
    ready: bool = False


@dataclass(slots=True)
class RunView:
    """State of a run, according to its events so far."""

    scenes: dict[str, SceneView] = field(default_factory=dict[str, SceneView])
    """Scenes by name, in the caller's order."""
    workers: dict[str, WorkerView] = field(default_factory=dict[str, WorkerView])
    """Workers that have not stopped, by task, in the order of their launches."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    """Number of each worker (`WorkerView.number`), by task; includes workers that have stopped."""
    film: float | None = None
    """Finished share of the film, between 0 and 1; ``None`` before the film is begun."""
    film_started_at: float | None = None
    """Time at which the film was begun, in seconds since the run began."""
    film_finished_at: float | None = None
    """Time at which the film was done or had failed, if it was begun."""
    failures: dict[str, FailureGroup] = field(default_factory=dict[str, FailureGroup])
    """Failures so far, by their key."""
    _counts: Counter[SceneStage] = field(default_factory=Counter[SceneStage])
    _on_workers: dict[str, dict[str, SceneView]] = field(
        default_factory=dict[str, dict[str, SceneView]]
    )
    """Scenes by name, by the task that has them or their speculative copy."""

    def add(self, name: str) -> None:
        """Add a scene."""
        self.scenes[name] = SceneView(name)
        self._counts[SceneStage.QUEUED] += 1

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
            for task, scenes in self._on_workers.items()
            for scene in scenes.values()
            if scene.task == task
        )
        return (begun + encoded) / max(len(self.scenes), 1)

    @property
    def encodes(self) -> dict[str, float]:
        """Finished share of each encode, between 0 and 1, by the name of the scene."""
        return {
            scene.name: scene.progress
            for scenes in self._on_workers.values()
            for scene in scenes.values()
            if scene.stage is SceneStage.ENCODING
        }

    def scenes_on(self, task: str) -> list[SceneView]:
        """Return the scenes on a worker, by stage: encoding, downloading, waiting, uploading.

        Scenes of which the worker has the speculative copy come last; their task is another one.
        """
        return sorted(
            self._on_workers.get(task, {}).values(),
            key=lambda scene: (
                scene.task != task,
                _DISPLAY_ORDER.index(scene.stage),
                -scene.progress,
            ),
        )

    def in_work(self) -> list[SceneView]:
        """Return the scenes on workers, in the order of the workers' launches."""
        return [
            scene
            for task in self.workers
            for scene in self._on_workers.get(task, {}).values()
            if scene.task == task
        ]

    def worker_name(self, task: str) -> str:
        """Return the displayed name of a worker: ``worker 2``, or ``a worker`` if not launched."""
        return f"worker {self.numbers[task]}" if task in self.numbers else "a worker"

    def apply(self, event: Event) -> None:
        """Update the state with one event."""
        match event:
            case WorkerLaunched() | WorkerReady() | WorkerStopped() | WorkerFailed():
                self._update_worker(event)
            case SceneStarted() | SceneUploaded() | SceneEncoding() | SceneEncoded():
                self._move(event.scene, _STAGE_AFTER[type(event)], event.task)
            case SceneProgress(scene=name, progress=progress):
                self.scenes[name].progress = progress
            case SceneCopied(scene=name, task=task):
                scene = self.scenes[name]
                self._take_off(scene, scene.copy_task)
                self._on_workers.setdefault(task, {})[name] = scene
                scene.copy_task = task
            case SceneQueued(scene=name) | SceneRetried(scene=name):
                self._move(name, SceneStage.QUEUED)
            case SceneCompleted(scene=name):
                self._move(name, SceneStage.DONE)
            case SceneFailed(scene=name):
                self._move(name, SceneStage.FAILED)
            case FilmProgress() | FilmCompleted() | FilmFailed():
                self._update_film(event)
            case _:
                assert_never(event)
        self._note_failure(event)

    def _note_failure(self, event: Event) -> None:
        if isinstance(event, FailureEvent):
            group = FailureGroup(f"{event.kind}: {event.message}", event)
            group = self.failures.setdefault(key_of(event), group)
            if isinstance(event, SceneFailed):
                group.scenes.append(event.scene)

    def workers_progress(self, stopping: Collection[str]) -> Iterator[WorkerProgress]:
        """Yield the state of each worker; ``stopping`` are the tasks that are being stopped."""
        for task, worker in self.workers.items():
            state: WorkerActivity = "idle" if worker.ready else "starting"
            scenes = self.scenes_on(task)
            if scenes and worker.ready:
                state = _ACTIVITIES[scenes[0].stage]
            yield WorkerProgress(
                number=worker.number,
                task=task,
                place=worker.place,
                size=worker.size,
                state="stopping" if task in stopping else state,
                scenes=tuple(scene.name for scene in scenes),
            )

    def _update_worker(
        self, event: WorkerLaunched | WorkerReady | WorkerStopped | WorkerFailed
    ) -> None:
        if isinstance(event, WorkerStopped | WorkerFailed):
            self.workers.pop(event.task, None)
            return
        # A worker that an earlier run started has no launch event in this run.
        number = self.numbers.setdefault(event.task, len(self.numbers) + 1)
        worker = WorkerView(number, event.place, event.size, event.at)
        worker = self.workers.setdefault(event.task, worker)
        worker.size = event.size
        worker.ready = worker.ready or isinstance(event, WorkerReady)

    def _update_film(self, event: FilmProgress | FilmCompleted | FilmFailed) -> None:
        if isinstance(event, FilmProgress):
            self.film = event.progress
            if self.film_started_at is None:
                self.film_started_at = event.at
            return
        self.film = 1.0 if isinstance(event, FilmCompleted) else None
        if self.film_started_at is not None:
            self.film_finished_at = event.at

    def _move(self, name: str, stage: SceneStage, task: str | None = None) -> None:
        scene = self.scenes[name]
        self._counts[scene.stage] -= 1
        self._counts[stage] += 1
        self._take_off(scene, scene.task)
        self._take_off(scene, scene.copy_task)
        if task is not None:
            self._on_workers.setdefault(task, {})[name] = scene
        scene.stage, scene.task, scene.progress = stage, task, 0.0
        scene.copy_task = None

    def _take_off(self, scene: SceneView, task: str | None) -> None:
        if task is not None:
            del self._on_workers[task][scene.name]


# What a worker does, by the stage of its first scene in this order.
_ACTIVITIES: dict[SceneStage, WorkerActivity] = {
    SceneStage.ENCODING: "encoding",
    SceneStage.DOWNLOADING: "downloading",
    SceneStage.WAITING: "uploading",
    SceneStage.UPLOADING: "uploading",
}
_DISPLAY_ORDER = [*_ACTIVITIES]
_STAGE_AFTER: dict[type[object], SceneStage] = {
    SceneStarted: SceneStage.UPLOADING,
    SceneUploaded: SceneStage.WAITING,
    SceneEncoding: SceneStage.ENCODING,
    SceneEncoded: SceneStage.DOWNLOADING,
}
