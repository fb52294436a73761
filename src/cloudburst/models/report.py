"""Report of a run: its scenes, workers and cost."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    computed_field,
)

from cloudburst.errors import CloudburstError, FilmError, PublicCall
from cloudburst.models.locations import WrittenLocation
from cloudburst.models.scene import Video, shown_by

logger = logging.getLogger(__name__)

Usd = Annotated[
    Decimal,
    AfterValidator(lambda usd: usd or Decimal()),  # a zero with digits prints as 0E-12
    PlainSerializer(lambda usd: f"{usd:f}", when_used="json"),
]


class Status(StrEnum):
    """Status of a run."""

    COMPLETE = "complete"
    """Every scene has its video."""
    PARTIAL = "partial"
    """Some scenes have a video, others failed."""
    FAILED = "failed"
    """No scene has a video."""
    BUDGET = "budget"
    """Some scenes were not started because they would have exceeded ``Limits.max_usd``."""
    INTERRUPTED = "interrupted"
    """The run was cancelled or is still in progress; videos that are finished are kept."""


class _ReportModel(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False)


class Cost(_ReportModel):
    """AWS bill in USD, split by how the billed time was used. The parts add up exactly."""

    starting: Usd = Decimal()
    """USD for the time from the start of the image pull to the first successful health check."""
    encoding: Usd = Decimal()
    """USD for the time in which at least one scene was encoded."""
    transferring: Usd = Decimal()
    """USD for the time in which files were transferred and no scene was encoded."""
    idle: Usd = Decimal()
    """USD for the rest of the billed time: between scenes, during the stop, and any time that AWS
    adds to reach its minimum of one minute."""
    wasted: Usd = Decimal()
    """USD for failed attempts and for tasks that finished no scene."""
    billed_seconds: int = 0
    """Billed seconds of all tasks."""
    final: bool = False
    """True if every task was seen to have stopped; otherwise the bill may still grow."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def usd(self) -> Usd:
        """Whole bill in USD, the sum of its parts."""
        return self.starting + self.encoding + self.transferring + self.idle + self.wasted

    def __str__(self) -> str:
        """Return the bill rounded to hundredths of a cent: ``$0.0035 (estimate)``."""
        return f"${self.usd:.4f}" + ("" if self.final else " (estimate)")


class Prediction(_ReportModel):
    """Forecast of the duration and cost of a run, made when the run began."""

    wall_seconds: float
    """Expected wall time, in seconds."""
    seconds_low: float | None = None
    """Wall time in the best case, in seconds; ``None`` if not known."""
    seconds_high: float | None = None
    """Wall time in the worst case, in seconds, which nine of ten runs keep."""
    usd_low: Decimal = Decimal()
    """Cost in the best case, in USD; 0 if nothing is billed."""
    usd_high: Decimal = Decimal()
    """Cost in the worst case, in USD."""


class SceneReport(_ReportModel):
    """Report of one scene.

    Durations are those of the last attempt, except ``queued_seconds``, which adds up all attempts.
    Times are seconds since the run began, and negative for what an earlier process of the run did.
    """

    scene: str
    video: Video | None = None
    error: str | None = None
    """Error of a failed scene as ``Kind: message``; ``None`` if it is done or was cancelled."""
    task: str | None = None
    """Identifier of the worker's task in the last attempt; ``None`` if no worker was assigned."""
    attempts: int = 0
    """Number of attempts in all processes of the run, without attempts that were interrupted by the
    end of their process."""
    queued_seconds: float = 0.0
    """Seconds that the scene waited in the queue for a worker, over all attempts."""
    upload_seconds: float = 0.0
    started_at: float | None = None
    """Time at which the first attempt got a worker; ``None`` before that."""
    upload_at: float | None = None
    """Start of the upload of the last attempt; ``None`` if there was none."""
    encode_at: float | None = None
    """Start of the encode of the last attempt; ``None`` if there was none."""
    download_at: float | None = None
    """Start of the download of the last attempt; ``None`` if there was none."""
    finished_at: float | None = None
    """Time at which the scene got its video or error; ``None`` before that."""
    slot_wait_seconds: float = 0.0
    """Seconds that the scene waited on its worker for an encoder slot."""
    encode_seconds: float = 0.0
    download_seconds: float = 0.0
    bytes_sent: int = 0
    """Bytes sent to workers, over all attempts."""
    bytes_fetched: int = 0
    """Bytes that workers got from S3 and web servers, over all attempts that got all their files.
    They did not pass through this machine."""
    bytes_received: int = 0
    """Size of the received video, in bytes; 0 if there is none, or if its worker wrote it to S3."""
    bytes_delivered: int = 0
    """Size of the video that its worker wrote to S3, in bytes; otherwise 0. Videos in S3 of earlier
    processes of the run count as written by a worker."""
    usd: Decimal | None = None
    """Cost of the scene in USD: its share of the task's bill, in proportion to the time spent on
    it. ``None`` if nothing is billed for it."""
    skipped: bool = False
    """True if an earlier process of the run made the video and this process did not render it
    again."""


