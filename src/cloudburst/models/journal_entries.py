"""Entries of a run's journal, from which another process can resume the run."""

# Times are in seconds since the Unix epoch, which is the same for all processes. An entry
# replaces the earlier entry of the same class with the same key, for example the same scene.

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from cloudburst import errors
from cloudburst.errors import CloudburstError, Remedy
from cloudburst.models.file_versions import KnownHash
from cloudburst.models.film import FilmRequest
from cloudburst.models.limits import Limits
from cloudburst.models.locations import WrittenLocation
from cloudburst.models.options import RenderOptions
from cloudburst.models.report import Prediction, Status
from cloudburst.models.scene import Scene, Video
from cloudburst.models.task import Usage
from cloudburst.models.tier import NamedTier


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEntry:
    """Entry for a `CloudburstError`, from which an equal error can be restored."""

    kind: str
    """Name of the error's class in `cloudburst.errors`."""
    message: str
    remedy: str
    """Value of the error's `Remedy`."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the error, as values that JSON can represent."""

    @classmethod
    def of(cls, error: CloudburstError) -> ErrorEntry:
        """Return the entry of an error."""
        kind = next(kind for kind in type(error).__mro__ if _public(kind.__name__) is kind)
        facts = {
            name: adapter.dump_python(getattr(error, name), mode="json")
            for name, adapter in _fields(kind.__name__).items()
        }
        return cls(kind=kind.__name__, message=str(error), remedy=error.remedy.value, facts=facts)

    def restore(self) -> CloudburstError:
        """Return an error that is equal to the original one."""
        # If the class or one of its attributes is unknown, because another version of cloudburst
        # wrote the entry, return a `CloudburstError` whose message names the class.
        kind = _public(self.kind)
        if kind is None:
            return CloudburstError(f"{self.kind}: {self.message}")
        try:
            facts = {
                name: adapter.validate_python(self.facts[name])
                for name, adapter in _fields(kind.__name__).items()
                if name in self.facts
            }
            remedy = Remedy(self.remedy)
        except (ValidationError, ValueError):
            return CloudburstError(f"{self.kind}: {self.message}")
        error = kind(self.message, **facts)
        if error.remedy is not remedy:
            error.remedy = remedy
        return error


def _public(name: str) -> type[CloudburstError] | None:
    kind = getattr(errors, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, CloudburstError) else None


@cache
def _fields(name: str) -> dict[str, TypeAdapter[Any]]:
    kind = _public(name)
    assert kind is not None, "the name of an error's class"
    parameters = inspect.signature(kind.__init__).parameters.values()
    names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    hints = get_type_hints(kind.__init__) if names else {}
    return {each: TypeAdapter(hints[each]) for each in names}


# What is to be done for the film of a run whose source has not ended with all scenes accepted.
SCENES_ARE_MISSING = (
    "the program that gives the scenes has not given its last one, or scenes were refused: run it "
    "again with resume=True for the rest and the film"
)

# Time in seconds since the Unix epoch, limited to the years 1653 to 5138.
EpochSeconds: TypeAlias = Annotated[float, Field(ge=-1e10, le=1e11, allow_inf_nan=False)]
_Seconds: TypeAlias = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEntry:
    """Entry of a process that started or resumed the run."""

    run: str
    started_at: EpochSeconds
    options: RenderOptions
    tier: NamedTier
    limits: Limits
    backends: tuple[str, ...]
    """Names of the backends in the order of preference."""
    film: FilmRequest | None = None
    predicted: Prediction | None = None
    """Time and cost that were predicted; ``None`` if the scenes were not known."""
    source_ended: bool | None = None
    """Whether the source of the scenes has ended, and every scene was accepted; ``None``: the run
    began with all of its scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneEntry:
    """Entry of a scene of the run."""

    scene: Scene
    audio_seconds: _Seconds
    fingerprint: str = ""
    """Fingerprint of what the video is to be made of, if a resumed run has compared it; else empty,
    because files are only read when they are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEntry:
    """Entry that is written before a task is requested.

    The task may exist even if this process ends before the backend answers.
    """

    token: str
    backend: str
    requested_at: EpochSeconds
    """Time shortly before the first request."""


