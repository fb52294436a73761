"""Work of this process on one job: its run, and what is written about it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import Any

import anyio
import anyio.to_thread
from anyio import CancelScope

from cloudburst.client.client import Client
from cloudburst.concurrency import collapse_single
from cloudburst.engine.run import Run
from cloudburst.errors import (
    BudgetError,
    BusyError,
    CloudburstError,
    FilmError,
    InvalidScenesError,
    JobError,
    JobLimitError,
    JobStorageError,
    NoAnswerError,
    OutputClaimedError,
    OutputExistsError,
    SceneError,
    ThrottledError,
)
from cloudburst.events import Event, SceneEvent, SceneProgress
from cloudburst.jobs.event_log import NewEvent
from cloudburst.jobs.folder import JobFolder, film_name
from cloudburst.jobs.job_claims import ClaimedJob
from cloudburst.jobs.job_rows import JobEnd
from cloudburst.jobs.models import STATE_OF_STATUS, JobCost, JobFailure, JobRequest, JobState
from cloudburst.jobs.public_json import public_faults, without_folders
from cloudburst.models.report import Report

logger = logging.getLogger(__name__)

# Seconds between two writes of progress.
PROGRESS_SECONDS = 0.5
# Seconds between two looks at the bill of a job and the size of its files.
USAGE_SECONDS = 5.0
# Seconds before events that could not be written are written again.
RETRY_SECONDS = 5.0
# Seconds before a job begins again that found the queue of the client full, S3 busy, or its videos
# claimed by a process that is about to end.
BUSY_SECONDS = 5.0


# Errors whose text is for the sender of a job.
_PUBLIC = (BudgetError, BusyError, FilmError, JobError, OutputExistsError, SceneError)
_NOT_PUBLIC = "the server could not render the job; its log says why"
# Errors after which a job may begin later.
_POSTPONING = (BusyError, NoAnswerError, OutputClaimedError, ThrottledError)


# Function that writes events and progress of the job; false if another process works on it.
WriteEvents = Callable[[Sequence[NewEvent], dict[str, float]], Awaitable[bool]]


class Stop(Enum):
    """Reason for which the work on a job ends before the job does."""

    # The job is cancelled.
    CANCEL = auto()
    # The budget of its owner is used up.
    BUDGET = auto()
    # The files of its owner are larger than the limit.
    ROOM = auto()
    # This process ends; another one continues the job.
    SHUTDOWN = auto()
    # Another process works on the job.
    LOST = auto()


class Postponed(Exception):  # noqa: N818 - not an error
    """The job cannot begin now, and is queued again."""


# Function that writes the bill of the job and the size of its files in bytes; the result is the
# reason to stop it, or ``None``.
WriteUsage = Callable[[JobCost | None, int], Awaitable[Stop | None]]


class JobRun:
    """Work of this process on one job."""

    def __init__(
        self,
        job: ClaimedJob,
        client: Client,
        folder: JobFolder,
        *,
        write_events: WriteEvents,
        write_usage: WriteUsage,
    ) -> None:
        self.job = job
        self._run: Run | None = None
        # Report of the run when it ended; ``None`` if none was started.
        self.report: Report | None = None
        # Reason for which the work was stopped; ``None`` if it was not.
        self.stopped: Stop | None = None
        self._client = client
        self._folder = folder
        self._write_events = write_events
        self._write_usage = write_usage
        self._scope = CancelScope()
        self._events = list[NewEvent]()
        self._progress = dict[str, float]()
        self._changed = anyio.Event()  # an event or progress has to be written
        self._arrived = anyio.Event()  # an event has to be written

    def stop(self, reason: Stop) -> None:
        """Stop the work. The tasks of the run are stopped before `render` returns."""
        if self.stopped is None:
            self.stopped = reason
            if self._run is not None or reason is Stop.SHUTDOWN or not self.job.started_before:
                self._scope.cancel()
            # Otherwise the run begins first: it finds and stops the tasks of its earlier processes.

    async def render(self) -> JobEnd | None:
        """Render the scenes of the job, and return how it ended; ``None`` if it goes on elsewhere.

        Raises `Postponed` if the job cannot begin now.
        """
        request = await anyio.to_thread.run_sync(parse_request, self.job.request)
        failure: JobFailure | None = None
        try:
            await self._render(request)
        except CloudburstError as exc:
            may_begin_later = isinstance(exc, _POSTPONING) and (
                exc.retryable or isinstance(exc, OutputClaimedError)
            )
            # A job that was begun before may have tasks, which only its run finds and stops.
            wanted = self.stopped is None or self.job.started_before
            if self.report is None and may_begin_later and wanted:
                raise Postponed(str(exc)) from exc
            logger.warning("job %s: %s", self.job.id, exc)
            failure = failure_of(exc)
        if self.stopped in {Stop.SHUTDOWN, Stop.LOST}:
            return None
        return await self._end(failure)

    @property
    def unwritten(self) -> Sequence[NewEvent]:
        """Events that are not written yet."""
        return self._events

    async def _render(self, request: JobRequest) -> None:
        with collapse_single(), self._scope:
            async with (
                self._client.stream(
                    request.scenes,
                    to=str(request.to) if request.to else self._folder.videos,
                    options=request.options,
                    name=self.job.id,
                    resume=True,
                    film=self._film(request),
                    transition=request.transition,
                    transition_seconds=request.transition_seconds,
                ) as run,
                anyio.create_task_group() as tasks,
            ):
                self._run = run
                self._add(NewEvent(type="job.started", time=time.time()))
                if self.stopped is not None:
                    self._scope.cancel()
                tasks.start_soon(self._write_changes)
                tasks.start_soon(self._watch_usage, run)
                try:
                    async for event in run:
                        self._note(event)
                finally:
                    self.report = await run.report()  # not interrupted by a cancellation
                tasks.cancel_scope.cancel()

    def _film(self, request: JobRequest) -> str | None:
        if not request.film:
            return None
        if request.to is None:
            return str(self._folder.film)
        return str(request.to.object(film_name(self.job.id)))

    async def _end(self, failure: JobFailure | None) -> JobEnd:
        report = self.report
        if report is None:
            state = JobState.CANCELLED if self.stopped else JobState.FAILED
            return JobEnd(state=state, error=None if self.stopped else failure)
        match self.stopped:
            case Stop.CANCEL:
                state = JobState.CANCELLED
            case Stop.BUDGET:
                state = JobState.BUDGET
            case Stop.ROOM:
                state = JobState.PARTIAL if report.videos else JobState.FAILED
                failure = failure_of(JobLimitError("there is no room for more videos: remove jobs"))
            case _:
                state = STATE_OF_STATUS[report.status]
        if failure is None and report.film_error is not None:
            failure = failure_of(FilmError(report.film_error))
        return JobEnd(
            state=state,
            report=await json_of(report),
            completed=len(report.videos),
            failed=sum(scene.error is not None for scene in report.scenes),
            cost=cost_of(report),
            error=failure,
            video_bytes=await anyio.to_thread.run_sync(self._folder.output_bytes),
        )

    def _note(self, event: Event) -> None:
        if isinstance(event, SceneProgress):
            self._progress[event.scene] = event.progress
            self._changed.set()
            return
        data = without_folders(event.model_dump(mode="json", exclude={"at", "type"}))
        scene = event.scene if isinstance(event, SceneEvent) else None
        if scene is not None:
            self._progress.pop(scene, None)
        self._add(NewEvent(type=event.type, time=time.time(), data=data, scene=scene))

    def _add(self, event: NewEvent) -> None:
        self._events.append(event)
        self._changed.set()
        self._arrived.set()

    async def _write_changes(self) -> None:
        progress_at = 0.0
        while True:
            await self._changed.wait()
            with CancelScope(deadline=progress_at):
                await self._arrived.wait()
            progress_at = anyio.current_time() + PROGRESS_SECONDS
            try:
                await self._write()
            except JobStorageError as exc:
                logger.error("job %s: %s; the run continues", self.job.id, exc)  # noqa: TRY400
                await anyio.sleep(RETRY_SECONDS)

    async def _write(self) -> None:
        self._changed, self._arrived = anyio.Event(), anyio.Event()
        events, progress = tuple(self._events), dict(self._progress)
        try:
            held = await self._write_events(events, progress)
        except JobStorageError:
            self._changed.set()
            self._arrived.set()
            raise
        if not held:
            self.stop(Stop.LOST)
        del self._events[: len(events)]
        for scene, value in progress.items():
            if self._progress.get(scene) == value:
                del self._progress[scene]

    async def _watch_usage(self, run: Run) -> None:
        while True:
            await anyio.sleep(USAGE_SECONDS)
            cost = cost_of(await run.report())
            size = await anyio.to_thread.run_sync(self._folder.bytes)
            try:
                if (reason := await self._write_usage(cost, size)) is not None:
                    self.stop(reason)
            except JobStorageError as exc:
                logger.debug("job %s: %s", self.job.id, exc)  # the next look tries again


def parse_request(text: str) -> JobRequest:
    """Return the request that a job's row has as JSON; 10,000 scenes take half a second."""
    # Not model_validate_json: file names need not be UTF-8.
    return JobRequest.model_validate(json.loads(text))


def failure_of(error: CloudburstError) -> JobFailure:
    """Return what a job says of an error; what only the operator can change is in the log."""
    message, faults = _NOT_PUBLIC, list[dict[str, str]]()
    if isinstance(error, InvalidScenesError):
        message, faults = public_faults(error)
    elif isinstance(error, _PUBLIC):
        message = without_folders(str(error))
    return JobFailure(
        kind=type(error).__name__,
        message=message,
        retryable=error.retryable,
        faults=tuple(faults),
    )


def cost_of(report: Report) -> JobCost | None:
    """Return the bill in a report, if anything is billed."""
    if not report.is_billed:
        return None
    return JobCost(usd=report.cost.usd, final=report.cost.final)


async def json_of(report: Report) -> dict[str, Any]:
    """Return a report as JSON, without folders of this machine."""
    # The report of 10,000 scenes is several MB of JSON.
    return await anyio.to_thread.run_sync(lambda: without_folders(report.model_dump(mode="json")))