class WorkerReport(_ReportModel):
    """Report of one worker from its launch to its stop.

    Times are seconds since the run began, and negative for a worker that was kept from an earlier
    run.
    """

    task: str
    backend: str
    size: str = ""
    """Size of a billed task: ``2 vCPU, 4 GB``; empty if nothing is billed."""
    launched_at: float | None
    """Time at which the backend accepted the launch; ``None`` if it did not accept it."""
    ready_at: float | None = None
    """Time of the first successful health check; ``None`` if there was none."""
    stopped_at: float | None = None
    """Time at which the backend accepted the stop; ``None`` while the worker is kept for the next
    call."""
    encode_seconds: float = 0.0
    """Seconds in which the worker encoded at least one scene of this run."""
    scenes: int = 0
    """Number of scenes of this run that the worker finished."""
    cost: Cost | None = None
    """Bill of the worker's task; ``None`` if nothing is billed or if the worker was started for
    another run, whose report has the bill."""
    possibly_running: bool = False
    """True if the backend did not accept the stop and the task was not seen to have stopped. The
    task may then run and be billed until its lifetime ends; ``cloudburst cleanup`` stops it."""
    error: str | None = None
    """Error because of which the worker failed or was given up, as ``Kind: message``; ``None`` if
    there was none."""
    post_mortem: Path | None = None
    """Path of a page that explains the failure, with the last lines of the task's output; ``None``
    if the worker did not fail or the run has no journal."""


class Report(_ReportModel):
    """Report of a run, with an entry for each scene and for each worker."""

    run: str
    status: Status
    began_at: dt.datetime | None = None
    """Time at which this process began the run; ``None`` if the run has no journal."""
    wall_seconds: float
    """Wall time of the run in this process, in seconds. All other fields cover all processes of the
    run."""
    scenes: tuple[SceneReport, ...] = ()
    """Reports in the caller's order."""
    workers: tuple[WorkerReport, ...] = ()
    cost: Cost = Cost(final=True)
    """Bill of all tasks that were started for this run; 0 if nothing is billed: see `is_billed`."""
    problem: str | None = None
    """First error of a scene that only a change of the setup can fix, as ``Kind: message`` with the
    fix: invalid credentials, missing permissions, a missing image… ``None`` if there is none."""
    predicted: Prediction | None = None
    """Forecast made when the run began, based on earlier runs and assumptions; ``None`` if none was
    made."""
    bytes_checked: int = 0
    """Bytes of files in S3 and on web servers that this process read to check the inputs before the
    run: at most 64 KiB of each file, and subtitles whole."""
    film: WrittenLocation | None = None
    """Location of the film: an absolute path, or an object in S3; ``None`` if none was requested,
    or it was not made."""
    film_error: str | None = None
    """Reason why the requested film was not made; ``None`` if there is none."""
    film_started_at: float | None = None
    """Time at which this process began to make the film, in seconds since the run began; ``None``
    if it made none."""
    film_finished_at: float | None = None
    """Time at which the film was done or had failed."""
    errors: tuple[CloudburstError, ...] = Field(default=(), exclude=True, repr=False)
    """Errors of the failed scenes, in the caller's order. Not part of ``model_dump()``."""
    _settle: Callable[[], Awaitable[Report]] | None = PrivateAttr(default=None)

    @property
    def videos(self) -> tuple[Video, ...]:
        """Finished videos in the caller's order.

        Each video was verified after its download, or when the run was resumed. A file that is
        removed or changed later is still listed; when the run is resumed, its scene is rendered
        again.
        """
        return tuple(entry.video for entry in self.scenes if entry.video is not None)

    @property
    def totals(self) -> str:
        """Run, status, number of videos, wall time and bill as one line."""
        videos = f"{len(self.videos)} of {len(self.scenes)} videos"
        bill = f", {self.cost}" if self.is_billed else ""
        return f"run {self.run}: {self.status}, {videos}, {self.wall_seconds:.1f} s{bill}"

    @property
    def is_billed(self) -> bool:
        """Whether any worker of the run is billed: a task on Fargate, not a local process."""
        return any(worker.cost is not None for worker in self.workers)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the scenes whose videos an earlier process of the run made."""
        return tuple(entry.scene for entry in self.scenes if entry.skipped)

    @property
    def speedup(self) -> float:
        """Sum of the upload, encode and download times of all scenes, divided by the wall time.

        Scenes that an earlier process of the run rendered are left out.
        """
        scenes = [s for s in self.scenes if not s.skipped]
        work = sum(s.upload_seconds + s.encode_seconds + s.download_seconds for s in scenes)
        return work / self.wall_seconds if self.wall_seconds else 0.0

    def __repr__(self) -> str:
        return f"<Report of {self.totals}>"

    def __str__(self) -> str:
        """Return the tables that the command line prints; without the extra ``[cli]``, `totals`."""
        return shown_by("summary:summary_text", self) or self.totals

    def _repr_html_(self) -> str | None:
        return shown_by("notebook_values:report_html", self)

    def with_settlement(self, settle: Callable[[], Awaitable[Report]]) -> Report:
        """Return a copy of this report whose method `settled` calls this function."""
        report = self.model_copy()
        report._settle = settle  # noqa: SLF001 - a copy of its own class
        return report

    def __getstate__(self) -> dict[Any, Any]:
        return super().__getstate__() | {"__pydantic_private__": {"_settle": None}}

    async def settled(self) -> Report:
        """Wait until every task is seen to have stopped; return the report with the final cost.

        The wait ends after ``Timeouts.settle``, or when the client is closed; there is no wait
        after that. If the cost is still an estimate then, as `Cost.final` shows, a warning is
        logged.
        """
        report = self if self._settle is None else await self._settle()
        if not report.cost.final:
            logger.warning(
                "the cost of run %s is still an estimate: not all of its tasks were seen to stop; "
                "await settled() before the client is closed, or show it later: cloudburst runs",
                self.run,
            )
        return report

    def raise_for_failures(self) -> None:
        """Raise the errors of failed scenes as one ``ExceptionGroup``; return if none failed.

        If only the film failed, its `FilmError` is raised.
        """
        with PublicCall():
            if self.errors:
                raise ExceptionGroup(f"{len(self.errors)} scenes failed", list(self.errors))
            if self.film_error is not None:
                raise FilmError(self.film_error)
