"""End of a job in the database, within the caller's transaction."""

from __future__ import annotations

import sqlite3
import time

from cloudburst.jobs import job_rows
from cloudburst.jobs.event_log import EventLog
from cloudburst.jobs.event_rows import NewEvent, delete_progress
from cloudburst.jobs.job_rows import JobEnd

_FIELDS = {"state", "scenes", "completed", "failed", "cost", "error"}
"""Fields of the job that its last event has."""


def end_job(connection: sqlite3.Connection, log: EventLog, job: str, end: JobEnd) -> None:
    """Write that a job is finished, with the event ``job.finished``."""
    now = time.time()
    delete_progress(connection, job)
    job_rows.write_end(connection, job, end, now)
    data = job_rows.read_job(connection, job).model_dump(mode="json", include=_FIELDS)
    log.append(connection, job, [NewEvent(type="job.finished", time=now, data=data)])
