"""Journal file: creating, opening, reading, writing and closing it. Every function blocks."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cloudburst.errors import JournalError
from cloudburst.journal.disk_reserve import reserve_disk_space
from cloudburst.journal.mounts import network_file_system
from cloudburst.journal.tables import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    DamagedRowError,
    create_tables,
    has_our_tables,
    insert,
    select,
)
from cloudburst.models.journal_entries import Entry
from cloudburst.models.journal_state import JournalState
from cloudburst.safe_sqlite import DATABASE_FILE_SUFFIXES, distrust_schema, require_safe_files

logger = logging.getLogger(__name__)

MAX_JOURNAL_BYTES = 512 * 1024**2
"""Largest size of a journal in bytes; ten thousand scenes take 8 MB."""
BUSY_TIMEOUT = 5.0
"""Maximum seconds to wait while another process uses the file, usually for milliseconds."""
_NO_WAL = (
    "%s is %s: it is written without a WAL, more slowly, and depends on the locks of that file "
    "system. Do not run two machines on the same run"
)
_CHECKPOINT_PAGES = 16
"""Number of pages in SQLite's write-ahead log (WAL) at which the pages are copied into the journal
file. About four commits fill this number of pages, so damage to the WAL, such as a flipped bit, can
lose no more than these commits."""
_CODES_WITHOUT_DAMAGE = {
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
}
"""Primary result codes of SQLite that do not mean that the contents of the file are damaged."""


class JournalFile:
    """Journal file of one process, for use by several threads.

    A closed file is never opened again, even if another thread still tries to use it.
    """

    def __init__(
        self,
        path: Path,
        *,
        network: Callable[[Path], str | None] = network_file_system,
    ) -> None:
        self.path = path
        self._network = network
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._wal: Path | None = None  # WAL in which space is not reserved yet
        self._closed = False

    def open(self) -> None:
        """Create the file, or check that the run in an existing file can be resumed.

        Raises `JournalError` if the file is damaged or not a journal, and ``OSError`` if it cannot
        be accessed.
        """
        with self._lock, translated_errors(self.path):
            self._open()

    def read(self) -> JournalState:
        """Return the state of the run from all committed entries.

        Raises `JournalError` if the file is damaged or not a journal, and ``OSError`` if it cannot
        be accessed.
        """
        with self._lock, translated_errors(self.path):
            return select_all(self._open())

    def commit(self, entries: Sequence[Entry]) -> None:
        """Write the entries so that they survive a power failure.

        If this raises `JournalError` or ``OSError``, none of the entries was written.
        """
        with self._lock, translated_errors(self.path):
            if self._connection is not None and not self.path.exists():
                raise FileNotFoundError(errno.ENOENT, "removed during its run", str(self.path))
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                insert(connection, entries)
                connection.execute("COMMIT")
                if entries and self._wal is not None:
                    reserve_disk_space(self._wal)  # it exists since the first commit
                    self._wal = None
            except BaseException:
                if connection.in_transaction:  # some errors roll back by themselves
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None:
                _leave_wal_mode(connection)
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
            if kind:  # before the first read, so that SQLite does not map a WAL into memory
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            check_format(connection, self.path)
            if kind:
                logger.warning(_NO_WAL, self.path, f"on a network file system ({kind})")
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA locking_mode = NORMAL")
            else:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                if mode != "wal":
                    logger.warning(_NO_WAL, self.path, "on a file system without support for WAL")
                    kind = mode
                else:
                    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
                    self._wal = self.path.with_name(f"{self.path.name}-wal")
            # In WAL mode FULL syncs at each commit. Otherwise a commit is the removal of a file,
            # and only EXTRA syncs that: https://sqlite.org/pragma.html#pragma_synchronous
            connection.execute(f"PRAGMA synchronous = {'EXTRA' if kind else 'FULL'}")
        except BaseException:
            connection.close()
            raise
        return connection


def _leave_wal_mode(connection: sqlite3.Connection) -> None:
    """Turn off SQLite's write-ahead log, so that later readers leave no files beside a journal."""
    with suppress(sqlite3.Error):  # another process is reading, or the disk is full
        connection.execute("PRAGMA busy_timeout = 100")
        connection.execute("PRAGMA journal_mode = DELETE")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open an existing journal file with SQLite, in mode ``ro`` or ``rw``.

    Raises ``OSError`` for a file that is too large, and the same errors as `require_safe_files`.
    """
    if require_safe_files(path) > MAX_JOURNAL_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MAX_JOURNAL_BYTES // 1024**2} MB", str(path))
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,  # transactions are begun by hand
        check_same_thread=False,
    )
    try:
        distrust_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_format(
    connection: sqlite3.Connection, path: Path, *, check_integrity: bool = True
) -> None:
    """Raise `JournalError` for a file that is not a journal, has another format, or is damaged."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        msg = f"{path} is not a journal of cloudburst: move it away, or choose another run name"
        raise JournalError(msg, path=path)
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if schema != SCHEMA_VERSION:
        msg = (
            f"{path} was written by another version of cloudburst (format {schema}; this version "
            f"reads {SCHEMA_VERSION}): use that version, or choose another run name"
        )
        raise JournalError(msg, path=path)
    if not has_our_tables(connection):
        raise damaged_error(path, "its tables are not those of a journal")
    if check_integrity:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise damaged_error(path, found)


def select_all(connection: sqlite3.Connection) -> JournalState:
    """Return the state of a run from all entries of its journal, read in one transaction."""
    connection.execute("BEGIN")
    try:
        return select(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def damaged_error(path: Path, found: str) -> JournalError:
    """Return the error for a damaged journal."""
    msg = (
        f"{path} is damaged ({found}): the run cannot be resumed. Finished videos are intact. "
        "Restore a backup of the file and of its -wal if there is one, or move both away and "
        "render the missing scenes as a new run (cloudburst tasks lists the tasks of this one)"
    )
    return JournalError(msg, path=path)


@contextmanager
def translated_errors(path: Path) -> Generator[None]:
    """Raise errors of SQLite as `JournalError` for damaged contents, otherwise as ``OSError``.

    ``path`` is the journal that the errors name.
    """
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a defect of this package
    except sqlite3.Error as exc:
        if primary_code(exc) not in _CODES_WITHOUT_DAMAGE:
            raise damaged_error(path, str(exc)) from exc
        raise OSError(f"{exc} ({exc.sqlite_errorname})") from exc
    except (DamagedRowError, UnicodeError) as exc:
        raise damaged_error(path, str(exc)) from exc


def primary_code(exc: sqlite3.Error) -> int:
    """Return the primary result code of an SQLite error.

    An error without a code, such as the one for invalid UTF-8, counts as damage.
    """
    return getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF


def _create(path: Path) -> None:
    """Create an empty journal, so that it exists completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".sqlite-new")
    draft.unlink(missing_ok=True)  # left by a process that was killed here
    # Readable by this user only, and always a new file. SQLite's files beside it get the same mode.
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")  # an incomplete draft is never used
        connection.execute("BEGIN")
        create_tables(connection)
        connection.execute("COMMIT")
    for suffix in DATABASE_FILE_SUFFIXES[1:]:
        # SQLite would apply the remaining files of a removed journal to this one.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new file names in a folder survive a power failure, if the system supports it."""
    with suppress(OSError):  # Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
