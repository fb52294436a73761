"""What a person wants to know of a run: events folded into a state. Knows no terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from cloudburst.models.events import (
    Event,
    SceneCompleted,
    SceneCopied,
    SceneEncoding,
    SceneFailed,
    SceneGenerated,
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


class Stage(StrEnum):
    """Where a scene is, in the words that the screen uses."""

    QUEUED = "queued"
    UPLOADING = "uploading"
    WAITING = "waiting for a core"
    ENCODING = "encoding"
    DOWNLOADING = "downloading"
    DONE = "done"
    FAILED = "failed"


_BEGINS = {
    Stage.QUEUED: 0.0,
    Stage.UPLOADING: 0.0,
    Stage.WAITING: 0.03,
    Stage.ENCODING: 0.05,
    Stage.DOWNLOADING: 0.95,
    Stage.DONE: 1.0,
    Stage.FAILED: 1.0,
}
"""Share of a scene's work that lies behind it when a stage begins: the encode is nearly all."""


@dataclass(slots=True)
class SceneView:
    """One scene."""

    name: str
    stage: Stage = Stage.QUEUED
    progress: float = 0.0
    """Of the encode."""
    task: str | None = None

    @property
    def share(self) -> float:
        """How much of the scene is done, between 0 and 1."""
        begins = _BEGINS[self.stage]
        if self.stage is Stage.ENCODING:
            return begins + (_BEGINS[Stage.DOWNLOADING] - begins) * self.progress
        return begins


@dataclass(slots=True)
class WorkerView:
    """One worker that is alive."""

    number: int
    """1 for the first that was launched: what a person calls it."""
    backend: str
    since: float
    """Seconds since the run began, at its launch."""
    ready: bool = False


@dataclass(slots=True)
class RunView:
    """A run as told by its events so far."""

    scenes: dict[str, SceneView] = field(default_factory=dict[str, SceneView])
    """By name, in the caller's order; empty while they are being checked."""
    workers: dict[str, WorkerView] = field(default_factory=dict[str, WorkerView])
    """By task, in the order of their launch: those that are alive."""
    numbers: dict[str, int] = field(default_factory=dict[str, int])
    """Number of every worker by task, also of those that are gone."""

    stopping: bool = False
    """Whether the run was told to stop and is not through with it."""
    settling: bool = False
    """Whether all is done but for tasks that AWS has yet to stop."""

    def begin(self, names: Iterable[str]) -> None:
        """The scenes are checked and these are their names."""
        self.scenes = {name: SceneView(name) for name in names}

    @property
    def done(self) -> int:
        """Scenes with a video."""
        return self._count(Stage.DONE)

    @property
    def failed(self) -> int:
        """Scenes that will not be made."""
        return self._count(Stage.FAILED)

    @property
    def share(self) -> float:
        """How much of all is done, between 0 and 1."""
        return sum(scene.share for scene in self.scenes.values()) / max(len(self.scenes), 1)

    def on(self, task: str) -> list[SceneView]:
        """The scenes on a worker, the one to look at first: encodes, then what is nearest to it."""
        mine = [scene for scene in self.scenes.values() if scene.task == task]
        return sorted(mine, key=lambda scene: (_LOOK.index(scene.stage), -scene.progress))

    def name(self, task: str) -> str:
        """What a person calls the worker; a task that was never launched has no number."""
        return f"worker {self.numbers[task]}" if task in self.numbers else "a worker"

    def apply(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case WorkerLaunched() | WorkerReady() | WorkerStopped() | WorkerFailed():
                self._note_worker(event)
            case SceneStarted() | SceneUploaded() | SceneEncoding() | SceneGenerated():
                self._move(event.scene, _REACHED[type(event)], event.task)
            case SceneProgress(scene=name, progress=progress):
                self.scenes[name].progress = progress
            case SceneCopied():
                pass  # until the copy is first, the scene is where it was
            case SceneQueued(scene=name) | SceneRetried(scene=name):
                self._move(name, Stage.QUEUED)
            case SceneCompleted(scene=name):
                self._move(name, Stage.DONE)
            case SceneFailed(scene=name):
                self._move(name, Stage.FAILED)
            case _:
                assert_never(event)

    def _note_worker(
        self, event: WorkerLaunched | WorkerReady | WorkerStopped | WorkerFailed
    ) -> None:
        if isinstance(event, WorkerStopped | WorkerFailed):
            self.workers.pop(event.task, None)
            return
        # A worker that is warm from an earlier run was launched before this one began.
        number = self.numbers.setdefault(event.task, len(self.numbers) + 1)
        worker = WorkerView(number, event.backend, event.at)
        worker = self.workers.setdefault(event.task, worker)
        worker.ready = worker.ready or isinstance(event, WorkerReady)

    def _move(self, name: str, stage: Stage, task: str | None = None) -> None:
        scene = self.scenes[name]
        scene.stage, scene.task, scene.progress = stage, task, 0.0

    def _count(self, stage: Stage) -> int:
        return sum(scene.stage is stage for scene in self.scenes.values())


_LOOK = (Stage.ENCODING, Stage.DOWNLOADING, Stage.WAITING, Stage.UPLOADING)
_REACHED: dict[type[object], Stage] = {
    SceneStarted: Stage.UPLOADING,
    SceneUploaded: Stage.WAITING,
    SceneEncoding: Stage.ENCODING,
    SceneGenerated: Stage.DOWNLOADING,
}
