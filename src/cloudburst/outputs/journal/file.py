"""Journal file: creating, opening, reading, writing and closing it. Every function blocks."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from cloudburst.errors import JournalError
from cloudburst.files import open_regular_file, require_regular_file, sync_folder
from cloudburst.models.journal_entries import Entry, JournalState
from cloudburst.outputs import databases
from cloudburst.outputs.databases import create_private_file, schema_of, transaction
from cloudburst.outputs.journal.tables import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    DamagedRowError,
    create_tables,
    insert,
    select,
)

# Largest size of a journal in bytes; ten thousand scenes take 8 MB.
MAX_JOURNAL_BYTES = 512 * 1024**2
# Maximum seconds to wait while another process uses the file, usually for milliseconds.
BUSY_TIMEOUT = 5.0
# Endings of the files that SQLite keeps beside a database.
_SUFFIXES = ("-wal", "-shm", "-journal")
# Last bytes of a rollback journal that ends with the name of a super-journal (``readSuperJournal``
# in SQLite's pager.c).
_NAMES_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")


class JournalFile:
    """Journal file of one process, for use by several threads.

    A closed file is never opened again, even if another thread still tries to use it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
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
            connection = self._open()
            with transaction(connection):
                insert(connection, entries)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._closed:
                msg = f"{self.path} was closed"
                raise JournalError(msg)
            if not self.path.exists():
                _create(self.path)
            connection = connect(self.path)
            try:
                check_format(connection, self.path)
                # A commit is the removal of the rollback journal, and only EXTRA syncs that:
                # https://sqlite.org/pragma.html#pragma_synchronous
                connection.execute("PRAGMA synchronous = EXTRA")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing journal file with SQLite, which takes back an incomplete commit first.

    The file may be in a folder from another person. So this raises ``OSError`` for a file that is
    too large, and for a link through which SQLite would write elsewhere, and `JournalError` for a
    rollback journal that names a super-journal: SQLite deletes the file of that name, wherever it
    is. Only transactions over several attached databases have super-journals.
    """
    for suffix in ("", *_SUFFIXES):
        file = path.with_name(path.name + suffix)
        with suppress(*((FileNotFoundError,) if suffix else ())):
            # The database is not opened here: closing it would drop the locks that SQLite holds in
            # this process ("How To Corrupt An SQLite Database File", 2.2).
            status = file.lstat()
            require_regular_file(status, file)
            if status.st_size > MAX_JOURNAL_BYTES:
                reason = f"larger than {MAX_JOURNAL_BYTES // 1024**2} MB"
                raise OSError(errno.EFBIG, reason, str(file))
    rollback = path.with_name(f"{path.name}-journal")
    with suppress(FileNotFoundError), open_regular_file(rollback, follow_links=False) as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(size - len(_NAMES_SUPER_JOURNAL), 0))
        if opened.read() == _NAMES_SUPER_JOURNAL:
            raise damaged_error(path, "its rollback journal names another file")
    return databases.connect(path, busy_timeout=BUSY_TIMEOUT)


def check_format(
    connection: sqlite3.Connection, path: Path, *, check_integrity: bool = True
) -> None:
    """Raise `JournalError` for a file that is not a journal, has another format, or is damaged."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        msg = f"{path} is not a journal of cloudburst: move it away, or choose another run name"
        raise JournalError(msg, path=path)
    if (schema := schema_of(connection)) != SCHEMA_VERSION:
        msg = (
            f"{path} was written by another version of cloudburst (format {schema}; this version "
            f"reads {SCHEMA_VERSION}): use that version, or choose another run name"
        )
        raise JournalError(msg, path=path)
    query = "SELECT 1 FROM sqlite_master WHERE type IN ('view', 'trigger')"
    if connection.execute(query).fetchone():  # one without an end could not be interrupted
        raise damaged_error(path, "it has views or triggers")
    if check_integrity:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise damaged_error(path, found)


def select_all(connection: sqlite3.Connection) -> JournalState:
    """Return the state of a run from all entries of its journal, read in one transaction."""
    with transaction(connection, "BEGIN"):
        return select(connection)


def damaged_error(path: Path, found: str) -> JournalError:
    """Return the error for a damaged journal."""
    msg = (
        f"{path} is damaged ({found}): the run cannot be resumed. Finished videos are intact. "
        "Restore a backup of the file if there is one, or delete it and render the missing scenes "
        "as a new run (cloudburst tasks lists the tasks of this one)"
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
    except sqlite3.OperationalError as exc:
        # A table or a column is missing, or a text is not UTF-8, for which there is no code.
        if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR:
            raise damaged_error(path, str(exc)) from exc
        raise OSError(f"{exc} ({exc.sqlite_errorname})") from exc
    except (sqlite3.Error, DamagedRowError, UnicodeError) as exc:
        raise damaged_error(path, str(exc)) from exc


@contextmanager
def read_errors(path: Path) -> Generator[None]:
    """Raise an ``OSError`` that `translated_errors` leaves as `JournalError`: it cannot be read."""
    try:
        yield
    except OSError as exc:
        raise JournalError(f"{path} cannot be read: {exc}", path=path) from exc


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".sqlite-new")
    draft.unlink(missing_ok=True)  # left by a process that was killed here
    create_private_file(draft)  # SQLite's files beside it get the same mode
    with closing(databases.connect(draft, busy_timeout=BUSY_TIMEOUT)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")  # an incomplete draft is never used
        with transaction(connection):
            create_tables(connection)
    for suffix in _SUFFIXES:
        # SQLite would apply the remaining files of a removed journal to this one.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    draft.replace(path)
    sync_folder(path.parent)


def journal_files(path: Path) -> list[Path]:
    """Return the existing files of a journal: the database, then SQLite's files beside it."""
    files = (path.with_name(path.name + suffix) for suffix in ("", *_SUFFIXES))
    return [file for file in files if os.path.lexists(file)]
