"""Writer of events: it numbers them, and puts messages for the webhooks into the outbox.

Both happen in the caller's transaction, so that no message is lost, and none is sent for an event
that was not written.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloudburst.jobs.event_rows import NewEvent, append_events
from cloudburst.jobs.job_rows import read_job, webhook_of
from cloudburst.jobs.models import JobEvent
from cloudburst.webhooks.definitions import Webhooks
from cloudburst.webhooks.outbox import enqueue
from cloudburst.webhooks.payload import message_payload

logger = logging.getLogger(__name__)

Links = Callable[[str], Mapping[str, str]]
"""Function that returns the URLs of a job, by their name."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """Writer of events."""

    webhooks: Webhooks
    """Webhooks that receive events."""
    links: Links
    """Function that returns the URLs of a job."""

    def append(self, connection: sqlite3.Connection, job: str, events: Iterable[NewEvent]) -> None:
        """Write events with the next numbers of the job, and the messages about them."""
        written = append_events(connection, job, events)
        url = webhook_of(connection, job)
        for event in written:
            receivers = self.webhooks.receivers(event.type, job_url=url)
            if receivers:
                self._enqueue(connection, job, event, receivers)

    def _enqueue(
        self,
        connection: sqlite3.Connection,
        job: str,
        event: JobEvent,
        receivers: Sequence[tuple[str, str | None]],
    ) -> None:
        found = read_job(connection, job)
        time = event.time.timestamp()
        payload = message_payload(
            event_type=event.type,
            time=time,
            job=job,
            event_number=event.number,
            metadata=found.metadata,
            state=found.state,
            cost=None if found.cost is None else found.cost.model_dump(mode="json"),
            links=self.links(job),
            event=event.data,
        )
        for webhook, url in receivers:
            enqueue(
                connection,
                job=job,
                webhook=webhook,
                url=url,
                owner=found.owner,
                event_number=event.number,
                event_type=event.type,
                payload=payload,
                now=time,
            )
