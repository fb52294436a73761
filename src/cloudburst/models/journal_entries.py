"""Entries of a run's journal, from which another process can resume the run.

Times are in seconds since the Unix epoch, which is the same for all processes. An entry replaces
the earlier entry of the same class with the same key, for example the same scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field

from cloudburst.models.error_entry import ErrorEntry
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Limits
from cloudburst.models.options import RenderOptions
from cloudburst.models.report import Status
from cloudburst.models.scene import Scene, Video
from cloudburst.models.task import Usage
from cloudburst.models.tier import NamedTier

EpochSeconds: TypeAlias = Annotated[float, Field(ge=-1e10, le=1e11, allow_inf_nan=False)]
"""Time in seconds since the Unix epoch, limited to the years 1653 to 5138."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEntry:
    """Entry of a process that started or resumed the run."""

    run: str
    """Name of the run."""
    started_at: EpochSeconds
    """Time at which the process began to work on the run."""
    options: RenderOptions
    """Render options of the run."""
    tier: NamedTier
    """Size of the Fargate tasks of the run."""
    limits: Limits
    """Limits of the client."""
    backends: tuple[str, ...]
    """Names of the backends in the order of preference."""
    film: FilmRequest | None = None
    """Film of the run; ``None`` if none was requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneEntry:
    """Entry of a scene of the run."""

    scene: Scene
    """Scene with absolute paths."""
    audio_seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    """Length of the audio, in seconds."""
    fingerprint: str
    """Fingerprint of everything that determines the video: contents of the files, and options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEntry:
    """Entry that is written before a task is requested.

    It shows a later process that the task may exist, even if this process ends before the backend
    answers.
    """

    token: str
    """Token of the launch request."""
    backend: str
    """Name of the backend."""
    requested_at: EpochSeconds
    """Time shortly before the first request for the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """Entry of a task that was launched for the run."""

    task: str
    """Identifier of the task."""
    backend: str
    """Name of the backend."""
    token: str | None
    """Token of the launch request; ``None`` for a task that was found in the backend's list of
    tasks."""
    launched_at: EpochSeconds
    """Time at which the backend accepted the launch."""
    ready_at: EpochSeconds | None = None
    """Time of the first successful health check; ``None`` if there was none."""
    stopped_at: EpochSeconds | None = None
    """Time at which the stop of the task was accepted or the task was seen to have stopped;
    ``None`` before."""
    usage: Usage | None = None
    """Billed resources and times; ``None`` if nothing is billed."""
    settled: bool = False
    """True if the task was seen to have stopped, so that its bill is final."""
    error: ErrorEntry | None = None
    """Error because of which the worker failed or was given up; ``None`` if there is none."""


class PhaseEntry(NamedTuple):
    """Phase of an attempt with its start and end."""

    phase: Literal["upload", "encode", "download"]
    """Phase of the attempt."""
    started_at: EpochSeconds
    """Start of the phase."""
    ended_at: EpochSeconds
    """End of the phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultEntry:
    """Entry of a video that was downloaded and verified."""

    video: Video
    """Finished video."""
    fingerprint: str
    """Fingerprint of the files that were sent to the worker and of the render options."""
    attempts: int
    """Number of attempts at the scene, including the successful one."""
    phases: tuple[PhaseEntry, ...] = ()
    """Phases of the successful attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFailureEntry:
    """Entry of a scene's failed attempts so far, with the error of the last one."""

    scene: str
    """Name of the scene."""
    failures: int
    """Number of attempts that failed for a reason that may lie in the scene."""
    worker_failures: int
    """Number of attempts that failed because of their worker."""
    worker_losses: int
    """Number of workers that ended by themselves while they encoded the scene."""
    error: ErrorEntry | None = None
    """Error of the last attempt."""
    given_up: bool = False
    """True if the run makes no further attempt at the scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEndEntry:
    """Entry of a process that ended its part of the run normally."""

    ended_at: EpochSeconds
    """Time at which the process ended its part of the run."""
    status: Status
    """Status of the run at that time."""


Entry: TypeAlias = (
    ProcessEntry
    | SceneEntry
    | LaunchEntry
    | TaskEntry
    | ResultEntry
    | SceneFailureEntry
    | ProcessEndEntry
)
