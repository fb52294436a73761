"""Events and progress of jobs in the database, and messages about them for the webhooks.

Every function uses the caller's transaction, so that no message is lost, and none is sent for an
event that was not written.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cloudburst.errors import ResourceMissingError
from cloudburst.jobs.folder import film_name
from cloudburst.jobs.job_rows import JobEnd, end_open, read_job, unknown_job, webhook_of, write_end
from cloudburst.jobs.models import Job, JobEvent, JobNews, JobProgress, JobState
from cloudburst.jobs.webhooks.definitions import Webhooks
from cloudburst.jobs.webhooks.outbox import enqueue
from cloudburst.models.locations import parse_s3_prefix
from cloudburst.models.remote_file import Download
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import Video, cover_path
from cloudburst.text import short_repr

# Maximum number of events that are read at once, so that a long job needs little memory.
EVENTS_PER_READ = 500
# Types of events that a resumed run repeats for what was finished before.
_OUTCOMES = {"film.completed", "scene.completed", "scene.failed"}


# Maximum size of a message for webhooks, in bytes.
MAX_PAYLOAD_BYTES = 256 * 1024
# Fields of the job that its last event has.
_FINAL_FIELDS = {"state", "scenes", "completed", "failed", "cost", "error"}
# Function that returns the URLs of a job, by their name.
Links = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """Event that is not numbered yet."""

    type: str
    # Time in seconds since the epoch.
    time: float
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    # Name of the scene; ``None`` if the event does not belong to one.
    scene: str | None = None


@dataclass(frozen=True, slots=True)
class NewsPosition:
    """What a reader of a job's events has received."""

    # Number of the last event.
    event: int = 0
    # Time of the last progress, in seconds since the epoch.
    progress: float = 0.0


@dataclass(frozen=True, slots=True)
class News:
    """Further events of a job, and progress that has changed."""

    items: Sequence[JobNews]
    position: NewsPosition
    # True if the job is finished, and all of its events have been read.
    complete: bool


def append_events(
    connection: sqlite3.Connection, job: str, events: Iterable[NewEvent]
) -> list[JobEvent]:
    """Write events with the next numbers of the job, and return those that were written."""
    (number,) = connection.execute("SELECT last_event FROM jobs WHERE id = ?", [job]).fetchone()
    completed = failed = 0
    cover: str | None = None
    written = list[JobEvent]()
    for event in events:
        if event.type in _OUTCOMES:
            before = _last_outcome(connection, job, event.scene)
            if event.type != "scene.failed" and before == (
                event.type,
                event.data.get("video", {}).get("sha256"),
            ):
                continue
            cover = cover or event.data.get("video", {}).get("cover")
            completed += (event.type == "scene.completed") - (before.type == "scene.completed")
            failed += (event.type == "scene.failed") - (before.type == "scene.failed")
        number += 1
        data = json.dumps(event.data, separators=(",", ":"))
        row = (job, number, event.time, event.type, event.scene, data)
        connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
        written.append(_event(number, event.time, event.type, event.data))
    connection.execute(
        "UPDATE jobs SET last_event = ?, completed = completed + ?, failed = failed + ?, "
        "cover = coalesce(cover, ?) WHERE id = ?",
        (number, completed, failed, cover, job),
    )
    return written


def is_begun(connection: sqlite3.Connection, job: str) -> bool:
    """Return whether the run of a job has begun, and was not given up since."""
    row = connection.execute(
        "SELECT type FROM events WHERE job = ? AND type IN ('job.started', 'job.interrupted') "
        "ORDER BY number DESC LIMIT 1",
        [job],
    ).fetchone()
    return row is not None and row[0] == "job.started"


def write_progress(connection: sqlite3.Connection, job: str, progress: RunProgress) -> None:
    """Write the newest progress of the run."""
    row = (job, progress.model_dump_json(), time.time())
    connection.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", row)


def delete_progress(connection: sqlite3.Connection, job: str) -> None:
    """Delete the progress of the run."""
    connection.execute("DELETE FROM progress WHERE job = ?", [job])


def read_news(connection: sqlite3.Connection, job: str, after: NewsPosition) -> News:
    """Return the news of a job after a position."""
    state, newest = connection.execute(
        "SELECT state, last_event FROM jobs WHERE id = ?", [job]
    ).fetchone() or (None, 0)
    if state is None:
        raise unknown_job(job)
    rows = connection.execute(
        "SELECT number, time, type, data FROM events WHERE job = ? AND number > ? "
        "ORDER BY number LIMIT ?",
        (job, after.event, EVENTS_PER_READ),
    )
    events = [_event(number, at, kind, json.loads(data)) for number, at, kind, data in rows]
    last = events[-1].number if events else after.event
    if last < newest:
        return News(events, NewsPosition(last, after.progress), complete=False)
    items, progress_at = list[JobNews](events), after.progress
    query = "SELECT value, time FROM progress WHERE job = ? AND time <> ?"
    if row := connection.execute(query, (job, after.progress)).fetchone():
        items.append(JobProgress.model_validate_json(row[0]))
        progress_at = row[1]
    position = NewsPosition(last, progress_at)
    return News(items, position, complete=JobState(state).finished)


