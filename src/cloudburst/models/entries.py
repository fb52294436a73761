"""What a run writes down, so that another process can go on with it.

Times are seconds since the epoch, for they are read by another process than the one that wrote
them. Each entry replaces an earlier one of the same kind about the same thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits
from cloudburst.models.report import Status
from cloudburst.models.scene import Scene, Video
from cloudburst.models.task import Usage
from cloudburst.models.tier import NamedTier


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A life of a run begins: the first one, or one that goes on with it."""

    run: str
    began: float
    options: RenderOptions
    tier: NamedTier
    limits: Limits
    backends: tuple[str, ...]
    """Their names, in the order of preference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneEntry:
    """A scene of the run."""

    scene: Scene
    """With absolute paths."""
    seconds: float
    """Length of the sound."""
    fingerprint: str
    """Of all that its video depends on: the contents of its files, and the options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEntry:
    """A task is about to be asked for: there may be one, whatever becomes of us."""

    token: str
    backend: str
    asked: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """What is known of a task."""

    task: str
    backend: str
    token: str | None
    """Of its launch; ``None`` for a task that was found."""
    launched: float
    ready: float | None = None
    stopped: float | None = None
    """Its stop was accepted, or it was seen to have stopped."""
    usage: Usage | None = None
    settled: bool = False
    """It was seen to have stopped: nothing more will be billed."""
    error: str | None = None


class SpanEntry(NamedTuple):
    """A piece of work, from and to."""

    work: Literal["uploading", "generating", "downloading"]
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultEntry:
    """A video that was received, verified and lies under its final name."""

    video: Video
    fingerprint: str
    """Of the scene that it was made of."""
    attempts: int
    spans: tuple[SpanEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultEntry:
    """What went wrong with a scene so far: with a ``kind``, it was given up for that."""

    scene: str
    failures: int
    moves: int
    kills: int
    """Workers that ended while they encoded it."""
    kind: str | None = None
    """Class of the error."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEntry:
    """A life of a run has ended in order."""

    ended: float
    status: Status


Entry: TypeAlias = (
    RunEntry | SceneEntry | LaunchEntry | TaskEntry | ResultEntry | FaultEntry | EndEntry
)
