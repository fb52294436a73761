"""Jobs in the database. Every function uses the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from cloudburst.errors import InvalidScenesError, JobConflictError, SceneFault, UnknownJobError
from cloudburst.jobs.models import (
    Job,
    JobCost,
    JobFailure,
    JobMonth,
    JobPage,
    JobRequest,
    JobState,
    JobTerms,
)
from cloudburst.models.run_progress import RunProgress
from cloudburst.models.scene import Scene, fold_name
from cloudburst.text import short_repr

# Number of bytes for which each upload, job and scene counts in addition to its files: for a block
# of the file system, and for rows, events and reports in the database.
BYTES_OF_ENTRY = 4_096
_TERMS = JobTerms.model_fields.keys() - {"name"}
_RESUMABLE = {JobState.PARTIAL, JobState.FAILED, JobState.BUDGET, JobState.CANCELLED}
_ACTIVE = (JobState.QUEUED, JobState.RUNNING)
_COLUMNS = (
    *("sequence", "id", "owner", "state", "metadata", "created_at", "started_at", "finished_at"),
    *("scenes", "completed", "failed", "usd", "cost_final", "error", "last_event", "film"),
    *("destination", "cancel_requested", "name", "cover"),
    "terms",
    "open AND NOT cancel_requested",
    "(SELECT value FROM progress WHERE job = id) AS live",
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM jobs"  # noqa: S608 - our own columns


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """Job, or further scenes of an open job, that are not in the database yet."""

    id: str
    owner: str
    request: JobRequest
    # Size of the input files in the folder of the job, in bytes.
    bytes: int
    # Length of all videos, in seconds of 1920x1080 at 30 frames per second.
    video_seconds: float
    now: float
    # SHA-256 of what the caller sent, in hexadecimal, with which a later request with the same
    # idempotency key is compared; empty without a key.
    request_sha256: str = ""
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How a job ended."""

    state: JobState
    # Report as JSON; ``None`` if no run was started.
    report: Mapping[str, Any] | None = None
    completed: int = 0
    failed: int = 0
    cost: JobCost | None = None
    error: JobFailure | None = None
    # Size of the files in the folder of the job, in bytes; ``None``: it has not changed.
    bytes: int | None = None


class OpenJob(NamedTuple):
    """Open job, to which scenes are added."""

    job: Job
    # The request, without scenes.
    request: JobRequest
    # Position in the voice of the film at which the next scene begins, in seconds.
    position: float


def unknown_job(job: str) -> UnknownJobError:
    """Return the error for a job that does not exist."""
    return UnknownJobError(f"there is no job {short_repr(job)}")


def insert_job(connection: sqlite3.Connection, new: NewJob) -> None:
    """Write a new job, which is queued."""
    request = new.request
    if request.open:
        request = request.model_copy(update={"scenes": ()})
    text = _json_of(request)
    connection.execute(
        "INSERT INTO jobs (id, owner, state, request, metadata, created_at, scenes, film, "
        "destination, bytes, webhook, idempotency_key, request_sha256, open, name, terms) "
        "VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.id,
            new.owner,
            JobState.QUEUED,
            text,
            json.dumps(request.metadata),
            new.now,
            request.film,
            None if request.to is None else str(request.to),
            len(text),
            request.webhook,
            new.idempotency_key,
            new.request_sha256,
            request.open,
            request.name,
            _terms_of(request),
        ),
    )
    add_scenes(connection, new)


def add_scenes(connection: sqlite3.Connection, new: NewJob) -> None:
    """Count the scenes of a job, and write those of an open one, which its request has not.

    Raises `InvalidScenesError` for names that repeat within the open job.
    """
    scenes, size = new.request.scenes, new.bytes
    faults = list[SceneFault]()
    for scene in scenes if new.request.open else ():
        text = _json_of(scene)
        size += len(text)
        added = connection.execute(
            "INSERT OR IGNORE INTO scenes SELECT ?1, coalesce(max(number) + 1, 0), ?2, ?3 "
            "FROM scenes WHERE job = ?1",
            (new.id, fold_name(scene.name), text),
        )
        if not added.rowcount:
            found = "the name of an earlier scene"
            fault = SceneFault(scene.name, "name", found, "a unique name", "duplicate_name")
            faults.append(fault)
    if faults:
        raise InvalidScenesError(faults=faults)
    connection.execute(
        "UPDATE jobs SET scenes = scenes + ?, bytes = bytes + ?, video_seconds = video_seconds + ? "
        "WHERE id = ?",
        (len(scenes), size + BYTES_OF_ENTRY * len(scenes), new.video_seconds, new.id),
    )


