"""The journals of a folder, as anybody may read them while their runs go on."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cloudburst.errors import JournalError
from cloudburst.journal.file import check, connect, primary_code, select_all, told
from cloudburst.journal.tables import select_end
from cloudburst.models.past import Past
from cloudburst.models.report import Status

HOME = ".cloudburst"
"""Within the output folder."""
_NEEDS_WRITING = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def journal_path(folder: Path, run: str) -> Path:
    """Where the journal of a run lies, if there is one."""
    return folder.absolute() / HOME / f"{run}.sqlite"


def journals(folder: Path) -> tuple[Path, ...]:
    """Those of all runs of an output folder, by name. The run is the ``stem``."""
    return tuple(sorted((folder.absolute() / HOME).glob("*.sqlite")))


def read_past(path: Path) -> Past:
    """What a journal says now, while its run may go on in another process. Blocks.

    Raises `JournalError` for one that cannot be read, or is not there.
    """
    try:
        with told(path):
            return _read(path)
    except OSError as exc:
        raise JournalError(f"{path} cannot be read: {exc}", path=path) from exc


def completed(path: Path) -> float | None:
    """When its run was complete, as seconds since the epoch; ``None``: it is not, or who knows.

    Blocks.
    """
    try:
        with told(path), closing(connect(path, "ro")) as connection:
            check(connection, path, thoroughly=False)
            end = select_end(connection)
    except (OSError, JournalError):
        return None
    return end.ended if end is not None and end.status is Status.COMPLETE else None


def parts(path: Path) -> Iterator[Path]:
    """The file, and then what SQLite keeps beside it: as much as there is."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            yield part


def _read(path: Path) -> Past:
    try:
        return _read_from(path, "ro")
    except sqlite3.OperationalError as exc:
        if primary_code(exc) not in _NEEDS_WRITING or not path.is_file():
            raise
    # What a process left that died must be put in order first, where that may be written: its run
    # does not go on, or else its own files would do.
    with tempfile.TemporaryDirectory(prefix="cloudburst-") as folder:
        for part in parts(path):
            if not part.name.endswith("-shm"):
                shutil.copyfile(part, Path(folder, part.name))
        return _read_from(Path(folder, path.name), "rw")


def _read_from(path: Path, mode: str) -> Past:
    with closing(connect(path, mode)) as connection:
        check(connection, path)
        return select_all(connection)
