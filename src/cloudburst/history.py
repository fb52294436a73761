"""Performance samples of earlier runs on this machine, in ``<state>/cloudburst/history.sqlite``.

No run depends on the file: if it cannot be read, a run starts with assumed values instead.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio import to_thread
from pydantic import TypeAdapter, ValidationError

from cloudburst.engine.forecast.measurements import MAX_SAMPLES_PER_MEASURE
from cloudburst.models.performance import Sample
from cloudburst.paths import state_folder
from cloudburst.safe_files import require_regular_file
from cloudburst.safe_sqlite import distrust_schema, require_safe_files

logger = logging.getLogger(__name__)

HISTORY_LOCK_TIMEOUT = 2.0
"""Maximum number of seconds to wait while another process writes the file."""
_SCHEMA = 3
_CREATE = """\
CREATE TABLE samples (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    measure TEXT NOT NULL,
    seconds REAL NOT NULL,
    work REAL NOT NULL
)"""
_INSERT = "INSERT INTO samples (kind, measure, seconds, work) VALUES (?, ?, ?, ?)"
_NUMBERED = """
SELECT id, kind, measure, seconds, work,
    row_number() OVER (PARTITION BY kind, measure ORDER BY id DESC) AS age
FROM samples
"""
_SELECT = f"SELECT kind, measure, seconds, work FROM ({_NUMBERED}) WHERE age <= ? ORDER BY id"  # noqa: S608 - our own names
_DELETE = f"DELETE FROM samples WHERE id IN (SELECT id FROM ({_NUMBERED}) WHERE age > ?)"  # noqa: S608 - our own names
_DELETE_OLD = "DELETE FROM samples WHERE id <= (SELECT max(id) FROM samples) - ?"
MAX_SAMPLES = 20_000
"""Maximum number of samples in the file, over all kinds of workers: about 2 MB. Each emulator that
a test starts has workers of another kind."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_SAMPLE = TypeAdapter(Sample)
_T = TypeVar("_T")


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
    path = history_file()
    try:
        require_regular_file(path.stat(), path)  # opening a pipe would block
    except OSError:
        return ()
    return _tolerant(path, _read, default=())


def write_history(samples: Iterable[Sample]) -> None:
    """Add samples as `save_history` does; block while the file is written."""
    if samples := tuple(samples):
        _tolerant(history_file(), partial(_write, samples=samples), default=None)


def history_file() -> Path:
    """Return the path of this user's file with measured speeds of workers."""
    return state_folder() / "history.sqlite"


def _tolerant(path: Path, work: Callable[[Path], _T], *, default: _T) -> _T:
    """Return the result of ``work``, or ``default`` if the file cannot be used.

    An unreadable file is renamed, and ``work`` is called again without it.
    """
    try:
        try:
            return work(path)
        except sqlite3.DatabaseError as exc:
            if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _DAMAGED:
                raise
            _set_aside(path, exc)
            return work(path)
    except (OSError, sqlite3.Error) as exc:
        logger.debug("%s is not used: %s", path, exc)
        return default


def _set_aside(path: Path, why: Exception) -> None:
    aside = path.with_suffix(".damaged")
    logger.warning(
        "%s cannot be read (%s): renamed to %s, a new file is used", path, why, aside.name
    )
    path.replace(aside)
    # SQLite would apply the remaining journal to the new file.
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)


def _read(path: Path) -> tuple[Sample, ...]:
    with closing(_open(path)) as connection:
        rows = connection.execute(_SELECT, (MAX_SAMPLES_PER_MEASURE,)).fetchall()
    return tuple(sample for row in rows if (sample := _sample(row)) is not None)


def _sample(row: tuple[object, ...]) -> Sample | None:
    kind, measure, seconds, work = row
    values = {"kind": kind, "measure": measure, "seconds": seconds, "work": work}
    try:
        return _SAMPLE.validate_python(values)
    except ValidationError:
        return None  # written by another version


def _write(path: Path, *, samples: Iterable[Sample]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Readable by this user only; SQLite would use the process's default mode. An existing file is
    # not opened here: closing it would drop the locks that SQLite holds in this process ("How To
    # Corrupt An SQLite Database File", 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(_open(path)) as connection, connection:
        connection.executemany(_INSERT, ((s.kind, s.measure, s.seconds, s.work) for s in samples))
        connection.execute(_DELETE, (MAX_SAMPLES_PER_MEASURE,))
        connection.execute(_DELETE_OLD, (MAX_SAMPLES,))


def _open(path: Path) -> sqlite3.Connection:
    """Open the file, and create its table if needed."""
    require_safe_files(path.resolve())  # SQLite follows links, and reads files beside the target
    connection = sqlite3.connect(path, timeout=HISTORY_LOCK_TIMEOUT, isolation_level="IMMEDIATE")
    try:
        distrust_schema(connection)
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    with connection:
        if _schema(connection) == 0:
            connection.execute("BEGIN IMMEDIATE")
            if _schema(connection) == 0:  # no other process was faster
                connection.execute(_CREATE)
                connection.execute(f"PRAGMA user_version = {_SCHEMA}")
        if (schema := _schema(connection)) != _SCHEMA:
            msg = f"its format is {schema}; this version of cloudburst reads {_SCHEMA}"
            # A newer version of cloudburst still uses its file; no version uses an older format.
            raise OSError(msg) if schema > _SCHEMA else sqlite3.DatabaseError(msg)
        # The limit is one row above the expected count: a planted file may have any number.
        query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL LIMIT 2"
        if connection.execute(query).fetchall() != [(_CREATE,)]:
            raise sqlite3.DatabaseError("its tables are not those of cloudburst")


def _schema(connection: sqlite3.Connection) -> int:
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return int(schema)