def resume_job(connection: sqlite3.Connection, new: NewJob) -> None:
    """Queue a finished job again, which has these scenes then; its size is that of new files."""
    connection.execute("DELETE FROM scenes WHERE job = ?", [new.id])
    connection.execute(
        "UPDATE jobs SET state = ?, finished_at = NULL, error = NULL, cancel_requested = 0, "
        "not_before = 0, reserved_usd = NULL, cost_final = 0, scenes = ?, bytes = bytes + ?, "
        "video_seconds = ?, request = ?, terms = ? WHERE id = ?",
        (
            JobState.QUEUED,
            len(new.request.scenes),
            new.bytes,
            new.video_seconds,
            _json_of(new.request),
            _terms_of(new.request),
            new.id,
        ),
    )


def _terms_of(request: JobRequest) -> str:
    return request.model_dump_json(include=_TERMS, exclude_none=True)


def _json_of(part: JobRequest | Scene) -> str:
    # Without the options that were not given: they are those of the client.
    return json.dumps(part.model_dump(mode="json", exclude_unset=True))


def read_scenes(
    connection: sqlite3.Connection, job: str, after: int
) -> tuple[Sequence[Scene], bool]:
    """Return scenes of a job behind the first ``after`` ones, and whether more may come."""
    query = "SELECT scene FROM scenes WHERE job = ? AND number >= ? ORDER BY number"
    rows = connection.execute(query, (job, after)).fetchall()
    still = connection.execute("SELECT 1 FROM jobs WHERE id = ? AND open", [job]).fetchone()
    return [Scene.model_validate(json.loads(text)) for (text,) in rows], still is not None


def parse_request(text: str) -> JobRequest:
    """Return the request that a job's row has as JSON; 10,000 scenes take half a second."""
    # Not model_validate_json: file names need not be UTF-8.
    return JobRequest.model_validate(json.loads(text))


def read_open_job(connection: sqlite3.Connection, job: str) -> OpenJob:
    """Return what further scenes of an open job are checked with."""
    found = read_job(connection, job)
    if not found.open:
        msg = f"job {job} takes no scenes: it is not open, or is to be cancelled, or has ended"
        raise JobConflictError(msg)
    (text,) = connection.execute("SELECT request FROM jobs WHERE id = ?", [job]).fetchone()
    parts = connection.execute(
        "SELECT json_extract(scene, '$.until'), json_extract(scene, '$.duration') FROM scenes "
        "WHERE job = ? ORDER BY number",
        [job],
    )
    position = 0.0
    for until, duration in parts:
        position = until or position + (duration or 0)
    return OpenJob(found, parse_request(text), position)


def end_open(connection: sqlite3.Connection, job: str) -> bool:
    """Take no further scenes for a job; return false if it was not open."""
    return connection.execute("UPDATE jobs SET open = 0 WHERE id = ? AND open", [job]).rowcount == 1


def find_repeated(
    connection: sqlite3.Connection, owner: str, key: str, request_sha256: str
) -> str | None:
    """Return the earlier job with this idempotency key; raise `JobConflictError` if it differs."""
    found = connection.execute(
        "SELECT id, request_sha256 FROM jobs WHERE owner = ? AND idempotency_key = ?", (owner, key)
    ).fetchone()
    if found is None:
        return None
    if found[1] != request_sha256:
        msg = "another request had the same idempotency key; expected a new key for a new job"
        raise JobConflictError(msg)
    return str(found[0])


def read_job(connection: sqlite3.Connection, job: str) -> Job:
    """Return a job. Raises `UnknownJobError` if it does not exist."""
    row = connection.execute(f"{_SELECT} WHERE id = ?", [job]).fetchone()
    if row is None:
        raise unknown_job(job)
    return _job(row)


