"""A journal's file: opened, written, read and closed. Everything here blocks."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cloudburst.errors import JournalError
from cloudburst.journal.mounts import network_file_system
from cloudburst.journal.tables import APPLICATION, SCHEMA, DamagedError, create, insert, select
from cloudburst.models.entries import Entry
from cloudburst.models.past import Past

logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds to wait for another process that reads or writes the same file; it needs milliseconds."""
_NO_WAL = (
    "%s lies %s: it is written the slow way, which trusts that system's locks. Let no two machines "
    "work on the same run"
)
_CIRCUMSTANCES = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOLFS,
    sqlite3.SQLITE_AUTH,
}
"""Primary result codes that do not blame the contents of the file."""


class JournalFile:
    """One journal, for one process. Callers from several threads take turns.

    Once it was closed it cannot be opened any more: whoever closes it may not know whether a
    thread is still about to open it.
    """

    def __init__(
        self, path: Path, *, network: Callable[[Path], str | None] = network_file_system
    ) -> None:
        self.path = path
        self._network = network
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def open(self) -> None:
        """Make the file, or see that what is there can be gone on with.

        Raises `JournalError` and ``OSError``.
        """
        with self._turn, told(self.path):
            self._open()

    def read(self) -> Past:
        """All that was committed. Raises `JournalError` and ``OSError``."""
        with self._turn, told(self.path):
            return select_all(self._open())

    def commit(self, entries: Sequence[Entry]) -> None:
        """Return when the entries would outlive the loss of power.

        Raises `JournalError` and ``OSError``, and then none of them was written.
        """
        with self._turn, told(self.path):
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                insert(connection, entries)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # some errors have rolled it back already
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None:
                _leave_one_file(connection)
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._closed:
                msg = f"{self.path} was closed"
                raise JournalError(msg)
            if not self.path.exists():
                _create(self.path)
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path, "rw")
        try:
            kind = self._network(self.path.parent)
            if kind:  # before anything is read, so that no WAL is mapped into memory there
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            check(connection, self.path)
            if kind:
                logger.warning(_NO_WAL, self.path, f"on a network file system ({kind})")
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA locking_mode = NORMAL")
            else:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                if mode != "wal":
                    logger.warning(_NO_WAL, self.path, "where SQLite can have no WAL")
                    kind = mode
            # In WAL mode FULL syncs at each commit. Otherwise a commit is the removal of a file,
            # and only EXTRA syncs that: https://sqlite.org/pragma.html#pragma_synchronous
            connection.execute(f"PRAGMA synchronous = {'EXTRA' if kind else 'FULL'}")
        except BaseException:
            connection.close()
            raise
        return connection


def _leave_one_file(connection: sqlite3.Connection) -> None:
    """Leave WAL mode: whoever may only read would make its files anew, and leave them behind."""
    with suppress(sqlite3.Error):  # somebody reads just now, or the disk is full
        connection.execute("PRAGMA busy_timeout = 100")
        connection.execute("PRAGMA journal_mode = DELETE")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file that is there: ``ro`` or ``rw``."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,  # transactions are begun by hand
        check_same_thread=False,
    )


def check(connection: sqlite3.Connection, path: Path, *, thoroughly: bool = True) -> None:
    """Raise `JournalError` for what is no journal, one of a newer version, or a damaged one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        msg = f"{path} is no journal of cloudburst: move it away, or name the run otherwise"
        raise JournalError(msg, path=path)
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if schema != SCHEMA:
        msg = (
            f"{path} was written by a newer cloudburst (format {schema}; this one reads {SCHEMA}): "
            "go on with that one, or name the run otherwise"
        )
        raise JournalError(msg, path=path)
    if thoroughly:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise damaged(path, found)


def select_all(connection: sqlite3.Connection) -> Past:
    """All of it, as it was at one moment."""
    connection.execute("BEGIN")
    try:
        return select(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def damaged(path: Path, found: str) -> JournalError:
    """The error for a file whose contents are not what was written."""
    msg = (
        f"{path} is damaged ({found}): its run cannot be gone on with. Videos that are there are "
        "whole. Put back a copy of it, and of its -wal if there is one; or move both away and "
        "render what is missing as another run (cloudburst tasks shows what is left of this one)"
    )
    return JournalError(msg, path=path)


@contextmanager
def told(path: Path) -> Generator[None]:
    """Errors of SQLite as `JournalError` where the contents are to blame, else as ``OSError``."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a defect of ours
    except sqlite3.Error as exc:
        if primary_code(exc) not in _CIRCUMSTANCES:
            raise damaged(path, str(exc)) from exc
        raise OSError(f"{exc} ({exc.sqlite_errorname})") from exc
    except (DamagedError, UnicodeError) as exc:
        raise damaged(path, str(exc)) from exc


def primary_code(exc: sqlite3.Error) -> int:
    """SQLite's primary result code; text that is no UTF-8 has none, and is damage."""
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def _create(path: Path) -> None:
    """Make an empty journal: it is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".sqlite-new")
    draft.unlink(missing_ok=True)  # of a process that died just here
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")  # nobody wants half a draft back
        connection.execute("BEGIN")
        create(connection)
        connection.execute("COMMIT")
    for suffix in ("-wal", "-shm", "-journal"):
        # Left alone by one that was removed, it would be taken for a part of this one.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder outlive the loss of power, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
