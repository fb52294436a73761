"""Jobs: what is submitted, what is stored about it, and its events. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    computed_field,
)
from pydantic_core import ErrorDetails

from cloudburst.errors import ConfigurationError, InvalidScenesError, SceneFault
from cloudburst.film.request import film_request
from cloudburst.inputs.preflight import parse_scenes
from cloudburst.models.film import FILM_FILES, FilmOptions, Transition
from cloudburst.models.locations import EXPECTED_S3_PREFIX, AnyLocation, S3Prefix, parse_s3_prefix
from cloudburst.models.options import RenderOptions, describe_field
from cloudburst.models.options.values import OptionalLocation
from cloudburst.models.problems import code_of, fix_of
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import Scene
from cloudburst.models.tier import NamedTier
from cloudburst.text import short_repr

MAX_METADATA_BYTES = 4096
"""Largest size of the metadata of a job as JSON, in bytes. It is part of every event's payload."""
MAX_METADATA_KEYS = 32
"""Maximum number of keys in the metadata of a job."""
MAX_KEY_CHARS = 255
"""Maximum length of an idempotency key, in characters."""
DEFAULT_PAGE = 50
"""Number of jobs in one part of a list, unless another number is asked for."""
MAX_NAME_CHARS = 200
"""Maximum length of the name of a job, in characters."""
MAX_PAGE = 200
"""Maximum number of jobs in one part of a list."""


MAX_FAULTS = 1_000
"""Number of problems after which no further scene is read; each takes 0.3 ms to describe."""
_EXPECTED_FOLDER = "a permitted folder in S3, as s3:// URL, or null"


