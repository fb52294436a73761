"""What happened, in the past tense. A closed union told apart by ``type``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cloudburst.models.scene import Video


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    at: float
    """Seconds since the run began."""


class SceneEvent(_Event):
    """Something happened to a scene: the base of those events."""

    scene: str


class _OnWorker(SceneEvent):
    task: str
    """The worker that the scene is on."""


class WorkerLaunched(_Event):
    """A task was accepted by its backend."""

    type: Literal["worker.launched"] = "worker.launched"
    task: str
    backend: str


class WorkerReady(_Event):
    """A worker answered its health check."""

    type: Literal["worker.ready"] = "worker.ready"
    task: str
    backend: str


class WorkerStopped(_Event):
    """The stop of a task was accepted, or the task was found to have ended."""

    type: Literal["worker.stopped"] = "worker.stopped"
    task: str
    backend: str
    reason: str


class WorkerFailed(_Event):
    """A worker could not be started, or was lost."""

    type: Literal["worker.failed"] = "worker.failed"
    task: str
    """Empty when there never was a task."""
    backend: str
    kind: str
    message: str


class SceneQueued(SceneEvent):
    """The scene waits for a worker: at first, and again after an attempt that failed."""

    type: Literal["scene.queued"] = "scene.queued"
    attempt: int
    """1 for the first."""


class SceneStarted(_OnWorker):
    """A worker was found; the upload begins."""

    type: Literal["scene.started"] = "scene.started"
    attempt: int


class SceneUploaded(_OnWorker):
    """The files are on the worker."""

    type: Literal["scene.uploaded"] = "scene.uploaded"
    sent: int
    """Bytes that travelled: less than the files' size when the worker knew some of them."""


class SceneEncoding(_OnWorker):
    """An encoder slot was free; the encode begins."""

    type: Literal["scene.encoding"] = "scene.encoding"


class SceneProgress(_OnWorker):
    """The encode went on. A slow reader gets only the newest of each scene."""

    type: Literal["scene.progress"] = "scene.progress"
    progress: float = Field(ge=0, le=1)


class SceneCopied(_OnWorker):
    """The encode takes much longer than others did: it was begun once more, on this worker.

    The first of the two that has encoded counts; `SceneGenerated` says which one it was.
    """

    type: Literal["scene.copied"] = "scene.copied"


class SceneGenerated(_OnWorker):
    """The video lies on the worker; the download begins."""

    type: Literal["scene.generated"] = "scene.generated"


class SceneRetried(_OnWorker):
    """An attempt failed; the scene goes back into the queue."""

    type: Literal["scene.retried"] = "scene.retried"
    kind: str
    message: str


class SceneCompleted(SceneEvent):
    """The video lies verified under its final name."""

    type: Literal["scene.completed"] = "scene.completed"
    video: Video
    skipped: bool = False
    """An earlier life of the run had made it: nothing was done for it now."""


class SceneFailed(SceneEvent):
    """The scene will not be made in this run; the others go on."""

    type: Literal["scene.failed"] = "scene.failed"
    kind: str
    """Class name of the error."""
    message: str
    retryable: bool


Event: TypeAlias = Annotated[
    WorkerLaunched
    | WorkerReady
    | WorkerStopped
    | WorkerFailed
    | SceneQueued
    | SceneStarted
    | SceneUploaded
    | SceneEncoding
    | SceneProgress
    | SceneCopied
    | SceneGenerated
    | SceneRetried
    | SceneCompleted
    | SceneFailed,
    Field(discriminator="type"),
]
Emit: TypeAlias = Callable[[Event], None]
event_adapter: TypeAdapter[Event] = TypeAdapter(Event)
"""Validates an event from JSON: ``event_adapter.validate_json(line)``."""
