"""Admission of jobs and uploads within the limits, in the caller's transaction."""

from __future__ import annotations

import sqlite3

from cloudburst.errors import JobLimitError
from cloudburst.jobs.job_rows import NewJob, active_seconds, count_active, spent_since
from cloudburst.jobs.models import JobLimits
from cloudburst.jobs.upload_rows import bytes_stored

BUDGET_SECONDS = 86_400.0
"""Length of the period for which ``JobLimits.owner_usd`` is the maximum bill, in seconds."""


def check_job(connection: sqlite3.Connection, new: NewJob, limits: JobLimits) -> None:
    """Raise `JobLimitError` if a new job would exceed a limit."""
    active = count_active(connection, new.owner)
    if active >= limits.owner_jobs:
        msg = f"{active} jobs are queued or running; expected at most {limits.owner_jobs}"
        raise JobLimitError(msg)
    seconds = active_seconds(connection, new.owner)
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
    """Return whether the bill of an owner's jobs in the last 24 hours is below the limit."""
    if limits.owner_usd is None:
        return True
    return spent_since(connection, owner, now - BUDGET_SECONDS) < limits.owner_usd


def check_bytes(
    connection: sqlite3.Connection,
    owner: str,
    size: int,
    limits: JobLimits,
    *,
    incoming: int = 0,
    incoming_of_owner: int = 0,
) -> None:
    """Raise `JobLimitError` if files of this size, in bytes, do not fit into the folder.

    Args:
        connection: Connection to the database.
        owner: Owner of the files.
        size: Size of the files, in bytes.
        limits: Limits of the folder and of each owner.
        incoming: Size of other files that arrive at the moment, in bytes.
        incoming_of_owner: Size of those of the same owner.
    """
    stored = bytes_stored(connection, owner) + incoming_of_owner
    if stored + size > limits.owner_bytes:
        msg = (
            f"{stored:,} bytes of uploads, inputs and videos are stored, and {size:,} would be "
            f"added; expected at most {limits.owner_bytes:,}: remove jobs or uploads"
        )
        raise JobLimitError(msg)
    if bytes_stored(connection) + incoming + size > limits.bytes:
        raise JobLimitError("there is no room for more files now", of_owner=False)
