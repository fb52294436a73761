"""What a run came to."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.errors import CloudburstError
from cloudburst.models.scene import Video


class Status(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    """Every scene has its video."""
    PARTIAL = "partial"
    """Some scenes failed."""
    FAILED = "failed"
    """No scene has a video."""
    INTERRUPTED = "interrupted"
    """Cancelled, or still going on; what is finished counts."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class SceneReport(_Entry):
    """One scene. Seconds are those of the last attempt; waiting adds up over all."""

    scene: str
    video: Video | None = None
    error: str | None = None
    """``Kind: message`` when it failed; ``None`` when it is done or was cut off."""
    task: str | None = None
    """The worker of the last attempt."""
    attempts: int = 0
    queued: float = 0.0
    """Seconds waiting for a worker: in the queue, or on one that had no time before another."""
    uploading: float = 0.0
    waiting: float = 0.0
    """Seconds on the worker, waiting for an encoder slot."""
    generating: float = 0.0
    downloading: float = 0.0
    sent: int = 0
    """Bytes to workers, over all attempts."""
    received: int = 0
    """Bytes of the video."""


class WorkerReport(_Entry):
    """One task, from its launch to its stop."""

    task: str
    backend: str
    launched: float | None
    """Seconds since the run began, negative for a worker that was warm already; ``None`` when no
    task was accepted."""
    ready: float | None = None
    """The same clock; ``None`` when it never answered."""
    stopped: float | None = None
    """The same clock; ``None`` while it is kept for the next call."""
    encoding: float = 0.0
    """Seconds during which at least one scene of this run encoded."""
    scenes: int = 0
    """Scenes of this run that it finished."""
    error: str | None = None


class Report(_Entry):
    """A run: one entry for each scene, in the caller's order, and one for each worker."""

    run: str
    """Identifier of the run."""
    status: Status
    seconds: float
    """Wall time."""
    scenes: tuple[SceneReport, ...] = ()
    workers: tuple[WorkerReport, ...] = ()
    errors: tuple[CloudburstError, ...] = Field(default=(), exclude=True, repr=False)
    """The failed scenes' errors, in the caller's order. Not part of ``model_dump()``."""

    @property
    def videos(self) -> tuple[Video, ...]:
        """The finished videos, in the caller's order."""
        return tuple(entry.video for entry in self.scenes if entry.video is not None)

    @property
    def speedup(self) -> float:
        """Seconds of uploading, encoding and downloading in one second of wall time."""
        work = sum(s.uploading + s.generating + s.downloading for s in self.scenes)
        return work / self.seconds if self.seconds else 0.0

    def raise_for_failures(self) -> None:
        """Raise the failed scenes' errors as one ``ExceptionGroup``; return when there are none."""
        if self.errors:
            raise ExceptionGroup(f"{len(self.errors)} scenes failed", list(self.errors))
