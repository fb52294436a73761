"""SQLite databases in the state folder. Every function blocks.

No run depends on such a file. It may be missing, damaged, written by another version, or in use by
other processes: it is then not used, and a damaged file is renamed.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cloudburst.paths import state_folder

logger = logging.getLogger(__name__)

STATE_LOCK_TIMEOUT = 2.0
"""Maximum number of seconds to wait while another process writes a database."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDatabase:
    """Database with one table in the state folder, which several processes use at once."""

    name: str
    """Name of the file."""
    create: str
    """SQL statement that creates the table."""
    schema: int
    """Version of the format."""

    @property
    def path(self) -> Path:
        """Path of the file, which need not exist."""
        return state_folder() / self.name

    def read(self, work: Callable[[sqlite3.Connection], _T], *, default: _T) -> _T:
        """Return what ``work`` reads; ``default`` if there is no usable database."""
        path = self.path
        return self._tolerant(
            path, lambda: self._call(path, work) if path.exists() else default, default=default
        )

    def write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Call ``work`` in a transaction; do nothing if the database cannot be written."""
        path = self.path

        def create_and_call() -> None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Readable by this user only; SQLite would use the process's default mode. An existing
            # file is not opened here: closing it would drop the locks that SQLite holds in this
            # process ("How To Corrupt An SQLite Database File", 2.2).
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self._call(path, work)

        self._tolerant(path, create_and_call, default=None)

    def _tolerant(self, path: Path, work: Callable[[], _T], *, default: _T) -> _T:
        """Return the result of ``work``, or ``default`` if the file cannot be used.

        An unreadable file is renamed, and ``work`` is called again without it.
        """
        try:
            try:
                return work()
            except sqlite3.DatabaseError as exc:
                if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _DAMAGED:
                    raise
                _set_aside(path, exc)
                return work()
        except (OSError, sqlite3.Error) as exc:
            logger.debug("%s is not used: %s", path, exc)
            return default

    def _call(self, path: Path, work: Callable[[sqlite3.Connection], _T]) -> _T:
        with closing(self._open(path)) as connection, connection:
            return work(connection)

    def _open(self, path: Path) -> sqlite3.Connection:
        """Open the file, and create its table if needed."""
        connection = sqlite3.connect(path, timeout=STATE_LOCK_TIMEOUT, isolation_level="IMMEDIATE")
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        with connection:
            if schema_of(connection) == 0:
                connection.execute("BEGIN IMMEDIATE")
                if schema_of(connection) == 0:  # no other process was faster
                    connection.execute(self.create)
                    connection.execute(f"PRAGMA user_version = {self.schema}")
            if (schema := schema_of(connection)) != self.schema:
                msg = f"its format is {schema}; this version of cloudburst reads {self.schema}"
                # A newer version of cloudburst still uses its file; no version uses an older
                # format.
                raise OSError(msg) if schema > self.schema else sqlite3.DatabaseError(msg)


def schema_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database's format; 0 for an empty database."""
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return int(schema)


def _set_aside(path: Path, why: Exception) -> None:
    aside = path.with_suffix(".damaged")
    logger.warning(
        "%s cannot be read (%s): renamed to %s, a new file is used", path, why, aside.name
    )
    path.replace(aside)
    # SQLite would apply the remaining journal to the new file.
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
