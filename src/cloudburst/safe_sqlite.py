"""Safe opening of SQLite databases from untrusted sources. Every function here blocks.

SQLite trusts the files beside a database, and the views and triggers inside it. This package
creates nothing that the functions here refuse, so a database with such content was planted or
damaged.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from cloudburst.safe_files import require_regular_file

DATABASE_FILE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""Suffixes of the files of one database: none for the database itself, and those that SQLite
appends for the files beside it."""
_NAMES_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""Last bytes of a rollback journal that ends with the name of a super-journal
(``readSuperJournal`` in SQLite's pager.c)."""
_OPEN = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)  # Windows
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe returns at once
)


def require_safe_files(database: Path) -> int:
    """Check the files of a database, and return their total size in bytes.

    Call it right before the database is opened for writing. The files that SQLite keeps beside the
    database need not exist.

    Raises ``OSError`` for anything but a regular file, such as a symbolic link through which SQLite
    would write elsewhere, and ``sqlite3.DatabaseError`` for a rollback journal that names a
    super-journal: SQLite deletes the file of that name, wherever it is, after the rollback. Only
    transactions over several attached databases have super-journals.
    """
    size = 0
    for suffix in DATABASE_FILE_SUFFIXES:
        file = database.with_name(database.name + suffix)
        with suppress(*() if not suffix else (FileNotFoundError,)):
            status = file.lstat()
            require_regular_file(status, file)
            size += status.st_size
            if suffix == "-journal" and _last_bytes(file) == _NAMES_SUPER_JOURNAL:
                msg = "its rollback journal names another file, which SQLite would delete"
                raise sqlite3.DatabaseError(msg)
    return size


def distrust_schema(connection: sqlite3.Connection) -> None:
    """Forbid the database's own views and triggers, and functions that have side effects.

    A process that can write to the file can add views and triggers at any time, even after its
    tables were checked. A statement that would use one fails with ``SQLITE_AUTH``.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.set_authorizer(_deny_views_and_triggers)


def _deny_views_and_triggers(
    _action: int, _first: str | None, _second: str | None, _database: str | None, source: str | None
) -> int:
    """Deny every access by a view or trigger; allow our own statements.

    ``source`` is the name of the view or trigger; ``None`` for our own statements.
    """
    return sqlite3.SQLITE_OK if source is None else sqlite3.SQLITE_DENY


def _last_bytes(path: Path) -> bytes:
    descriptor = os.open(path, _OPEN)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        require_regular_file(status, path)
        file.seek(max(status.st_size - len(_NAMES_SUPER_JOURNAL), 0))
        return file.read(len(_NAMES_SUPER_JOURNAL))
