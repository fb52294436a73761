"""How fast things went on this machine's runs: kept in ``<state>/cloudburst/history.sqlite``.

No run depends on it. A file that cannot be read or written is told of, and a run that knows
nothing learns anew.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio import to_thread
from pydantic import TypeAdapter, ValidationError

from cloudburst.engine.figures import KEPT
from cloudburst.models.pace import Sample
from cloudburst.state import state_folder

logger = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds to wait for another process that writes."""
_SCHEMA = 1
_CREATE = """
CREATE TABLE samples (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    measure TEXT NOT NULL,
    seconds REAL NOT NULL,
    sound REAL NOT NULL
)
"""
_INSERT = "INSERT INTO samples (kind, measure, seconds, sound) VALUES (?, ?, ?, ?)"
_NUMBERED = """
SELECT id, kind, measure, seconds, sound,
    row_number() OVER (PARTITION BY kind, measure ORDER BY id DESC) AS age
FROM samples
"""
_SELECT = f"SELECT kind, measure, seconds, sound FROM ({_NUMBERED}) WHERE age <= ? ORDER BY id"  # noqa: S608 - our own names
_DELETE = f"DELETE FROM samples WHERE id IN (SELECT id FROM ({_NUMBERED}) WHERE age > ?)"  # noqa: S608 - our own names
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_SAMPLE = TypeAdapter(Sample)
_T = TypeVar("_T")


async def load_history() -> tuple[Sample, ...]:
    """The newest samples of each kind and measure, the oldest first; none where none are kept."""
    return await to_thread.run_sync(read_history)


async def save_history(samples: Iterable[Sample]) -> None:
    """Add samples, in the order in which they were measured; the oldest ones go for them."""
    await to_thread.run_sync(write_history, tuple(samples))


def read_history() -> tuple[Sample, ...]:
    """As `load_history`; blocks while it reads."""
    path = history_file()
    try:
        if not path.exists():
            return ()
    except OSError:
        return ()
    return _tolerant(path, _read, default=())


def write_history(samples: Iterable[Sample]) -> None:
    """As `save_history`; blocks while it writes."""
    if samples := tuple(samples):
        _tolerant(history_file(), partial(_write, samples=samples), default=None)


def history_file() -> Path:
    """Where they are kept."""
    return state_folder() / "history.sqlite"


def _tolerant(path: Path, work: Callable[[Path], _T], *, default: _T) -> _T:
    """Do it, anew if the file is damaged, or not at all."""
    try:
        try:
            return work(path)
        except sqlite3.DatabaseError as exc:
            if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _DAMAGED:
                raise
            _set_aside(path, exc)
            return work(path)
    except (OSError, sqlite3.Error) as exc:
        logger.debug("%s is left alone: %s", path, exc)
        return default


def _set_aside(path: Path, why: Exception) -> None:
    aside = path.with_suffix(".damaged")
    logger.warning("%s is damaged (%s): set aside as %s, and begun anew", path, why, aside.name)
    path.replace(aside)
    # What SQLite has left beside it would be taken for the new file's.
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)


def _read(path: Path) -> tuple[Sample, ...]:
    with closing(_open(path)) as connection:
        rows = connection.execute(_SELECT, (KEPT,)).fetchall()
    return tuple(sample for row in rows if (sample := _sample(row)) is not None)


def _sample(row: tuple[object, ...]) -> Sample | None:
    kind, measure, seconds, sound = row
    values = {"kind": kind, "measure": measure, "seconds": seconds, "sound": sound}
    try:
        return _SAMPLE.validate_python(values)
    except ValidationError:
        return None  # of a version that measures something else


def _write(path: Path, *, samples: Iterable[Sample]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(_open(path)) as connection, connection:
        connection.executemany(_INSERT, ((s.kind, s.measure, s.seconds, s.sound) for s in samples))
        connection.execute(_DELETE, (KEPT,))


def _open(path: Path) -> sqlite3.Connection:
    """Open the file, and make what is missing in it."""
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level="IMMEDIATE")
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    with connection:
        if _schema(connection) == 0:
            connection.execute("BEGIN IMMEDIATE")
            if _schema(connection) == 0:  # nobody was first
                connection.execute(_CREATE)
                connection.execute(f"PRAGMA user_version = {_SCHEMA}")
        if (schema := _schema(connection)) != _SCHEMA:
            msg = f"its format is {schema}; this version of cloudburst reads {_SCHEMA}"
            raise OSError(msg)


def _schema(connection: sqlite3.Connection) -> int:
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return int(schema)
