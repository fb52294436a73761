"""Resources of an open `JobQueue`, which its parts share."""

from __future__ import annotations

from dataclasses import dataclass

from cloudburst.client.client import Client
from cloudburst.jobs.admission import Room
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.event_log import EventLog
from cloudburst.jobs.feed import JobFeed
from cloudburst.jobs.folder import JobsFolder
from cloudburst.jobs.models import JobLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQueue:
    """Resources of an open `JobQueue`."""

    client: Client
    folder: JobsFolder
    limits: JobLimits
    database: JobDatabase
    feed: JobFeed
    log: EventLog
    room: Room
    process: str
    """Identifier of this process."""
