"""SQLite database of the jobs in a folder, for one thread of each process."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import ClosedError, JobStorageError
from cloudburst.jobs.folder import storage_errors
from cloudburst.jobs.webhooks import outbox
from cloudburst.outputs import databases
from cloudburst.outputs.databases import create_private_file, schema_of, transaction

DATABASE_NAME = "jobs.sqlite"
# Maximum number of seconds to wait while another process writes, which takes milliseconds.
BUSY_TIMEOUT = 10.0
# Seconds between two attempts for which SQLite does not wait itself.
BUSY_INTERVAL = 0.02
# Maximum number of seconds that a call waits for earlier ones of this process.
CALL_TIMEOUT = 30.0
_T = TypeVar("_T")
Work = Callable[[sqlite3.Connection], _T]

_FORMAT_1 = (
    # The request is the last column: it may have megabytes, which SQLite would read to get to the
    # columns behind it.
    (
        "CREATE TABLE jobs (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
        "owner TEXT NOT NULL, state TEXT NOT NULL, metadata TEXT NOT NULL, "
        "created_at REAL NOT NULL, started_at REAL, finished_at REAL, process TEXT, "
        "starts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0, "
        "cancel_requested INTEGER NOT NULL DEFAULT 0, "
        "scenes INTEGER NOT NULL, completed INTEGER NOT NULL DEFAULT 0, "
        "failed INTEGER NOT NULL DEFAULT 0, usd TEXT, cost_final INTEGER NOT NULL DEFAULT 0, "
        "error TEXT, film INTEGER NOT NULL, destination TEXT, bytes INTEGER NOT NULL DEFAULT 0, "
        "last_event INTEGER NOT NULL DEFAULT 0, "
        "video_seconds REAL NOT NULL DEFAULT 0, open INTEGER NOT NULL DEFAULT 0, "
        "webhook TEXT, idempotency_key TEXT, name TEXT NOT NULL DEFAULT '', "
        "terms TEXT NOT NULL DEFAULT '{}', cover TEXT, reserved_usd TEXT, "
        "request_sha256 TEXT NOT NULL, request TEXT NOT NULL, "
        "UNIQUE (owner, idempotency_key))"
    ),
    "CREATE INDEX jobs_of_state ON jobs (state)",
    # The columns behind the first two let SQLite compute what an owner has without reading rows.
    (
        "CREATE INDEX jobs_of_owner ON jobs "
        "(owner, sequence, state, bytes, created_at, finished_at, usd, video_seconds)"
    ),
    "CREATE INDEX jobs_of_process ON jobs (process) WHERE process IS NOT NULL",
    (
        "CREATE TABLE events (job TEXT NOT NULL, number INTEGER NOT NULL, time REAL NOT NULL, "
        "type TEXT NOT NULL, scene TEXT, data TEXT NOT NULL, "
        "PRIMARY KEY (job, number)) WITHOUT ROWID"
    ),
    (
        "CREATE INDEX events_of_outcomes ON events (job, scene, number) "
        "WHERE type IN ('film.completed', 'scene.completed', 'scene.failed')"
    ),
    (
        "CREATE TABLE progress (job TEXT PRIMARY KEY, value TEXT NOT NULL, time REAL NOT NULL) "
        "WITHOUT ROWID"
    ),
    "CREATE TABLE reports (job TEXT PRIMARY KEY, report TEXT NOT NULL) WITHOUT ROWID",
    (
        "CREATE TABLE uploads (id TEXT PRIMARY KEY, owner TEXT NOT NULL, "
        "bytes INTEGER NOT NULL, created_at REAL NOT NULL) WITHOUT ROWID"
    ),
    # Scenes of jobs that are or were open, whose requests have none, until they are resumed.
    (
        "CREATE TABLE scenes (job TEXT NOT NULL, number INTEGER NOT NULL, "
        "folded_name TEXT NOT NULL, scene TEXT NOT NULL, PRIMARY KEY (job, number), "
        "UNIQUE (job, folded_name)) WITHOUT ROWID"
    ),
    *outbox.CREATE_TABLES,
)
# Statements that bring a database to each format from the one before; the first creates it. What a
# release has is never changed: a new format is a further step, and `tests/support` gets a file of
# the last one.
STEPS: tuple[tuple[str, ...], ...] = (_FORMAT_1,)


@asynccontextmanager
async def open_database(folder: Path) -> AsyncGenerator[JobDatabase]:
    """Open the database of a folder; create both if they do not exist.

    Raises `JobStorageError` if the folder cannot be used.
    """
    database = JobDatabase(folder)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


class JobDatabase:
    """Connection of this process, used by one thread at a time, each time in a transaction."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE_NAME
        self._limiter = CapacityLimiter(1)
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the connection. Raises `JobStorageError` if that is not possible."""
        await self._in_thread(self._open)

    async def close(self) -> None:
        """Close the connection for good."""
        await self._in_thread(self._close)

    async def read(self, work: Work[_T]) -> _T:
        """Return what ``work`` reads. Raises `JobStorageError` if the file cannot be read."""
        return await self._in_thread(self._call, work, "BEGIN")

    async def write(self, work: Work[_T]) -> _T:
        """Call ``work`` and make its changes permanent, or none of them if it raises an error.

        A cancellation does not interrupt it, and is raised when the changes are permanent. Raises
        `JobStorageError` if the file cannot be written.
        """
        return await self._in_thread(self._call, work, "BEGIN IMMEDIATE")

    async def _in_thread(self, function: Callable[..., _T], *args: object) -> _T:
        call = partial(to_thread.run_sync, function, *args, limiter=self._limiter)
        try:
            return await finish_despite_cancel(call, seconds=CALL_TIMEOUT)
        except TimeoutError as exc:
            msg = f"{self.path} did not answer within {CALL_TIMEOUT:g} s: the disk is too slow"
            raise JobStorageError(msg) from exc

    def _call(self, work: Work[_T], begin: str) -> _T:
        if (connection := self._connection) is None:
            raise ClosedError(f"{self.path} is closed: its queue of jobs has ended")
        with storage_errors(self.path), transaction(connection, begin):
            return work(connection)

    def _open(self) -> None:
        with storage_errors(self.path):
            self._connection = _connect(self.path)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with storage_errors(self.path):
                connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    create_private_file(path)
    connection = databases.connect(path, busy_timeout=BUSY_TIMEOUT)
    try:
        connection.create_function("casefold", 1, str.casefold, deterministic=True)
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")  # events that were sent must not be lost
        with transaction(connection):
            upgrade(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Processes read while one of them writes. SQLite does not wait for the lock that the change
    # needs, which another process may have that started at the same time.
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(BUSY_INTERVAL)
        else:
            return


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a database to the newest format; raise an error for a newer one."""
    found = schema_of(connection)
    if found > len(STEPS):
        msg = (
            f"a newer version of cloudburst has written it (format {found}), and this version "
            f"reads formats up to {len(STEPS)}: install the newer version again, or choose another "
            "folder for the jobs"
        )
        raise sqlite3.DatabaseError(msg)
    for statement in chain.from_iterable(STEPS[found:]):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")
