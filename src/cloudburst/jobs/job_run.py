"""Work of this process on one job: its run, and what is written about it."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from enum import Enum, auto
from functools import partial
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
from cloudburst.events import Event, FilmProgress, SceneEvent, SceneProgress
from cloudburst.jobs import job_claims
from cloudburst.jobs.event_log import NewEvent, write_progress
from cloudburst.jobs.folder import film_name
from cloudburst.jobs.job_claims import ClaimedJob
from cloudburst.jobs.job_rows import (
    JobEnd,
    bytes_stored,
    parse_request,
    read_scenes,
    write_bytes,
    write_cost,
)
from cloudburst.jobs.models import JobCost, JobFailure, JobRequest, JobState
from cloudburst.jobs.open_queue import OpenQueue
from cloudburst.jobs.public_json import public_faults, without_folders
from cloudburst.models.report import Report, Status
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import Scene

logger = logging.getLogger(__name__)

# Seconds between two writes of the progress of the run.
PROGRESS_SECONDS = 1.0
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


class Stop(Enum):
    """Reason for which the work on a job ends before the job does."""

    # The job is cancelled.
    CANCEL = auto()
    # The files of its owner are larger than the limit.
    ROOM = auto()
    # This process ends; another one continues the job.
    SHUTDOWN = auto()
    # Another process works on the job.
    LOST = auto()


class Postponed(Exception):  # noqa: N818 - not an error
    """The job cannot begin now, and is queued again."""


class JobRun:
    """Work of this process on one job."""

    def __init__(self, job: ClaimedJob, queue: OpenQueue) -> None:
        self.job = job
        self._run: Run | None = None
        # Report of the run when it ended; ``None`` if none was started.
        self.report: Report | None = None
        # Reason for which the work was stopped; ``None`` if it was not.
        self.stopped: Stop | None = None
        self._queue = queue
        self._folder = queue.folder.job(job.id)
        self._scope = CancelScope()
        # Events that are not written yet.
        self.unwritten = list[NewEvent]()
        # Newest progress of the run that is not written yet.
        self._progress: RunProgress | None = None
        self._changed = anyio.Event()  # an event or progress has to be written

    def stop(self, reason: Stop) -> None:
        """Stop the work. The tasks of the run are stopped before `render` returns."""
        if self.stopped is None:
            self.stopped = reason
            if self._run is not None or reason is Stop.SHUTDOWN or not self.job.started_before:
                self._scope.cancel()
            # Otherwise the run begins first: it finds and stops the tasks of its earlier processes.

    async def render(self, stack: AsyncExitStack) -> JobEnd | None:
        """Render the scenes of the job, and return how it ended; ``None`` if it goes on elsewhere.

        The client of the job is closed with the stack. Raises `Postponed` if the job cannot begin
        now.
        """
        request = await anyio.to_thread.run_sync(parse_request, self.job.request)
        failure: JobFailure | None = None
        try:
            client = self._queue.clients.client_for(request, self.job.reserved_usd)
            await self._render(request, await stack.enter_async_context(client))
        except CloudburstError as exc:
            may_begin_later = isinstance(exc, _POSTPONING) and (
                exc.retryable or isinstance(exc, OutputClaimedError)
            )
            # A job that was begun before may have tasks, which only its run finds and stops.
            wanted = self.stopped is None or self.job.started_before
            if self.report is None and may_begin_later and wanted:
                raise Postponed(str(exc)) from exc
            failure = failure_of(exc)
            # Secrets are searched for in each record: that of 1,000 faults would take seconds.
            logger.warning("job %s: %s", self.job.id, failure.message if failure.faults else exc)
        if self.stopped in {Stop.SHUTDOWN, Stop.LOST}:
            return None
        return await self._end(failure)

    @property
    def waits(self) -> bool:
        """True if the job is open, and all of its scenes are finished."""
        if self._run is None or not self._run.is_open:
            return False
        return all(scene.video or scene.error for scene in self._run.records)

    async def _render(self, request: JobRequest, client: Client) -> None:
        with collapse_single(), self._scope:
            async with (
                client.stream(
                    self._scenes() if request.open else request.scenes,
                    to=str(request.to) if request.to else self._folder.videos,
                    options=request.options,
                    name=self.job.id,
                    resume=True,
                    film=request.film_location(self._folder.film, film_name(self.job.id)),
                    **request.film_options,
                ) as run,
                anyio.create_task_group() as tasks,
            ):
                self._run = run
                self._add(NewEvent(type="job.started", time=time.time()))
                if self.stopped is not None:
                    self._scope.cancel()
                tasks.start_soon(self._write_changes)
                tasks.start_soon(self._watch_usage, run)
                tasks.start_soon(self._watch_progress, run)
                try:
                    async for event in run:
                        self._note(event)
                finally:
                    self.report = await run.report()  # not interrupted by a cancellation
                tasks.cancel_scope.cancel()

    async def _scenes(self) -> AsyncGenerator[Scene]:
        """Yield the scenes of an open job when they come."""
        number = 0
        while scenes := await self._next_scenes(number):
            for scene in scenes:
                yield scene
            number += len(scenes)

    async def _next_scenes(self, after: int) -> Sequence[Scene]:
        """Wait for scenes of an open job behind the first ``after``; return none when it is closed.

        After ``JobLimits.open_seconds`` without scenes, the job is closed.
        """
        deadline = anyio.current_time() + self._queue.limits.open_seconds
        database, job = self._queue.database, self.job.id
        while True:
            changed = self._queue.feed.changed(job)
            try:
                if anyio.current_time() >= deadline:
                    await database.write(partial(self._queue.log.close_job, job=job))
                scenes, is_open = await database.read(partial(read_scenes, job=job, after=after))
            except JobStorageError as exc:
                logger.error("job %s: %s; the run continues", job, exc)  # noqa: TRY400
                await anyio.sleep(RETRY_SECONDS)
                continue
            if scenes or not is_open:
                return scenes
            with CancelScope(deadline=deadline):
                await changed.wait()

    async def _end(self, failure: JobFailure | None) -> JobEnd:
        report = self.report
        if report is None:
            state = JobState.CANCELLED if self.stopped else JobState.FAILED
            return JobEnd(state=state, error=None if self.stopped else failure)
        match self.stopped:
            case Stop.CANCEL:
                state = JobState.CANCELLED
            case Stop.ROOM:
                state = JobState.PARTIAL if report.videos else JobState.FAILED
                failure = failure_of(JobLimitError("there is no room for more videos: remove jobs"))
            case _:
                interrupted = report.status is Status.INTERRUPTED
                state = JobState.CANCELLED if interrupted else JobState(report.status)
        if failure is None and self.stopped is None and report.film_error is not None:
            failure = failure_of(FilmError(report.film_error))
        is_complete = state is JobState.COMPLETE  # then its inputs are removed
        size = self._folder.output_bytes if is_complete else self._folder.bytes
        return JobEnd(
            state=state,
            report=await json_of(report),
            completed=len(report.videos),
            failed=sum(scene.error is not None for scene in report.scenes),
            cost=cost_of(report),
            error=failure,
            bytes=await anyio.to_thread.run_sync(size),
        )

    def _note(self, event: Event) -> None:
        if isinstance(event, SceneProgress | FilmProgress):  # part of the progress of the run
            return
        data = without_folders(event.model_dump(mode="json", exclude={"at", "type"}))
        scene = event.scene if isinstance(event, SceneEvent) else None
        self._add(NewEvent(type=event.type, time=time.time(), data=data, scene=scene))

    def _add(self, event: NewEvent) -> None:
        self.unwritten.append(event)
        self._changed.set()

    async def _write_changes(self) -> None:
        while True:
            await self._changed.wait()
            try:
                await self._write()
            except JobStorageError as exc:
                logger.error("job %s: %s; the run continues", self.job.id, exc)  # noqa: TRY400
                await anyio.sleep(RETRY_SECONDS)
                self._changed.set()

    async def _write(self) -> None:
        self._changed = anyio.Event()
        events, progress, self._progress = tuple(self.unwritten), self._progress, None
        job = self.job.id

        def write(connection: sqlite3.Connection) -> bool:
            if not job_claims.is_held(connection, job, self._queue.process):
                return False
            if events:
                self._queue.log.append(connection, job, events)
            if progress is not None:
                write_progress(connection, job, progress)
            return True

        held = await self._queue.database.write(write)
        self._queue.feed.notify(job)
        if not held:
            self.stop(Stop.LOST)
        del self.unwritten[: len(events)]

    async def _watch_progress(self, run: Run) -> None:
        while True:
            if not self.waits:
                self._progress = _public(run.progress())
                self._changed.set()
            await anyio.sleep(PROGRESS_SECONDS)

    async def _watch_usage(self, run: Run) -> None:
        while True:
            await anyio.sleep(USAGE_SECONDS)
            cost = cost_of(await run.report())
            size = await anyio.to_thread.run_sync(self._folder.bytes)
            write = partial(self._write_usage, cost=cost, size=size)
            try:
                if (reason := await self._queue.database.write(write)) is not None:
                    self.stop(reason)
            except JobStorageError as exc:
                logger.debug("job %s: %s", self.job.id, exc)  # the next look tries again

    def _write_usage(
        self, connection: sqlite3.Connection, cost: JobCost | None, size: int
    ) -> Stop | None:
        job, owner, limits = self.job.id, self.job.owner, self._queue.limits
        if job_claims.is_held(connection, job, self._queue.process):
            write_bytes(connection, job, size)
            if cost is not None:
                write_cost(connection, job, cost)
        too_much = bytes_stored(connection, owner) > limits.owner_bytes
        return Stop.ROOM if too_much else None


def _public(progress: RunProgress) -> RunProgress:
    failures = (
        each.model_copy(update={"message": without_folders(each.message)})
        for each in progress.failures
    )
    return progress.model_copy(update={"failures": tuple(failures)})


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
