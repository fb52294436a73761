"""Performance samples of earlier runs on this machine, in ``<state>/cloudburst/history-3.sqlite``.

No run depends on the file: if it cannot be read, a run starts with assumed values instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from anyio import to_thread

from cloudburst.databases import StateDatabase
from cloudburst.engine.forecast.measurements import MAX_SAMPLES_PER_MEASURE
from cloudburst.models.performance import Sample

_CREATE = """\
CREATE TABLE IF NOT EXISTS samples (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    measure TEXT NOT NULL,
    seconds REAL NOT NULL,
    work REAL NOT NULL
)"""
# Database of this user with measured speeds of workers.
HISTORY = StateDatabase(name="history-3.sqlite", create=_CREATE)
_INSERT = "INSERT INTO samples (kind, measure, seconds, work) VALUES (?, ?, ?, ?)"
_NUMBERED = """
SELECT id, kind, measure, seconds, work,
    row_number() OVER (PARTITION BY kind, measure ORDER BY id DESC) AS age
FROM samples
"""
_SELECT = f"SELECT kind, measure, seconds, work FROM ({_NUMBERED}) WHERE age <= ? ORDER BY id"  # noqa: S608 - our own names
_DELETE = f"DELETE FROM samples WHERE id IN (SELECT id FROM ({_NUMBERED}) WHERE age > ?)"  # noqa: S608 - our own names
_DELETE_OLD = "DELETE FROM samples WHERE id <= (SELECT max(id) FROM samples) - ?"
# Maximum number of samples in the file, over all kinds of workers: about 2 MB. Each emulator that a
# test starts has workers of another kind.
MAX_SAMPLES = 20_000


async def load_history() -> tuple[Sample, ...]:
    """Return the most recent samples for each kind of worker and phase, in measurement order."""
    return await to_thread.run_sync(read_history)


async def save_history(samples: Iterable[Sample]) -> None:
    """Add samples in the order in which they were measured, and delete the oldest ones.

    At most `MAX_SAMPLES` are kept, and `MAX_SAMPLES_PER_MEASURE` for each kind of worker and phase.
    """
    await to_thread.run_sync(write_history, tuple(samples))


def read_history() -> tuple[Sample, ...]:
    """Return the same samples as `load_history`; block while the file is read."""
    return HISTORY.read(_read, default=())


def write_history(samples: Iterable[Sample]) -> None:
    """Add samples as `save_history` does; block while the file is written."""
    rows = [(s.kind, s.measure, s.seconds, s.work) for s in samples]
    if not rows:
        return

    def write(connection: sqlite3.Connection) -> None:
        connection.executemany(_INSERT, rows)
        connection.execute(_DELETE, (MAX_SAMPLES_PER_MEASURE,))
        connection.execute(_DELETE_OLD, (MAX_SAMPLES,))

    HISTORY.write(write)


def _read(connection: sqlite3.Connection) -> tuple[Sample, ...]:
    rows = connection.execute(_SELECT, (MAX_SAMPLES_PER_MEASURE,)).fetchall()
    return tuple(
        Sample(kind=kind, measure=measure, seconds=seconds, work=work)
        for kind, measure, seconds, work in rows
    )
