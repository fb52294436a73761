"""Resources of an open `JobQueue`, and the readers of events that it wakes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

import anyio

from cloudburst.client.client import Client
from cloudburst.jobs.admission import Room
from cloudburst.jobs.database import JobDatabase
from cloudburst.jobs.event_log import EventLog, NewsPosition, read_news
from cloudburst.jobs.folder import JobsFolder
from cloudburst.jobs.models import JobLimits, JobNews
from cloudburst.jobs.places import JobClients


class JobFeed:
    """Readers of events in this process, which wait for changes of their jobs."""

    def __init__(self, database: JobDatabase) -> None:
        self._database = database
        # Each event is referenced by the readers that wait for it, or will.
        self._changed = WeakValueDictionary[str, anyio.Event]()

    def notify(self, job: str) -> None:
        """Wake the readers of a job."""
        if (changed := self._changed.pop(job, None)) is not None:
            changed.set()

    def notify_all(self) -> None:
        """Wake all readers: another process may have written about any job."""
        for job in tuple(self._changed):
            self.notify(job)

    def changed(self, job: str) -> anyio.Event:
        """Return an event that is set when something about a job has been written."""
        changed = self._changed.get(job)
        if changed is None:
            changed = self._changed[job] = anyio.Event()
        return changed

    async def read(self, job: str, after: int) -> AsyncGenerator[JobNews]:
        """Yield the events of a job after a number, and progress, until the job is finished.

        Raises `UnknownJobError` if the job does not exist, or is removed.
        """
        position = NewsPosition(after)
        while True:
            changed = self.changed(job)
            news = await self._database.read(partial(read_news, job=job, after=position))
            for item in news.items:
                yield item
            if news.complete:
                return
            if news.position == position:
                await changed.wait()
            position = news.position


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQueue:
    """Resources of an open `JobQueue`."""

    clients: JobClients
    folder: JobsFolder
    limits: JobLimits
    database: JobDatabase
    feed: JobFeed
    log: EventLog
    room: Room
    # Identifier of this process.
    process: str

    @property
    def client(self) -> Client:
        """Client of the jobs that need none of their own."""
        return self.clients.shared