def read_page(
    connection: sqlite3.Connection,
    *,
    owner: str | None,
    states: Collection[JobState],
    search: str,
    metadata: Mapping[str, str],
    before: int | None,
    limit: int,
) -> JobPage:
    """Return the newest jobs that match."""
    wanted, values = ["1"], list[Any]()
    if owner is not None:
        wanted.append("owner = ?")
        values.append(owner)
    if before is not None:
        wanted.append("sequence < ?")
        values.append(before)
    if states:
        wanted.append(f"state IN ({', '.join('?' * len(states))})")
        values += sorted(states)
    if search:
        wanted.append("instr(casefold(name), ?)")
        values.append(search.casefold())
    for key, value in metadata.items():
        wanted.append(
            "EXISTS (SELECT 1 FROM json_each(metadata) WHERE key = ? AND CAST(atom AS TEXT) = ?)"
        )
        values += [key, value]
    query = f"{_SELECT} WHERE {' AND '.join(wanted)} ORDER BY sequence DESC LIMIT ?"
    rows = connection.execute(query, [*values, limit + 1]).fetchall()
    jobs = tuple(_job(row) for row in rows[:limit])
    following = str(rows[limit - 1][0]) if len(rows) > limit else None
    return JobPage(jobs=jobs, months=read_months(connection, owner), next=following)


def read_months(connection: sqlite3.Connection, owner: str | None) -> tuple[JobMonth, ...]:
    """Return numbers and bills of jobs in the last twelve months that have some."""
    where, values = ("", []) if owner is None else ("WHERE owner = ?", [owner])
    rows = connection.execute(
        "SELECT strftime('%Y-%m', created_at, 'unixepoch') AS month, "  # noqa: S608 - our own names
        f"count(*), group_concat(usd) FROM jobs {where} "
        "GROUP BY month ORDER BY month DESC LIMIT 12",
        values,
    )
    return tuple(
        JobMonth(
            month=month, jobs=jobs, usd=sum(map(Decimal, usd.split(",") if usd else ()), Decimal())
        )
        for month, jobs, usd in rows
    )


def rename_job(connection: sqlite3.Connection, job: str, name: str) -> Job:
    """Give a job a name, and return it. Raises `UnknownJobError`."""
    connection.execute("UPDATE jobs SET name = ? WHERE id = ?", (name, job))
    return read_job(connection, job)


def webhook_of(connection: sqlite3.Connection, job: str) -> str | None:
    """Return the URL that the job names."""
    row = connection.execute("SELECT webhook FROM jobs WHERE id = ?", [job]).fetchone()
    return None if row is None else row[0]


def write_end(connection: sqlite3.Connection, job: str, end: JobEnd, now: float) -> None:
    """Write the end of a job."""
    connection.execute(
        "UPDATE jobs SET state = ?, process = NULL, open = 0, finished_at = ?, completed = ?, "
        "failed = ?, error = ? WHERE id = ?",
        (
            end.state,
            now,
            end.completed,
            end.failed,
            None if end.error is None else end.error.model_dump_json(),
            job,
        ),
    )
    if end.bytes is not None:
        write_bytes(connection, job, end.bytes)
    write_report(connection, job, end.report, end.cost)


def write_bytes(connection: sqlite3.Connection, job: str, size: int) -> None:
    """Write the size of the files in the folder of a job."""
    connection.execute(
        "UPDATE jobs SET bytes = ? + ? * scenes + length(request) + "
        "(SELECT coalesce(sum(length(scene)), 0) FROM scenes WHERE job = id) WHERE id = ?",
        (size, BYTES_OF_ENTRY, job),
    )


def write_report(
    connection: sqlite3.Connection,
    job: str,
    report: Mapping[str, Any] | None,
    cost: JobCost | None,
) -> None:
    """Write report and bill."""
    if report is not None:
        text = json.dumps(report, separators=(",", ":"))
        connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?)", (job, text))
    if cost is not None:
        write_cost(connection, job, cost)


def write_cost(connection: sqlite3.Connection, job: str, cost: JobCost) -> None:
    """Write the bill of a job."""
    connection.execute(
        "UPDATE jobs SET usd = ?, cost_final = ? WHERE id = ?", (str(cost.usd), cost.final, job)
    )


def read_report(connection: sqlite3.Connection, job: str) -> dict[str, Any] | None:
    """Return the report of a job as JSON; ``None`` if it has none yet."""
    read_job(connection, job)
    row = connection.execute("SELECT report FROM reports WHERE job = ?", [job]).fetchone()
    return None if row is None else json.loads(row[0])


