"""SQLite databases: opening and transactions. All block."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open an existing database for one thread at a time; transactions are begun by hand.

    ``busy_timeout`` is the maximum number of seconds to wait while another process writes.
    """
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def create_private_file(path: Path) -> None:
    """Create an empty file that only this user can read, and its folder, if they do not exist."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An existing file is not opened: closing it would drop the locks that SQLite holds in this
    # process ("How To Corrupt An SQLite Database File", 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Generator[None]:
    """Commit what the block writes, or nothing of it if the block raises an error."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors roll back by themselves
            connection.execute("ROLLBACK")
        raise


def schema_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database's format; 0 for an empty database."""
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return int(schema)
