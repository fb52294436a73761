"""Writer of events: it numbers them, and puts messages for the webhooks into the outbox.

Both happen in the caller's transaction, so that no message is lost, and none is sent for an event
that was not written.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.jobs.event_rows import NewEvent, append_events, delete_progress
from cloudburst.jobs.job_rows import JobEnd, read_job, webhook_of, write_end
from cloudburst.jobs.models import Job, JobEvent
from cloudburst.jobs.webhooks.definitions import Webhooks
from cloudburst.jobs.webhooks.outbox import enqueue

MAX_PAYLOAD_BYTES = 256 * 1024
"""Maximum size of a message for webhooks, in bytes."""
_FINAL_FIELDS = {"state", "scenes", "completed", "failed", "cost", "error"}
"""Fields of the job that its last event has."""
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
        payload = message_payload(event, found, self.links(job))
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
                now=event.time.timestamp(),
            )

    def end_job(self, connection: sqlite3.Connection, job: str, end: JobEnd) -> None:
        """Write that a job is finished, with the event ``job.finished``."""
        now = time.time()
        delete_progress(connection, job)
        write_end(connection, job, end, now)
        data = read_job(connection, job).model_dump(mode="json", include=_FINAL_FIELDS)
        self.append(connection, job, [NewEvent(type="job.finished", time=now, data=data)])


def message_payload(event: JobEvent, job: Job, links: Mapping[str, str]) -> str:
    """Return the JSON that is sent to webhooks for an event of a job.

    If it would be too large, ``event`` is null; the receiver can read the event from the job.
    """
    data: dict[str, Any] = {
        "job": job.id,
        "number": event.number,
        **job.model_dump(mode="json", include={"state", "metadata", "cost"}),
        "links": dict(links),
        "event": event.data,
    }
    when = event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = {"type": event.type, "timestamp": when, "data": data}
    text = _dump(payload)
    if len(text) > MAX_PAYLOAD_BYTES:
        data["event"] = None
        text = _dump(payload)
    return text


def _dump(payload: Mapping[str, Any]) -> str:
    # ASCII: a text of a caller may contain half of a surrogate pair, which UTF-8 cannot encode.
    return json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