def delete_job(connection: sqlite3.Connection, job: str) -> str | None:
    """Delete a finished job, and return the folder in S3 with its videos, if they are there.

    Raises `UnknownJobError`, and `JobConflictError` if it is not finished.
    """
    row = connection.execute("SELECT state, destination FROM jobs WHERE id = ?", [job]).fetchone()
    if row is None:
        raise unknown_job(job)
    state, destination = row
    if state in _ACTIVE:
        msg = f"job {job} is not finished; cancel it, and remove it when it has ended"
        raise JobConflictError(msg)
    for table in ("events", "progress", "reports", "scenes"):
        connection.execute(f"DELETE FROM {table} WHERE job = ?", [job])  # noqa: S608 - our own names
    connection.execute("DELETE FROM jobs WHERE id = ?", [job])
    return None if destination is None else str(destination)


def job_ids(connection: sqlite3.Connection) -> list[str]:
    """Return the identifiers of all jobs."""
    return [job for (job,) in connection.execute("SELECT id FROM jobs")]


def unsettled_jobs(connection: sqlite3.Connection, since: float) -> list[tuple[str, str | None]]:
    """Return the jobs that finished without a final bill, with their destinations."""
    rows = connection.execute(
        "SELECT id, destination FROM jobs WHERE finished_at > ? AND usd IS NOT NULL "
        "AND NOT cost_final",
        [since],
    )
    return rows.fetchall()


def is_final(connection: sqlite3.Connection, job: str) -> bool:
    """Return whether the bill of a job is final, or the job was removed or resumed."""
    query = "SELECT cost_final OR finished_at IS NULL FROM jobs WHERE id = ?"
    row = connection.execute(query, [job]).fetchone()
    return row is None or bool(row[0])


def finished_before(connection: sqlite3.Connection, time: float) -> list[str]:
    """Return the jobs that finished before a time."""
    rows = connection.execute("SELECT id FROM jobs WHERE finished_at < ?", [time])
    return [job for (job,) in rows]


def count_active(connection: sqlite3.Connection, owner: str) -> tuple[int, float]:
    """Return the number of unfinished jobs, and the length of their videos in seconds."""
    query = "SELECT count(*), total(video_seconds) FROM jobs WHERE owner = ? AND state IN (?, ?)"
    number, seconds = connection.execute(query, (owner, *_ACTIVE)).fetchone()
    return int(number), float(seconds)


def spent_since(connection: sqlite3.Connection, owner: str, time: float) -> Decimal:
    """Return the bill of an owner since a time, in USD."""
    rows = connection.execute(
        "SELECT usd FROM jobs WHERE owner = ? AND usd IS NOT NULL "
        "AND (finished_at IS NULL OR finished_at > ?)",
        (owner, time),
    )
    return sum((Decimal(usd) for (usd,) in rows), Decimal())


def bytes_stored(connection: sqlite3.Connection, owner: str | None = None) -> int:
    """Return the size of all that is stored, or of what one owner has, in bytes."""
    where, values = ("", []) if owner is None else ("WHERE owner = ?", [owner])
    total = 0
    for table in ("uploads", "jobs"):
        columns = f"coalesce(sum(bytes + {BYTES_OF_ENTRY}), 0)"
        query = f"SELECT {columns} FROM {table} {where}"  # noqa: S608 - our own names
        (size,) = connection.execute(query, values).fetchone()
        total += size
    return total


def _job(row: Sequence[Any]) -> Job:
    *values, terms, is_open, live = row
    fields: dict[str, Any] = dict(zip(_COLUMNS, values, strict=False)) | json.loads(terms)
    usd, error, scenes = fields["usd"], fields["error"], fields["scenes"]
    run = None if live is None else RunProgress.model_validate_json(live)
    share = run.share if run else (fields["completed"] + fields["failed"]) / max(scenes, 1)
    fields |= {
        "metadata": json.loads(fields["metadata"]),
        "open": is_open,
        "progress": 1 if fields["finished_at"] else share,
        "live": run,
        "resumable": fields["state"] in _RESUMABLE,
        "cost": None if usd is None else JobCost(usd=usd, final=fields["cost_final"]),
        "error": None if error is None else JobFailure.model_validate_json(error),
    }
    return Job(**fields)
