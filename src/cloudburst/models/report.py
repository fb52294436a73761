"""What a run came to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, computed_field

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
    BUDGET = "budget"
    """Scenes were not begun because they would have passed ``Limits.max_usd``."""
    INTERRUPTED = "interrupted"
    """Cancelled, or still going on; what is finished counts."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)


class Cost(_Entry):
    """What AWS bills, in USD, by what the time was spent on. The parts add up exactly."""

    starting: Decimal = Decimal()
    """From the start of the image pull to the first answer."""
    rendering: Decimal = Decimal()
    """At least one scene encoded."""
    moving: Decimal = Decimal()
    """Files travelled and nothing encoded."""
    idle: Decimal = Decimal()
    """The rest: between scenes, while it stopped, and what a minute's minimum adds."""
    wasted: Decimal = Decimal()
    """Attempts that came to nothing, and tasks on which no scene was finished."""
    seconds: int = 0
    """Billed, over all tasks."""
    final: bool = False
    """Every task was seen to have stopped; until then all of this is an estimate that only
    grows."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def usd(self) -> Decimal:
        """All of it."""
        return self.starting + self.rendering + self.moving + self.idle + self.wasted


class Prediction(_Entry):
    """What was expected of a run when it began."""

    seconds: float
    """Wall time."""
    usd_low: Decimal = Decimal()
    """What it costs when all goes well; 0 where nothing is billed."""
    usd_high: Decimal = Decimal()
    """What it costs when all is slow."""


class SceneReport(_Entry):
    """One scene. Seconds are those of the last attempt; waiting adds up over all."""

    scene: str
    video: Video | None = None
    error: str | None = None
    """``Kind: message`` when it failed; ``None`` when it is done or was cut off."""
    task: str | None = None
    """The worker of the last attempt."""
    attempts: int = 0
    """Of all lives of the run, but for those that ended with a life."""
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
    usd: Decimal | None = None
    """Its share of its task's bill, by the time that it took there; ``None``: nothing is billed."""
    skipped: bool = False
    """An earlier life of the run had made its video: nothing was done for it now."""


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
    cost: Cost | None = None
    """Its whole bill, if it was started for this run; ``None`` where nothing is billed."""
    may_run: bool = False
    """Its stop was not accepted, nor was it seen to have stopped: it may run on, and be billed,
    until its own limit. ``cloudburst cleanup`` stops it."""
    error: str | None = None
    post_mortem: Path | None = None
    """A page about why it failed, with its last lines; where it did, and the run has a journal."""


class Report(_Entry):
    """A run: one entry for each scene, in the caller's order, and one for each worker."""

    run: str
    """Identifier of the run."""
    status: Status
    seconds: float
    """Wall time; of a run that was resumed, since then. All else is of all its lives."""
    scenes: tuple[SceneReport, ...] = ()
    workers: tuple[WorkerReport, ...] = ()
    cost: Cost | None = None
    """Of all tasks that were started for this run; ``None`` when nothing is billed."""
    fault: str | None = None
    """``Kind: message`` of what kept scenes from being made until somebody mends it, and how:
    credentials, permissions, an image that is not there…"""
    predicted: Prediction | None = None
    """What was expected when it began, by earlier runs and by what is assumed; ``None``: nobody
    asked."""
    errors: tuple[CloudburstError, ...] = Field(default=(), exclude=True, repr=False)
    """The failed scenes' errors, in the caller's order. Not part of ``model_dump()``."""
    _settle: Callable[[], Awaitable[Report]] | None = PrivateAttr(default=None)

    @property
    def videos(self) -> tuple[Video, ...]:
        """The finished videos, in the caller's order."""
        return tuple(entry.video for entry in self.scenes if entry.video is not None)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Scenes whose videos were there already: an earlier life of the run had made them."""
        return tuple(entry.scene for entry in self.scenes if entry.skipped)

    @property
    def speedup(self) -> float:
        """Seconds of uploading, encoding and downloading in one second of wall time."""
        scenes = [s for s in self.scenes if not s.skipped]
        work = sum(s.uploading + s.generating + s.downloading for s in scenes)
        return work / self.seconds if self.seconds else 0.0

    def __getstate__(self) -> dict[Any, Any]:
        """Without the way to its run, which no other process can go."""
        return super().__getstate__() | {"__pydantic_private__": {"_settle": None}}

    async def settled(self) -> Report:
        """The report once every task was seen to have stopped, so that its cost is final.

        Waits for ``Timeouts.settle`` at most, and for nothing after the client was left.
        """
        return self if self._settle is None else await self._settle()

    def raise_for_failures(self) -> None:
        """Raise the failed scenes' errors as one ``ExceptionGroup``; return when there are none."""
        if self.errors:
            raise ExceptionGroup(f"{len(self.errors)} scenes failed", list(self.errors))
