"""Outbox: messages that are not delivered yet, in a table of the database of the jobs.

Every function blocks and works in the caller's transaction. Messages of one job and one webhook are
delivered in the order of their events: only the first of them is ready, the others wait. A message
that was given up is a dead letter, and the next one becomes ready.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Statements that create the table and its indexes.
CREATE_TABLES = (
    # The payload is the last column, so that SQLite reads no other page for the columns before it.
    (
        "CREATE TABLE webhook_messages (id TEXT NOT NULL PRIMARY KEY, job TEXT NOT NULL, "
        "webhook TEXT NOT NULL, url TEXT, owner TEXT NOT NULL, number INTEGER NOT NULL, "
        "type TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, "
        "queued_at REAL NOT NULL, due_at REAL NOT NULL, ended_at REAL, error TEXT, "
        "payload TEXT NOT NULL)"
    ),
    (
        "CREATE INDEX webhook_messages_undelivered ON webhook_messages (job, webhook, number) "
        "WHERE state <> 'given up'"
    ),
    "CREATE INDEX webhook_messages_ready ON webhook_messages (due_at) WHERE state = 'ready'",
    (
        "CREATE INDEX webhook_messages_given_up ON webhook_messages (ended_at) "
        "WHERE state = 'given up'"
    ),
)
# Maximum length of the reason of a failed attempt, in characters.
MAX_ERROR_CHARS = 500
# Maximum number of messages that `due` returns.
MAX_DUE_MESSAGES = 1000

_COLUMNS = (
    "id, job, webhook, url, owner, number, type, state, attempts, queued_at, due_at, ended_at, "
    "error"
)


class MessageState(StrEnum):
    """State of a message in the outbox."""

    # The message is the next one of its job and webhook: it is sent when it is due.
    READY = "ready"
    # An earlier message of the same job and webhook is not delivered yet.
    WAITING = "waiting"
    # The message was given up; it is a dead letter until it is replayed or removed.
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Message:
    """Event for one webhook, without its payload. Times are in seconds since the epoch."""

    # Id that receivers get with every attempt, as the header ``webhook-id``.
    id: str
    job: str
    # Name of the webhook.
    webhook: str
    # URL that the job names; ``None`` for a webhook of the application.
    url: str | None
    # Owner of the job.
    owner: str
    # Number of the event within its job.
    number: int
    # Type of the event.
    type: str
    state: MessageState
    # Number of attempts that failed.
    attempts: int
    # Time at which the message was put into the outbox, or last replayed.
    queued_at: float
    # Time of the next attempt.
    due_at: float
    # Time at which the message was given up; ``None`` if it is not a dead letter.
    ended_at: float | None
    # Reason why the last attempt failed; ``None`` if there was none.
    error: str | None


def message_id(*, job: str, webhook: str, number: int) -> str:
    """Return the id of the message for an event and a webhook."""
    # A digest: ids must not contain full stops, which names of webhooks may contain.
    digest = hashlib.sha256(f"{job}\n{number}\n{webhook}".encode())
    return f"msg_{digest.hexdigest()[:32]}"


def enqueue(
    connection: sqlite3.Connection,
    *,
    job: str,
    webhook: str,
    url: str | None,
    owner: str,
    event_number: int,
    event_type: str,
    payload: str,
    now: float,
) -> str:
    """Put an event for one webhook into the outbox; return the id of the message."""
    message = message_id(job=job, webhook=webhook, number=event_number)
    behind = connection.execute(
        "SELECT 1 FROM webhook_messages WHERE job = ? AND webhook = ? AND state <> 'given up' "
        "LIMIT 1",
        (job, webhook),
    ).fetchone()
    state = MessageState.WAITING if behind else MessageState.READY
    connection.execute(
        "INSERT INTO webhook_messages (id, job, webhook, url, owner, number, type, state, "
        "queued_at, due_at, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(message, job, webhook, url, owner, event_number, event_type),
            *(str(state), now, now, payload),
        ),
    )
    return message


def due(connection: sqlite3.Connection, *, now: float, of_each_webhook: int) -> list[Message]:
    """Return ready messages that are due, the oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM (SELECT {_COLUMNS}, "  # noqa: S608 - our own names
        "row_number() OVER (PARTITION BY webhook, CASE WHEN url IS NULL THEN NULL ELSE owner END "
        "ORDER BY due_at) AS place "
        "FROM webhook_messages WHERE state = 'ready' AND due_at <= ?) "
        "WHERE place <= ? ORDER BY due_at LIMIT ?",
        (now, of_each_webhook, MAX_DUE_MESSAGES),
    )
    return [_message(row) for row in rows]


def read_payload(connection: sqlite3.Connection, message: Message) -> bytes | None:
    """Return the body of a message, unless an attempt has ended since `due` returned it."""
    query = "SELECT payload FROM webhook_messages WHERE id = ? AND state = 'ready' AND due_at = ?"
    row = connection.execute(query, (message.id, message.due_at)).fetchone()
    return None if row is None else str(row[0]).encode()


