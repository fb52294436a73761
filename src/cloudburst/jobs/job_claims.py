"""Claims of jobs by processes, in the database, and the lock file that each process holds.

Functions with a connection use the caller's transaction. The operating system releases the lock of
a process when it ends, however it ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

from cloudburst.jobs.job_rows import unknown_job
from cloudburst.jobs.models import JobState
from cloudburst.locks import release_and_remove, take_lock, try_lock

_FOLDER = "processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """Job on which this process works from now on."""

    id: str
    owner: str
    # `JobRequest` as JSON.
    request: str
    # Part of its owner's budget that is reserved for the job; ``None``: there is no such limit.
    reserved_usd: Decimal | None
    # True if a process has worked on the job before.
    started_before: bool
    cancel_requested: bool


def next_job(connection: sqlite3.Connection, now: float, *, begin: bool = True) -> str | None:
    """Return the queued job that is to be claimed next, if there is one.

    Owners take turns: it is the oldest job of an owner who has the fewest running ones.
    """
    row = connection.execute(
        "SELECT id FROM jobs WHERE state = ? AND not_before <= ? AND (starts > 0 OR ?) "
        # With a plus, so that the index of states is used: an owner has more jobs than run.
        "ORDER BY (SELECT count(*) FROM jobs AS other "
        "WHERE other.state = ? AND +other.owner = jobs.owner), sequence LIMIT 1",
        (JobState.QUEUED, now, begin, JobState.RUNNING),
    ).fetchone()
    return None if row is None else str(row[0])


def claim(connection: sqlite3.Connection, job: str, process: str, now: float) -> ClaimedJob:
    """Give a queued job to a process."""
    owner, request, reserved, cancel, starts = connection.execute(
        "UPDATE jobs SET state = ?, process = ?, started_at = coalesce(started_at, ?), "
        "starts = starts + 1 WHERE id = ? "
        "RETURNING owner, request, reserved_usd, cancel_requested, starts",
        (JobState.RUNNING, process, now, job),
    ).fetchone()
    return ClaimedJob(
        id=job,
        owner=owner,
        request=request,
        reserved_usd=None if reserved is None else Decimal(reserved),
        started_before=starts > 1,
        cancel_requested=bool(cancel),
    )


def postpone(connection: sqlite3.Connection, job: str, until: float) -> None:
    """Claim a queued job no sooner than at a time."""
    connection.execute("UPDATE jobs SET not_before = ? WHERE id = ?", (until, job))


def has_queued(connection: sqlite3.Connection) -> bool:
    """Return whether a job is queued."""
    query = "SELECT 1 FROM jobs WHERE state = ? LIMIT 1"
    return connection.execute(query, [JobState.QUEUED]).fetchone() is not None


def release(
    connection: sqlite3.Connection, job: str, process: str, *, not_before: float = 0.0
) -> None:
    """Queue a job again if the process works on it."""
    connection.execute(
        "UPDATE jobs SET state = ?, process = NULL, not_before = ? WHERE id = ? AND process = ?",
        (JobState.QUEUED, not_before, job, process),
    )


def jobs_of(connection: sqlite3.Connection, process: str) -> list[str]:
    """Return the jobs of a process, which may have ended."""
    rows = connection.execute("SELECT id FROM jobs WHERE process = ?", [process])
    return [job for (job,) in rows]


def working_processes(connection: sqlite3.Connection) -> list[str]:
    """Return the processes that have jobs, and may have ended."""
    rows = connection.execute("SELECT DISTINCT process FROM jobs WHERE process IS NOT NULL")
    return [process for (process,) in rows]


def is_held(connection: sqlite3.Connection, job: str, process: str) -> bool:
    """Return whether a process works on the job."""
    query = "SELECT 1 FROM jobs WHERE id = ? AND process = ?"
    return connection.execute(query, (job, process)).fetchone() is not None


def request_cancel(connection: sqlite3.Connection, job: str) -> bool:
    """Request the end of a job; return true if no process has ever worked on it.

    Raises `UnknownJobError`.
    """
    row = connection.execute(
        "UPDATE jobs SET cancel_requested = cancel_requested OR state IN (?, ?) WHERE id = ? "
        "RETURNING state, starts",
        (JobState.QUEUED, JobState.RUNNING, job),
    ).fetchone()
    if row is None:
        raise unknown_job(job)
    return bool(row == (JobState.QUEUED, 0))


def cancel_requests(connection: sqlite3.Connection, process: str) -> list[str]:
    """Return the jobs of a process that are to be cancelled."""
    query = "SELECT id FROM jobs WHERE process = ? AND cancel_requested"
    return [job for (job,) in connection.execute(query, [process])]


@contextmanager
def registered_process(folder: Path) -> Generator[str]:
    """Register this process, and yield its identifier."""
    process = uuid4().hex
    path = _lock_path(folder, process)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    lock = take_lock(path)
    try:
        yield process
    finally:
        release_and_remove(lock)


@contextmanager
def ended_process(folder: Path, process: str) -> Generator[bool]:
    """Yield whether a process has ended; others that ask meanwhile receive false."""
    path, lock = _lock_path(folder, process), None
    exists = path.exists()
    with suppress(OSError):
        lock = try_lock(path) if exists else None
    try:
        yield lock is not None or not exists
    finally:
        if lock is not None:
            release_and_remove(lock)


def _lock_path(folder: Path, process: str) -> Path:
    return folder / _FOLDER / f"{process}.lock"
