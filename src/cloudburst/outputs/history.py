"""Performance samples of earlier runs on this machine, in ``<state>/cloudburst/history-3.sqlite``.

Several processes use it at once. No run depends on it: if it is missing, damaged or in use, a run
starts with assumed values instead. Other versions of the table have other files.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing, contextmanager
from pathlib import Path

from cloudburst.engine.forecast.measurements import MAX_SAMPLES_PER_MEASURE
from cloudburst.files import state_folder
from cloudburst.models.performance import Sample
from cloudburst.outputs.databases import connect, create_private_file, transaction

logger = logging.getLogger(__name__)

# Maximum number of seconds to wait while another process writes.
BUSY_TIMEOUT = 2.0

_CREATE = """\
CREATE TABLE IF NOT EXISTS samples (
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
# Maximum number of samples in the file, over all kinds of workers: about 2 MB. Each emulator that a
# test starts has workers of another kind.
MAX_SAMPLES = 20_000


def history_path() -> Path:
    """Return the path of the file, which need not exist."""
    return state_folder() / "history-3.sqlite"


def read_history() -> tuple[Sample, ...]:
    """Return the latest samples for each kind of worker and phase, in their order. Blocks."""
    with _errors_logged():
        if history_path().exists():
            with _opened() as connection, transaction(connection, "BEGIN"):
                rows = connection.execute(_SELECT, (MAX_SAMPLES_PER_MEASURE,)).fetchall()
                return tuple(
                    Sample(kind=kind, measure=measure, seconds=seconds, work=work)
                    for kind, measure, seconds, work in rows
                )
    return ()


def write_history(samples: Iterable[Sample]) -> None:
    """Add samples in the order in which they were measured, and delete the oldest ones. Blocks.

    At most `MAX_SAMPLES` are kept, and `MAX_SAMPLES_PER_MEASURE` for each kind of worker and phase.
    """
    if rows := [(s.kind, s.measure, s.seconds, s.work) for s in samples]:
        with _errors_logged(), _opened() as connection, transaction(connection):
            connection.executemany(_INSERT, rows)
            connection.execute(_DELETE, (MAX_SAMPLES_PER_MEASURE,))
            connection.execute(_DELETE_OLD, (MAX_SAMPLES,))


@contextmanager
def _opened() -> Generator[sqlite3.Connection]:
    create_private_file(history_path())
    with closing(connect(history_path(), busy_timeout=BUSY_TIMEOUT)) as connection:
        connection.execute(_CREATE)
        yield connection


@contextmanager
def _errors_logged() -> Generator[None]:
    try:
        yield
    except (OSError, sqlite3.OperationalError) as exc:
        logger.debug("%s is not used: %s", history_path(), exc)
    except (sqlite3.Error, TypeError, ValueError) as exc:
        logger.warning("%s is damaged and is not used (%s): delete it", history_path(), exc)
