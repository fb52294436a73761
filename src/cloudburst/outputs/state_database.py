"""SQLite databases in the state folder. Every function blocks.

No run depends on such a file: if it is missing, damaged, or in use by other processes, it is not
used.
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

from cloudburst.files import state_folder

logger = logging.getLogger(__name__)

STATE_LOCK_TIMEOUT = 2.0
"""Maximum number of seconds to wait while another process writes a database."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDatabase:
    """Database with one table in the state folder, which several processes use at once."""

    name: str
    """Name of the file. It contains the version of the table, so that other versions of cloudburst
    use other files."""
    create: str
    """SQL statement that creates the table if it does not exist."""

    @property
    def path(self) -> Path:
        """Path of the file, which need not exist."""
        return state_folder() / self.name

    def read(self, work: Callable[[sqlite3.Connection], _T], *, default: _T) -> _T:
        """Return what ``work`` reads; ``default`` if there is no usable database."""
        return self._call(work, default) if self.path.exists() else default

    def write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Call ``work`` in a transaction; do nothing if the database cannot be written."""
        self._call(work, None)

    def _call(self, work: Callable[[sqlite3.Connection], _T], default: _T) -> _T:
        path = self.path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Readable by this user only. An existing file is not opened here: closing it would drop
            # the locks that SQLite holds in this process ("How To Corrupt An SQLite Database File",
            # 2.2).
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            opened = sqlite3.connect(path, STATE_LOCK_TIMEOUT, isolation_level="IMMEDIATE")
            with closing(opened) as connection, connection:
                connection.execute(self.create)
                return work(connection)
        except (OSError, sqlite3.OperationalError) as exc:
            logger.debug("%s is not used: %s", path, exc)
        except (sqlite3.Error, TypeError, ValueError) as exc:
            logger.warning("%s is damaged and is not used (%s): delete it", path, exc)
        return default


def schema_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database's format; 0 for an empty database."""
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return int(schema)
