"""Admission of jobs and uploads, and room for the files that arrive, within the limits."""

from __future__ import annotations

import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path

from cloudburst.errors import JobLimitError
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.job_rows import NewJob, bytes_stored, count_active, spent_since
from cloudburst.jobs.models import JobLimits

# Length of the period for which ``JobLimits.owner_usd`` is the maximum bill, in seconds.
BUDGET_SECONDS = 86_400.0
# Seconds for which the bill of a finished job may become final: AWS forgets a task an hour after
# its stop.
FINAL_SECONDS = 3_600.0
# Number of bytes after which files that arrive are compared with the limits again.
BYTES_PER_CHECK = 16_000_000
# Bytes of the disk that files which arrive and jobs that begin leave free, for the events and the
# videos of jobs that run: the smaller one of this number and this part of the disk.
FREE_BYTES, FREE_SHARE = 1_000_000_000, 0.05


def check_job(connection: sqlite3.Connection, new: NewJob, limits: JobLimits) -> None:
    """Raise `JobLimitError` if a job would exceed a limit."""
    active, _ = count_active(connection, new.owner)
    if active >= limits.owner_jobs:
        msg = f"{active} jobs are queued or running; expected at most {limits.owner_jobs}"
        raise JobLimitError(msg)
    check_scenes(connection, new, limits)


def check_scenes(connection: sqlite3.Connection, new: NewJob, limits: JobLimits) -> None:
    """Raise `JobLimitError` if the scenes of a job would exceed a limit."""
    _, seconds = count_active(connection, new.owner)
    if seconds + new.video_seconds > limits.owner_seconds:
        msg = (
            f"{seconds:,.0f} seconds of video are queued or running, and {new.video_seconds:,.0f} "
            f"would be added (counted as 1920x1080 at 30 frames per second); expected at most "
            f"{limits.owner_seconds:,.0f}"
        )
        raise JobLimitError(msg)
    if not within_budget(connection, new.owner, limits, new.now):
        msg = f"the budget of ${limits.owner_usd} for 24 hours is used up"
        raise JobLimitError(msg)
    check_bytes(connection, new.owner, new.bytes, limits)


def within_budget(
    connection: sqlite3.Connection, owner: str, limits: JobLimits, now: float
) -> bool:
    """Return whether an owner has not used up the budget of 24 hours."""
    if limits.owner_usd is None:
        return True
    return spent_since(connection, owner, now - BUDGET_SECONDS) < limits.owner_usd


def reserve_budget(
    connection: sqlite3.Connection, job: str, limits: JobLimits, now: float
) -> bool | None:
    """Reserve a part of its owner's budget for the whole bill of a job.

    The part is that of the job's ``max_usd``, or else all that is left. It stays reserved until the
    bill of the job is final. Return false if the job has to wait for bills of other jobs, and
    ``None`` if the budget is used up.
    """
    owner, usd, max_usd, reserved = connection.execute(
        "SELECT owner, usd, json_extract(terms, '$.max_usd'), reserved_usd FROM jobs WHERE id = ?",
        [job],
    ).fetchone()
    if limits.owner_usd is None or reserved is not None:
        return True
    others = connection.execute(
        "SELECT coalesce(usd, 0), CASE WHEN finished_at IS NULL "
        "OR (usd IS NOT NULL AND NOT cost_final AND finished_at > ?) THEN reserved_usd END "
        "FROM jobs WHERE owner = ? AND id <> ? AND (finished_at IS NULL OR finished_at > ?)",
        (now - FINAL_SECONDS, owner, job, now - BUDGET_SECONDS),
    ).fetchall()
    left = limits.owner_usd - sum(Decimal(bill) for bill, _ in others)
    growth = sum(max(Decimal(most or 0) - Decimal(bill), Decimal()) for bill, most in others)
    wanted = min(left, Decimal(max_usd or left))
    if wanted <= Decimal(usd or 0):
        return None
    if wanted > left - growth:
        return False
    connection.execute("UPDATE jobs SET reserved_usd = ? WHERE id = ?", (str(wanted), job))
    return True


def check_bytes(
    connection: sqlite3.Connection,
    owner: str,
    size: int,
    limits: JobLimits,
    *,
    incoming: int = 0,
    incoming_of_owner: int = 0,
) -> None:
    """Raise `JobLimitError` if files of this size, in bytes, do not fit."""
    stored = bytes_stored(connection, owner) + incoming_of_owner
    if stored + size > limits.owner_bytes:
        msg = (
            f"{stored:,} bytes of uploads, inputs and videos are stored, and {size:,} would be "
            f"added; expected at most {limits.owner_bytes:,}: remove jobs or uploads"
        )
        raise JobLimitError(msg)
    if bytes_stored(connection) + incoming + size > limits.bytes:
        raise JobLimitError("there is no room for more files now", of_owner=False)


def has_free_disk(folder: Path) -> bool:
    """Return whether the disk has room for more files."""
    disk = shutil.disk_usage(folder)
    return disk.free >= min(FREE_BYTES, FREE_SHARE * disk.total)


class Room:
    """Room for files that arrive in this process, whose sizes the database does not have yet."""

    def __init__(self, database: JobDatabase, limits: JobLimits) -> None:
        self._database = database
        self._limits = limits
        self._incoming = dict[object, tuple[str, int]]()

    async def check(self, transfer: object, owner: str, size: int) -> None:
        """Note the size of a transfer, in bytes; raise `JobLimitError` if it does not fit."""
        _, noted = self._incoming.get(transfer, ("", -BYTES_PER_CHECK))
        if size < noted + BYTES_PER_CHECK:
            return
        self._incoming[transfer] = owner, size
        others = [each for key, each in self._incoming.items() if key is not transfer]
        of_owner = sum(size for each, size in others if each == owner)
        of_all = sum(size for _, size in others)

        def check(connection: sqlite3.Connection) -> None:
            check_bytes(
                connection,
                owner,
                size,
                self._limits,
                incoming=of_all,
                incoming_of_owner=of_owner,
            )
            if not has_free_disk(self._database.path.parent):
                raise JobLimitError("the disk of the server is almost full", of_owner=False)

        await self._database.read(check)

    def release(self, transfer: object) -> None:
        """Forget a transfer, which has ended."""
        self._incoming.pop(transfer, None)
