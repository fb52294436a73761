"""Events of a run: one class for each kind of event, identified by its field ``type``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cloudburst.models.locations import WrittenLocation
from cloudburst.models.run_progress import WorkerPlace
from cloudburst.models.scene import Video


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    at: float
    """Time of the event, in seconds since the run began."""


class SceneEvent(_Event):
    """Base class of all events of a scene."""

    scene: str
    """Name of the scene."""


class _OnWorker(SceneEvent):
    task: str
    """Identifier of the worker's task."""


class _WorkerEvent(_Event):
    task: str
    """Identifier of the task; empty if no task was started."""
    backend: str
    """Name of the backend."""


class _WorkerStarted(_WorkerEvent):
    place: WorkerPlace
    """Place of the worker: ``machine``, ``fargate`` or ``endpoints``."""
    size: str = ""
    """Size of the task: ``2 vCPU, 4 GB``; empty if nothing is billed."""


class WorkerLaunched(_WorkerStarted):
    """Event: a backend accepted the request for a task."""

    type: Literal["worker.launched"] = "worker.launched"


class WorkerReady(_WorkerStarted):
    """Event: a worker passed its first health check."""

    type: Literal["worker.ready"] = "worker.ready"


class WorkerStopped(_WorkerEvent):
    """Event: the backend accepted the stop of a task, or the task was seen to have stopped."""

    type: Literal["worker.stopped"] = "worker.stopped"
    reason: str
    """Reason of the stop."""


class WorkerFailed(_WorkerEvent):
    """Event: a worker could not be started, or was lost."""

    type: Literal["worker.failed"] = "worker.failed"
    kind: str
    """Class name of the error."""
    message: str
    """Message of the error."""


class SceneQueued(SceneEvent):
    """Event: the scene entered the queue, for the first time or after a failed attempt."""

    type: Literal["scene.queued"] = "scene.queued"
    attempt: int
    """Number of the next attempt; the first is 1."""


class SceneStarted(_OnWorker):
    """Event: the scene was assigned to a worker; its upload begins."""

    type: Literal["scene.started"] = "scene.started"
    attempt: int
    """Number of the attempt; the first is 1."""


class SceneUploaded(_OnWorker):
    """Event: the scene's files are on the worker."""

    type: Literal["scene.uploaded"] = "scene.uploaded"
    bytes_sent: int
    """Bytes sent; less than the size of the files if the worker had some of them already."""


class SceneEncoding(_OnWorker):
    """Event: an encoder slot became free; the encode begins."""

    type: Literal["scene.encoding"] = "scene.encoding"


class SceneProgress(_OnWorker):
    """Event: the encode made progress.

    A slow reader receives only the newest progress of each scene.
    """

    type: Literal["scene.progress"] = "scene.progress"
    progress: float = Field(ge=0, le=1)
    """Finished share of the encode, from 0 to 1."""


class SceneCopied(_OnWorker):
    """Event: a speculative copy of a slow scene was started on this worker.

    The attempt that finishes its encode first counts; `SceneEncoded` then names the task that made
    this attempt.
    """

    type: Literal["scene.copied"] = "scene.copied"


class SceneEncoded(_OnWorker):
    """Event: the video is ready on the worker; its download begins."""

    type: Literal["scene.encoded"] = "scene.encoded"


class SceneRetried(_OnWorker):
    """Event: an attempt failed; the scene goes back into the queue."""

    type: Literal["scene.retried"] = "scene.retried"
    kind: str
    """Class name of the error."""
    message: str
    """Message of the error."""


class SceneCompleted(SceneEvent):
    """Event: the video was verified and has its final name."""

    type: Literal["scene.completed"] = "scene.completed"
    video: Video
    """Finished video."""
    skipped: bool = False
    """True if an earlier process of the run made the video and this process did not render it
    again."""


class SceneFailed(SceneEvent):
    """Event: the scene failed and will not be retried; the other scenes continue."""

    type: Literal["scene.failed"] = "scene.failed"
    kind: str
    """Class name of the error."""
    message: str
    """Message of the error."""
    retryable: bool
    """True if another attempt may succeed without a change by the user."""


class FilmProgress(_Event):
    """Event: the film is being made of the finished videos."""

    type: Literal["film.progress"] = "film.progress"
    progress: float = Field(ge=0, le=1)
    """Finished share of the film, from 0 to 1."""


class FilmCompleted(_Event):
    """Event: the film is complete and has its final name."""

    type: Literal["film.completed"] = "film.completed"
    path: WrittenLocation
    """Location of the film: an absolute path, or an object in S3."""
    skipped: bool = False
    """True if the film was made earlier from the same videos."""


class FilmFailed(_Event):
    """Event: no film was made; finished videos are kept."""

    type: Literal["film.failed"] = "film.failed"
    kind: str
    """Class name of the error."""
    message: str
    """Message of the error."""


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
    | SceneEncoded
    | SceneRetried
    | SceneCompleted
    | SceneFailed
    | FilmProgress
    | FilmCompleted
    | FilmFailed,
    Field(discriminator="type"),
]
"""Any event of a run."""

event_adapter: TypeAdapter[Event] = TypeAdapter(Event)
"""Adapter that validates an event from JSON: ``event_adapter.validate_json(line)``."""