def _check_metadata(metadata: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if len(metadata) > MAX_METADATA_KEYS:
        msg = f"{len(metadata)} keys; expected at most {MAX_METADATA_KEYS}"
        raise ValueError(msg)
    size = len(json.dumps(metadata, ensure_ascii=False).encode("utf-8", "replace"))
    if size > MAX_METADATA_BYTES:
        msg = f"{size} bytes of JSON; expected at most {MAX_METADATA_BYTES}"
        raise ValueError(msg)
    return metadata


Metadata = Annotated[dict[str, JsonValue], AfterValidator(_check_metadata)]
"""Small JSON object of the caller, which is returned in the job, its events and its webhooks."""


def check_idempotency_key(key: str) -> None:
    """Raise `ConfigurationError` if this text is no idempotency key."""
    if not (1 <= len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
        msg = (
            f"the idempotency key is {short_repr(key)}; expected 1 to {MAX_KEY_CHARS} printable "
            "ASCII characters"
        )
        raise ConfigurationError(msg)


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    """The job waits until a process has room for it."""
    RUNNING = "running"
    """A process works on the job."""
    COMPLETE = "complete"
    """Every scene has its video."""
    PARTIAL = "partial"
    """Some scenes have a video, others failed."""
    FAILED = "failed"
    """No scene has a video."""
    BUDGET = "budget"
    """Scenes were not rendered because they would have exceeded a budget."""
    CANCELLED = "cancelled"
    """The job was cancelled; videos that were finished are kept."""

    @property
    def finished(self) -> bool:
        """True if nothing more will be rendered for the job, unless it is resumed."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


def _parse_prefix(value: object) -> S3Prefix | None:
    found = parse_s3_prefix(value) if isinstance(value, str) else value
    if not isinstance(found, S3Prefix | None):
        msg = f"{short_repr(value)}; expected {EXPECTED_S3_PREFIX}"
        raise ValueError(msg)  # noqa: TRY004 - pydantic expects it
    return found


def _require_scenes(scenes: tuple[Scene, ...], info: ValidationInfo) -> tuple[Scene, ...]:
    if not scenes and not info.data.get("open"):
        raise ValueError("none; expected at least one scene, unless the job is open")
    return scenes


class Place(StrEnum):
    """Place where the scenes of a job are rendered."""

    MACHINE = "machine"
    """The machine of the server, whose jobs take turns."""
    FARGATE = "fargate"
    """Tasks on Fargate."""
    BOTH = "both"
    """The machine if no other job of this place uses it, and tasks where they save time."""


MaxUsd = Annotated[Decimal, Field(gt=0, le=100_000, decimal_places=6)]


class JobTerms(BaseModel):
    """Name of a job, and where, how fast and at what price its scenes are rendered."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    """Name for people, at most 200 characters. Several jobs may have the same one."""
    place: Place | None = None
    """Place where the scenes are rendered, if the server offers it; ``None``: that of the client
    of the server."""
    tier: NamedTier | None = None
    """Size of each task on Fargate, by its name or its number, 1 to 5; ``None``: that of the
    client."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Maximum number of tasks on Fargate at once; ``None``: that of the client."""
    spot: bool | None = None
    """True for Fargate Spot, which is cheaper, and whose tasks AWS may interrupt; ``None``: as the
    client."""
    max_usd: MaxUsd | None = None
    """Maximum bill of the job, in USD; ``None``: no limit but those of the owner and the server."""
    deadline: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Seconds from the start within which the job is to end: see ``Limits.deadline``. ``None``: no
    deadline."""


class JobRequest(JobTerms):
    """Job as it is submitted: the scenes of one run, and what belongs to them.

    Invalid fields raise `InvalidScenesError`, which lists all of them.

    The caller of `JobQueue` is trusted: scenes may name any file of this machine. The routes of
    `cloudburst.web` allow only uploads and locations that the application permits.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        use_attribute_docstrings=True,
    )

    open: bool = False
    """True if further scenes may be added until the job is closed; it may begin without scenes."""
    scenes: Annotated[
        tuple[Scene, ...], AfterValidator(_require_scenes), Field(validate_default=True)
    ] = ()
    """Scenes of the job."""
    options: RenderOptions | None = None
    """Options of all scenes; ``None``: those of the client."""
    to: Annotated[
        S3Prefix | None,
        BeforeValidator(_parse_prefix),
        PlainSerializer(lambda to: None if to is None else str(to)),
    ] = None
    """Folder in S3 for the videos; ``None``: the videos are kept in the folder of the job."""
    film: bool = False
    """True if the videos are joined to a film, ``film.mp4``."""
    transition: Transition = "cut"
    """How one scene of the film changes to the next."""
    transition_seconds: float = 0.5
    """Length of a transition, in seconds."""
    film_gap: float = 0.0
    """Length of black and silence between two scenes of the film, in seconds."""
    film_music: OptionalLocation = None
    """Audio file with the music of the whole film."""
    film_audio: OptionalLocation = None
    """Audio file with one voice for the whole film, whose scenes have `until` or `duration`."""
    film_subtitle: OptionalLocation = None
    """Subtitle file of the whole film."""
    metadata: Metadata = {}
    """Small JSON object of the caller."""
    webhook: str | None = None
    """URL to which events of this job are sent, in addition to those of the application."""

    if not TYPE_CHECKING:  # type checkers and editors derive the parameters from the fields

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as exc:
                raise InvalidScenesError(faults=_faults(fields, exc)) from exc
            film_request(self.film_location(Path("film.mp4"), "film.mp4"), **self.film_options)

    def film_location(self, path: Path, name: str) -> Path | str | None:
        """Return the location of the film, if there is one: this path, or this name in S3."""
        if not self.film:
            return None
        return path if self.to is None else str(self.to.object(name))

    @property
    def film_options(self) -> dict[str, Any]:
        """Values of the fields that describe the film, except its file: see `FilmOptions`."""
        names = FilmOptions.__annotations__.keys() - {"film"}
        return {name: getattr(self, name) for name in sorted(names)}

    def files(self) -> dict[str, AnyLocation]:
        """Return the location of each file of the film, by the name of its field."""
        return {name: at for name in FILM_FILES if (at := getattr(self, name)) is not None}


class CheckedRequest(BaseModel):
    """Request of a caller. An invalid one raises `InvalidScenesError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    if not TYPE_CHECKING:  # type checkers and editors derive the parameters from the fields

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as exc:
                faults = [field_fault(error, type(self)) for error in exc.errors()]
                raise InvalidScenesError(faults=faults) from exc


class JobChanges(CheckedRequest):
    """Changes with which a finished job is resumed."""

    scenes: tuple[dict[str, Any], ...] = ()
    """Scenes without a video that change: each has its ``name`` and the fields that replace those
    before; null removes a field."""
    leave_out: tuple[str, ...] = ()
    """Names of scenes without a video, which the job and its film have no longer."""
    max_usd: MaxUsd | None = None
    """Maximum bill of the job from its first start, in USD; ``None``: the one that it had."""


def _faults(fields: Mapping[str, Any], error: ValidationError) -> list[SceneFault]:
    scenes, faults = fields.get("scenes"), list[SceneFault]()
    if scenes and isinstance(scenes, list | tuple):
        try:
            parse_scenes(
                cast("Sequence[Any]", scenes),
                RenderOptions(),
                max_faults=MAX_FAULTS,
                has_voice=bool(fields.get("film_audio")),
            )
        except InvalidScenesError as exc:
            faults += exc.faults
    errors = (one for one in error.errors() if not (faults and one["loc"][0] == "scenes"))
    return [*faults, *(field_fault(error, JobRequest) for error in errors)]


def field_fault(error: ErrorDetails, model: type[BaseModel]) -> SceneFault:
    """Return the fault of a field of a request, which pydantic has described."""
    fault = describe_field(error, model.model_fields)
    return fault._replace(expected=_EXPECTED_FOLDER) if fault.field == "to" else fault


class JobFailure(BaseModel):
    """Error because of which a job or its film failed."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    kind: str
    """Class name of the error."""
    message: str
    """Message of the error, without folders of the server."""
    retryable: bool = False
    """True if the same job may succeed later without a change."""
    faults: tuple[dict[str, str], ...] = ()
    """Problems of scenes, at most 100, each with ``scene``, ``field``, ``found``, ``expected``,
    ``code`` and ``fix``."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def code(self) -> str:
        """Kind of the error, for programs, such as ``job_limit``."""
        return code_of(self.kind)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fix(self) -> str:
        """Command or step that may remove the problem; empty if the message says all."""
        return fix_of(self.kind)


class JobCost(BaseModel):
    """Bill of a job."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    usd: Decimal
    """Bill of all tasks that were started for the job, in USD."""
    final: bool
    """True if every task was seen to have stopped; otherwise the bill may still grow."""


class Job(JobTerms):
    """State of a job."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    """Identifier of the job, 32 hexadecimal digits; also the name of its run."""
    owner: str = Field(exclude=True)
    """Owner of the job; empty if there is only one. Not part of ``model_dump()``."""
    state: JobState
    """queued and running: not finished; complete: every scene has its video; partial: some scenes
    failed; failed: no scene has a video; budget: scenes were not rendered because of a budget;
    cancelled: the job was cancelled."""
    cancel_requested: bool = False
    """True if the job was to be cancelled before it was finished; its tasks are stopped first."""
    metadata: dict[str, JsonValue]
    """Metadata of the caller."""
    created_at: datetime
    """Time of the submission, in UTC."""
    started_at: datetime | None = None
    """Time at which a process first started the job, in UTC; ``None`` if none has."""
    finished_at: datetime | None = None
    """Time at which the job was finished, in UTC; ``None`` if it is not finished."""
    open: bool = False
    """True while scenes can be added to the job."""
    scenes: int
    """Number of scenes so far."""
    completed: int = 0
    """Number of scenes with a video."""
    failed: int = 0
    """Number of scenes that failed."""
    progress: float = 0.0
    """Finished share of the scenes so far, from 0 to 1; those that failed count as finished."""
    live: RunProgress | None = None
    """Progress of the run at this moment: bill, time left and workers; ``None`` unless the job is
    running."""
    cost: JobCost | None = None
    """Bill so far; ``None`` if nothing is billed."""
    error: JobFailure | None = None
    """Error because of which the job failed as a whole; ``None`` if there is none. Errors of single
    scenes are in the report."""
    last_event: int = 0
    """Number of the newest event."""
    film: bool = False
    """True if a film was requested."""
    resumable: bool = False
    """True if the job is finished without all of its videos, so that it can be resumed."""
    destination: str | None = None
    """Folder in S3 with the videos and the film; ``None`` if this machine has them."""
    cover: str | None = None
    """File name of the first cover, such as ``intro.jpg``; ``None`` if there is none yet."""


class JobMonth(BaseModel):
    """Jobs of an owner that were submitted in a month, in UTC."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    month: str
    """Month, such as ``2026-11``."""
    jobs: int
    """Number of jobs."""
    usd: Decimal
    """Bill of these jobs, in USD."""


class JobPage(BaseModel):
    """Part of a list of jobs, the newest first."""

    model_config = ConfigDict(frozen=True)

    jobs: tuple[Job, ...]
    """Jobs of this part."""
    months: tuple[JobMonth, ...] = ()
    """Numbers and bills of all jobs that are kept, of the last twelve months with jobs."""
    next: str | None = None
    """Cursor of the next part; ``None`` if this part is the last one."""


class JobEvent(BaseModel):
    """Event of a job or of its run. Its number is one more than that of the event before it."""

    model_config = ConfigDict(frozen=True)

    number: int
    """Number of the event within its job, from 1."""
    time: datetime
    """Time of the event, in UTC."""
    type: str
    """Type of the event: ``job.queued``, ``scene.completed``…"""
    data: dict[str, Any]
    """Other fields of the event."""


class JobProgress(RunProgress):
    """Newest progress of a job. It has no number, and only the newest is kept."""

    type: Literal["job.progress"] = "job.progress"


JobNews: TypeAlias = JobEvent | JobProgress
"""What a reader of a job's events receives."""


class JobLimits(BaseModel):
    """Limits of a queue of jobs, and of each owner."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    running: Annotated[int, Field(ge=1)] = 20
    """Maximum number of jobs on which one process works at once. Their scenes take turns on the
    workers of the client. Open jobs that wait for scenes do not count."""
    open_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3_600.0
    """Seconds for which an open job waits for its next scenes: then it is closed."""
    owner_jobs: Annotated[int, Field(ge=1)] = 20
    """Maximum number of jobs of one owner that are queued or running."""
    owner_seconds: Annotated[float, Field(gt=0)] = 3_600_000.0
    """Maximum length of the videos of one owner's jobs that are queued or running, in seconds of
    1920x1080 at 30 frames per second; a video with more pixels in a second counts for more. Audio
    whose length is not known when the job is submitted counts as ``Limits.audio_seconds`` of the
    client. The default is at most about 300 vCPU hours, or $15 on Fargate."""
    owner_bytes: Annotated[int, Field(ge=1)] = 20_000_000_000
    """Maximum size of the uploads, inputs and videos of one owner in the folder, in bytes. Inputs
    of a job that is not complete are kept as long as the job."""
    owner_usd: Annotated[Decimal, Field(gt=0)] | None = None
    """Maximum bill of the jobs of one owner in 24 hours, in USD. A job that is billed has tasks of
    its own. Its ``max_usd``, or else all that is left, is reserved for it from its start until its
    bill is final, and other jobs of the owner wait if less is left than they may cost. When nothing
    is left, no job of the owner is accepted. ``None``: no limit."""
    bytes: Annotated[int, Field(ge=1)] = 100_000_000_000
    """Maximum size of all files in the folder, in bytes."""
    keep_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 7 * 86_400.0
    """Seconds after which finished jobs and unused uploads are removed."""