def read_videos(connection: sqlite3.Connection, job: str) -> list[Video]:
    """Return the newest video of each scene that has one."""
    read_job(connection, job)
    rows = connection.execute(
        "SELECT scene, data FROM events WHERE job = ? AND type = 'scene.completed' ORDER BY number",
        [job],
    )
    newest = {scene: Video.model_validate(json.loads(data)["video"]) for scene, data in rows}
    return list(newest.values())


def find_video(connection: sqlite3.Connection, job: str, scene: str) -> Video | None:
    """Return the newest video of a scene, if there is one."""
    # For the condition that every row meets, and INDEXED BY, see `_last_outcome`.
    row = connection.execute(
        "SELECT data FROM events INDEXED BY events_of_outcomes WHERE job = ? AND scene = ? "
        "AND type IN ('film.completed', 'scene.completed', 'scene.failed') "
        "AND type = 'scene.completed' ORDER BY number DESC LIMIT 1",
        (job, scene),
    ).fetchone()
    return None if row is None else Video.model_validate(json.loads(row[0])["video"])


class JobFile(NamedTuple):
    """Video of a scene, or its cover."""

    scene: str
    # SHA-256 of the file, in hexadecimal; ``None`` if it is not known.
    sha256: str | None


def find_file(connection: sqlite3.Connection, job: str, name: str) -> JobFile | None:
    """Return the video or the cover that has a name, if there is one."""
    # Not of all videos: a player that seeks in a video of a large job sends many requests.
    video = find_video(connection, job, name.rpartition(".")[0])
    if video is not None and name == video.path.name:
        return JobFile(video.scene, video.sha256)
    if video is not None and video.cover is not None and name == video.cover.name:
        return JobFile(video.scene, video.cover_sha256)
    return None


def find_download(connection: sqlite3.Connection, job: str, file: str) -> Download:
    """Return the download of a file of a job in S3.

    Raises `UnknownJobError`, and `ResourceMissingError` if the job has no such file in S3.
    """
    found = read_job(connection, job)
    if found.destination is None:
        raise ResourceMissingError(f"the files of job {job} are not in S3")
    folder = parse_s3_prefix(found.destination)
    film = folder.object(film_name(job))
    if found.film and file in {film.name, cover_path(film).name}:
        return Download(location=folder.object(file), run=job, scene=str(film), sha256=None)
    if (written := find_file(connection, job, file)) is None:
        msg = f"job {job} has no file {short_repr(file)}, or it is not finished yet"
        raise ResourceMissingError(msg)
    location = folder.object(file)
    return Download(location=location, run=job, scene=written.scene, sha256=written.sha256)


class _Outcome(NamedTuple):
    # Type of the event; ``None`` if there is none.
    type: str | None = None
    # SHA-256 of the video of a scene; ``None`` if it failed.
    video_sha256: str | None = None


def _last_outcome(connection: sqlite3.Connection, job: str, scene: str | None) -> _Outcome:
    # SQLite uses the index only if the query repeats its condition. Without INDEXED BY, it prefers
    # the primary key, and reads all events of the job.
    found = connection.execute(
        "SELECT type, json_extract(data, '$.video.sha256') FROM events "
        "INDEXED BY events_of_outcomes WHERE job = ? AND scene IS ? "
        "AND type IN ('film.completed', 'scene.completed', 'scene.failed') "
        "ORDER BY number DESC LIMIT 1",
        (job, scene),
    ).fetchone()
    return _Outcome(*found) if found else _Outcome()


def _event(number: int, time: float, kind: str, data: Mapping[str, Any]) -> JobEvent:
    when = datetime.fromtimestamp(time, UTC)
    return JobEvent(number=number, time=when, type=kind, data=dict(data))


@dataclass(frozen=True, slots=True)
class EventLog:
    """Writer of events."""

    # Webhooks that receive events.
    webhooks: Webhooks
    # Function that returns the URLs of a job.
    links: Links

    def append(self, connection: sqlite3.Connection, job: str, events: Iterable[NewEvent]) -> None:
        """Write events, and the messages about them."""
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

    def close_job(self, connection: sqlite3.Connection, job: str) -> Job:
        """Take no further scenes for a job, and return it; write an event if it was open."""
        if end_open(connection, job):
            self.append(connection, job, [NewEvent(type="job.closed", time=time.time())])
        return read_job(connection, job)

    def end_job(self, connection: sqlite3.Connection, job: str, end: JobEnd) -> None:
        """Write the end of a job, with its last event."""
        now = time.time()
        delete_progress(connection, job)
        write_end(connection, job, end, now)
        data = read_job(connection, job).model_dump(mode="json", include=_FINAL_FIELDS)
        self.append(connection, job, [NewEvent(type="job.finished", time=now, data=data)])


def message_payload(event: JobEvent, job: Job, links: Mapping[str, str]) -> str:
    """Return the JSON that webhooks get; ``event`` is null if it would be too large."""
    data: dict[str, Any] = {
        "job": job.id,
        "number": event.number,
        **job.model_dump(mode="json", include={"state", "open", "metadata", "cost"}),
        "links": dict(links),
        "event": event.data,
    }
    when = event.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = {"type": event.type, "timestamp": when, "data": data}
    text = _payload_text(payload)
    if len(text) > MAX_PAYLOAD_BYTES:
        data["event"] = None
        text = _payload_text(payload)
    return text


def _payload_text(payload: Mapping[str, Any]) -> str:
    # ASCII: a text of a caller may contain half of a surrogate pair, which UTF-8 cannot encode.
    return json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