def delivered(connection: sqlite3.Connection, message: str, *, now: float) -> None:
    """Remove a message; the next one becomes ready."""
    rows = connection.execute(
        "DELETE FROM webhook_messages WHERE id = ? RETURNING job, webhook", [message]
    ).fetchall()
    for job, webhook in rows:
        _make_ready(connection, job, webhook, now)


def failed(
    connection: sqlite3.Connection, message: str, *, attempts: int, due_at: float, error: str
) -> None:
    """Note a failed attempt."""
    connection.execute(
        "UPDATE webhook_messages SET attempts = ?, due_at = ?, error = ? "
        "WHERE id = ? AND state <> 'given up'",
        (attempts, due_at, error[:MAX_ERROR_CHARS], message),
    )


def give_up(
    connection: sqlite3.Connection, message: str, *, error: str, now: float, all_of_job: bool
) -> None:
    """Make a message, or all of its job and webhook, a dead letter."""
    rows = connection.execute(
        "UPDATE webhook_messages SET attempts = attempts + 1, state = 'given up', ended_at = ?, "
        "error = ? WHERE id = ? AND state <> 'given up' RETURNING job, webhook",
        (now, error[:MAX_ERROR_CHARS], message),
    ).fetchall()
    for job, webhook in rows:
        if all_of_job:
            connection.execute(
                "UPDATE webhook_messages SET state = 'given up', ended_at = ?, error = ? "
                "WHERE job = ? AND webhook = ? AND state <> 'given up'",
                (now, error[:MAX_ERROR_CHARS], job, webhook),
            )
        else:
            _make_ready(connection, job, webhook, now)


def dead_letters(connection: sqlite3.Connection, *, limit: int) -> list[Message]:
    """Return the newest dead letters, the oldest of them first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM webhook_messages WHERE state = 'given up' "  # noqa: S608 - ours
        "ORDER BY ended_at DESC, number DESC LIMIT ?",
        [limit],
    ).fetchall()
    return [_message(row) for row in reversed(rows)]


def undelivered(connection: sqlite3.Connection, *, limit: int) -> list[tuple[Message, int]]:
    """Return ready messages, the oldest first, and how many wait behind each."""
    rows = connection.execute(
        f"SELECT {_COLUMNS}, (SELECT count(*) - 1 FROM webhook_messages AS other "  # noqa: S608
        "WHERE other.job = one.job AND other.webhook = one.webhook AND other.state <> 'given up') "
        "FROM webhook_messages AS one WHERE state = 'ready' ORDER BY queued_at LIMIT ?",
        [limit],
    )
    return [(_message(row[:-1]), row[-1]) for row in rows]


def count(connection: sqlite3.Connection) -> dict[MessageState, int]:
    """Return the number of messages in each state."""
    rows = connection.execute("SELECT state, count(*) FROM webhook_messages GROUP BY state")
    return dict.fromkeys(MessageState, 0) | {MessageState(state): n for state, n in rows}


def replay(connection: sqlite3.Connection, chosen: str | None, *, now: float) -> int:
    """Make the dead letters of a message, of a job, or all, ready again; return their number."""
    condition = "" if chosen is None else "AND ? IN (id, job) "
    rows = connection.execute(
        "UPDATE webhook_messages SET state = 'waiting', attempts = 0, queued_at = ?, "  # noqa: S608
        f"due_at = ?, ended_at = NULL, error = NULL WHERE state = 'given up' {condition}"
        "RETURNING job, webhook",
        (now, now, *([] if chosen is None else [chosen])),
    ).fetchall()
    for job, webhook in sorted(set(rows)):
        connection.execute(
            "UPDATE webhook_messages SET state = 'waiting' "
            "WHERE job = ? AND webhook = ? AND state = 'ready'",
            (job, webhook),
        )
        _make_ready(connection, job, webhook, now)
    return len(rows)


def purge(connection: sqlite3.Connection, *, before: float) -> int:
    """Remove old dead letters, and return their number."""
    return connection.execute(
        "DELETE FROM webhook_messages WHERE state = 'given up' AND ended_at < ?", [before]
    ).rowcount


def _make_ready(connection: sqlite3.Connection, job: str, webhook: str, now: float) -> None:
    connection.execute(
        "UPDATE webhook_messages SET state = 'ready', due_at = max(due_at, ?) WHERE id = "
        "(SELECT id FROM webhook_messages WHERE job = ? AND webhook = ? AND state <> 'given up' "
        "ORDER BY number LIMIT 1)",
        (now, job, webhook),
    )


def _message(row: Sequence[Any]) -> Message:
    values = list(row)
    values[7] = MessageState(values[7])
    return Message(*values)
