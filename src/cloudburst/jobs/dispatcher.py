"""Work of one process on the jobs of a folder: it claims jobs, runs them, and removes old ones."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

import anyio
import anyio.to_thread
from anyio import CancelScope
from anyio.abc import TaskGroup

from cloudburst.errors import JobError, JobStorageError, UnknownJobError
from cloudburst.jobs import job_claims, job_rows
from cloudburst.jobs.admission import has_free_disk, reserve_budget
from cloudburst.jobs.bills import FinalBills
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.event_log import NewEvent, delete_progress, is_begun
from cloudburst.jobs.folder import JobsFolder, storage_errors
from cloudburst.jobs.job_claims import ClaimedJob, ended_process
from cloudburst.jobs.job_rows import (
    JobEnd,
    bytes_stored,
    delete_job,
    finished_before,
    job_ids,
)
from cloudburst.jobs.job_run import BUSY_SECONDS, JobRun, Postponed, Stop
from cloudburst.jobs.models import JobFailure, JobState
from cloudburst.jobs.open_queue import OpenQueue
from cloudburst.jobs.stored_uploads import delete_upload, upload_ids, uploads_before
from cloudburst.jobs.webhooks import outbox
from cloudburst.models.locations import parse_s3_prefix
from cloudburst.outputs.journal.pruning import remove_journal
from cloudburst.outputs.journal.reader import journal_folder

logger = logging.getLogger(__name__)

# Seconds between two looks at what other processes have written. An event of another process, or
# its request to cancel a job, is noticed so late.
POLL_SECONDS = 0.5
# Seconds between two searches for jobs whose process has ended.
TAKEOVER_SECONDS = 2.0
# Seconds before the database is used again after an error.
RETRY_SECONDS = 5.0
# Seconds between two removals of jobs and uploads that have been kept long enough.
PRUNE_SECONDS = 600.0


# Age in seconds above which files are removed that belong to no job and no upload.
STRAY_SECONDS = 86_400.0


class Dispatcher:
    """Work of one process on the jobs of a folder."""

    def __init__(self, queue: OpenQueue) -> None:
        self._queue = queue
        self._runs: dict[str, JobRun] = {}
        self._bills = FinalBills(queue)
        # Work that the end of this process interrupts.
        self._scopes = set[CancelScope]()
        self._wanted = anyio.Event()
        self._stopped = anyio.Event()
        self._data_version = -1

    def wake(self) -> None:
        """Look at once whether there is something to do, because this process has written it."""
        self._wanted.set()

    def stop(self) -> None:
        """End `run`: the tasks of all jobs are stopped, and another process continues the jobs."""
        self._stopped.set()
        self.wake()
        for run in self._runs.values():
            run.stop(Stop.SHUTDOWN)
        for scope in self._scopes:
            scope.cancel()

    async def run(self) -> None:
        """Work on jobs until `stop`."""
        takeover_at = prune_at = 0.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_stopped, self._bills.complete_regularly)
            while not self._stopped.is_set():
                now = anyio.current_time()
                works = True
                if now >= takeover_at:
                    works &= await _tried(self._take_over())
                    takeover_at = now + TAKEOVER_SECONDS
                if now >= prune_at:
                    works &= await _tried(remove_old(self._queue))
                    prune_at = now + PRUNE_SECONDS
                works &= await _tried(self._look(tasks))
                with anyio.move_on_after(POLL_SECONDS if works else RETRY_SECONDS):
                    await self._wanted.wait()
                self._wanted = anyio.Event()

    async def _until_stopped(self, work: Callable[[], Awaitable[None]]) -> None:
        with CancelScope() as scope:
            self._scopes.add(scope)
            if not self._stopped.is_set():
                await work()
        self._scopes.discard(scope)

    async def _look(self, tasks: TaskGroup) -> None:

        def read(connection: sqlite3.Connection) -> tuple[int, list[str], bool, bool]:
            # This number changes when another process has written something.
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            return (
                version,
                job_claims.cancel_requests(connection, self._queue.process),
                job_claims.has_queued(connection),
                bytes_stored(connection) < self._queue.limits.bytes
                and has_free_disk(self._queue.database.path.parent),
            )

        version, cancel_requests, has_queued, has_room = await self._queue.database.read(read)
        if version != self._data_version:
            self._data_version = version
            self._queue.feed.notify_all()
        for cancelled in cancel_requests:
            if cancelled in self._runs:
                self._runs[cancelled].stop(Stop.CANCEL)
        if not has_queued:
            return
        # Jobs that were begun go on, because only their runs find and stop tasks that they left.
        claim = partial(self._claim, now=time.time(), begin=has_room)
        running = self._queue.limits.running
        while sum(not run.waits for run in self._runs.values()) < running:
            if self._stopped.is_set() or (job := await self._queue.database.write(claim)) is None:
                return
            run = self._runs[job.id] = JobRun(job, self._queue)
            if self._stopped.is_set():  # since the claim
                run.stop(Stop.SHUTDOWN)
            elif job.cancel_requested:
                run.stop(Stop.CANCEL)
            tasks.start_soon(self._work, run, name=f"job {job.id}")

    def _claim(
        self, connection: sqlite3.Connection, now: float, *, begin: bool
    ) -> ClaimedJob | None:
        """Give a queued job to this process that may begin within the budget of its owner."""
        limits = self._queue.limits
        while (job := job_claims.next_job(connection, now, begin=begin)) is not None:
            billed = self._queue.clients.is_billed(job_rows.read_job(connection, job))
            may_begin = reserve_budget(connection, job, limits, now) if billed else True
            if may_begin:
                return job_claims.claim(connection, job, self._queue.process, now)
            if may_begin is None:
                self._queue.log.end_job(connection, job, JobEnd(state=JobState.BUDGET))
            else:
                job_claims.postpone(connection, job, now + BUSY_SECONDS)
        return None

    async def _take_over(self) -> None:
        processes = await self._queue.database.read(job_claims.working_processes)
        for process in processes:
            if process != self._queue.process:
                await self._queue.database.write(partial(self._release_ended, process))

    def _release_ended(self, process: str, connection: sqlite3.Connection) -> None:
        with ended_process(self._queue.folder.path, process) as ended:
            for job in job_claims.jobs_of(connection, process) if ended else ():
                logger.warning("job %s: its process has ended, and it goes on in this one", job)
                self._release(connection, job, process)

    def _release(
        self, connection: sqlite3.Connection, job: str, process: str, *, not_before: float = 0.0
    ) -> None:
        delete_progress(connection, job)
        if is_begun(connection, job):
            event = NewEvent(type="job.interrupted", time=time.time())
            self._queue.log.append(connection, job, [event])
        job_claims.release(connection, job, process, not_before=not_before)

    async def _work(self, run: JobRun) -> None:
        try:
            async with AsyncExitStack() as stack:
                ended = await self._render(run, stack)
                if ended and run.report:
                    await self._until_stopped(partial(self._bills.settle, run.job.id, run.report))
        except Exception:
            logger.exception("job %s: its client could not be closed", run.job.id)

    async def _render(self, run: JobRun, stack: AsyncExitStack) -> bool:
        """Render a job, and write its end; return false if it goes on."""
        end: JobEnd | None = None
        not_before = 0.0
        try:
            end = await run.render(stack)
        except Postponed as exc:
            logger.info("job %s is queued again: %s", run.job.id, exc)
            not_before = time.time() + BUSY_SECONDS
        except Exception as exc:
            logger.exception("job %s failed for a defect", run.job.id)
            failure = JobFailure(kind=type(exc).__name__, message="a defect; see the server's log")
            end = JobEnd(state=JobState.FAILED, error=failure)
        finally:
            del self._runs[run.job.id]
            await self._write_end(run, end, not_before)
            self.wake()
        return end is not None

    async def _write_end(self, run: JobRun, end: JobEnd | None, not_before: float) -> None:
        """Write the end of a job, or queue it again; repeat that until the database is writable.

        When this process ends, it is tried once: otherwise another process takes over the job.
        """

        def write(connection: sqlite3.Connection) -> bool:
            job = run.job.id
            if not job_claims.is_held(connection, job, self._queue.process):
                return False
            self._queue.log.append(connection, job, run.unwritten)
            if end is not None:
                self._queue.log.end_job(connection, job, end)
                return True
            self._release(connection, job, self._queue.process, not_before=not_before)
            return False

        while True:
            try:
                ended = await self._queue.database.write(write)
                break
            except JobStorageError as exc:
                if self._stopped.is_set():
                    logger.error("job %s goes on in another process: %s", run.job.id, exc)  # noqa: TRY400 - the reason is enough
                    return
                logger.error("job %s: %s; it is tried again", run.job.id, exc)  # noqa: TRY400 - the reason is enough
                with anyio.move_on_after(RETRY_SECONDS):
                    await self._stopped.wait()
        self._queue.feed.notify(run.job.id)
        if ended and end and end.state is JobState.COMPLETE:  # others may be resumed
            folder = self._queue.folder.job(run.job.id)
            await anyio.to_thread.run_sync(folder.remove_inputs)


async def _tried(work: Awaitable[None]) -> bool:
    try:
        await work
    except JobError as exc:
        logger.error("%s; it is tried again", exc)  # noqa: TRY400 - the reason is enough
        return False
    return True


async def remove_old(queue: OpenQueue) -> None:
    """Remove finished jobs and uploads after ``JobLimits.keep_seconds``, and stray files.

    Messages for webhooks that were given up are removed after the same time.
    """
    database, folder, now = queue.database, queue.folder, time.time()
    before = now - queue.limits.keep_seconds
    old = await database.read(lambda c: (finished_before(c, before), uploads_before(c, before)))
    jobs, uploads = old
    for job in jobs:
        with suppress(UnknownJobError):  # another process was faster
            await remove_job(database, folder, job)
    for upload in uploads:
        await database.write(partial(delete_upload, upload=upload))
        with suppress(OSError):  # a file that is left is a stray file
            await anyio.to_thread.run_sync(folder.upload(upload).unlink)
    await database.write(partial(outbox.purge, before=before))
    known = await database.read(_known)
    with storage_errors(folder.path):
        await anyio.to_thread.run_sync(folder.remove_strays, known, now - STRAY_SECONDS)


async def remove_job(database: JobDatabase, folder: JobsFolder, job: str) -> None:
    """Remove a finished job with its files on this machine; its objects in S3 stay.

    Raises `UnknownJobError` if it does not exist, and `JobConflictError` if it is not finished.
    """
    destination = await database.write(partial(delete_job, job=job))

    def remove_files() -> None:
        folder.job(job).remove()
        if destination is not None:  # then its journal is in the state folder
            remove_journal(journal_folder(parse_s3_prefix(destination)), job)

    await anyio.to_thread.run_sync(remove_files)


def _known(connection: sqlite3.Connection) -> set[str]:
    return {*job_ids(connection), *upload_ids(connection)}