class PhaseEntry(NamedTuple):
    """Phase of an attempt with its start and end."""

    phase: Literal["upload", "encode", "download"]
    started_at: EpochSeconds
    ended_at: EpochSeconds


class AttemptEntry(NamedTuple):
    """Attempt that has no result in the journal: it failed or was left, or it is one at a film."""

    scene: str
    finished: bool
    phases: tuple[PhaseEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """Entry of a task that was launched for the run."""

    task: str
    backend: str
    token: str | None
    """Token of the launch request; ``None`` for a task that the backend has listed."""
    launched_at: EpochSeconds
    """Time at which the backend accepted the launch."""
    ready_at: EpochSeconds | None = None
    """Time of the first successful health check."""
    stopped_at: EpochSeconds | None = None
    """Time at which the stop was accepted or the task was seen to have stopped."""
    usage: Usage | None = None
    settled: bool = False
    """True if the task was seen to have stopped, so that its bill is final."""
    error: ErrorEntry | None = None
    """Error because of which the worker failed or was given up."""
    attempts: tuple[AttemptEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultEntry:
    """Entry of a video that was downloaded and verified."""

    video: Video
    fingerprint: str
    """Fingerprint of the files that were sent to the worker and of the render options."""
    attempts: int
    """Number of attempts, including the successful one."""
    phases: tuple[PhaseEntry, ...] = ()
    """Phases of the successful attempt."""
    files: tuple[KnownHash, ...] = ()
    """Hashes of the files on this machine of which the video is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFailureEntry:
    """Entry of a scene's failed attempts so far, with the error of the last one."""

    scene: str
    failures: int
    """Attempts that failed for a reason that may lie in the scene."""
    worker_failures: int
    """Attempts that failed because of their worker."""
    worker_losses: int
    """Workers that ended by themselves while they encoded the scene."""
    attempts: int = 0
    """Number of all attempts, also of those that count against nothing."""
    error: ErrorEntry | None = None
    given_up: bool = False
    """True if the run makes no further attempt."""
    fingerprint: str = ""
    """Fingerprint of the files that were sent to the worker and of the render options; empty if no
    file was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEndEntry:
    """Entry of a process that ended its part of the run normally."""

    ended_at: EpochSeconds
    status: Status
    film: WrittenLocation | None = None
    film_error: str | None = None
    film_started_at: _Seconds | None = None
    """Seconds from the start of the process until it began to make the film."""
    film_finished_at: _Seconds | None = None


Entry: TypeAlias = (
    ProcessEntry
    | SceneEntry
    | LaunchEntry
    | TaskEntry
    | ResultEntry
    | SceneFailureEntry
    | ProcessEndEntry
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """Latest journal entry for each key, in the order in which the keys were first written."""

    processes: tuple[ProcessEntry, ...] = ()
    """Processes that have worked on the run, the first one first."""
    scenes: Mapping[str, SceneEntry] = field(default_factory=dict[str, SceneEntry])
    launches: Mapping[str, LaunchEntry] = field(default_factory=dict[str, LaunchEntry])
    tasks: Mapping[str, TaskEntry] = field(default_factory=dict[str, TaskEntry])
    results: Mapping[str, ResultEntry] = field(default_factory=dict[str, ResultEntry])
    """Finished videos by scene."""
    scene_failures: Mapping[str, SceneFailureEntry] = field(
        default_factory=dict[str, SceneFailureEntry]
    )
    """Failed attempts by scene."""
    end: ProcessEndEntry | None = None
    """Entry of the end of the last process; ``None`` if it runs or ended abnormally."""

    @property
    def finished(self) -> Mapping[str, ResultEntry]:
        """Results of the scenes whose video is up to date with its inputs."""
        return {
            name: self.results[name]
            for name, scene in self.scenes.items()
            if name in self.results and scene.fingerprint in {"", self.results[name].fingerprint}
        }

    @property
    def source_ended(self) -> bool | None:
        """What the last process knew of the source: see `ProcessEntry.source_ended`."""
        return self.processes[-1].source_ended if self.processes else None
