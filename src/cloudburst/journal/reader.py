"""Reader for the journals of a folder, which also works while their runs continue."""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from cloudburst.errors import JournalError
from cloudburst.journal.file import (
    check_format,
    connect,
    primary_code,
    select_all,
    translated_errors,
)
from cloudburst.journal.tables import select_end, select_inputs
from cloudburst.lock_files import metadata_folder
from cloudburst.models.input_file import InputFileEntry
from cloudburst.models.journal_state import JournalState
from cloudburst.models.report import Status
from cloudburst.safe_sqlite import DATABASE_FILE_SUFFIXES

METADATA_FOLDER = ".cloudburst"
"""Folder inside the output folder for journals, locks and claims."""
_RUN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_T = TypeVar("_T")
_NEEDS_WRITING = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


def is_run_name(name: str) -> bool:
    """Return whether a run can have this name, which is part of its file names."""
    # The name "lock" belongs to the lock of the whole folder.
    return _RUN_NAME.fullmatch(name) is not None and name.casefold() != "lock"


def journal_path(folder: Path, run: str) -> Path:
    """Return the path of the journal of a run; the journal need not exist."""
    return folder.absolute() / METADATA_FOLDER / f"{run}.sqlite"


def journal_paths(folder: Path) -> tuple[Path, ...]:
    """Return the paths of the journals of an output folder, sorted by name.

    The ``stem`` of a path is the name of the run. Files with names that no run can have are left
    out, because the name of a file planted by an attacker can contain control characters or shell
    syntax.

    Raises `ConfigurationError` if ``.cloudburst`` is not a folder.
    """
    found = metadata_folder(folder).glob("*.sqlite")
    return tuple(sorted(path for path in found if is_run_name(path.stem)))


def read_journal(path: Path) -> JournalState:
    """Return the state of a run from its journal. Blocks.

    The run may continue in another process at the same time. Raises `JournalError` for a journal
    that is missing or cannot be read.
    """
    try:
        with translated_errors(path):
            return _read(path, select_all)
    except OSError as exc:
        raise JournalError(f"{path} cannot be read: {exc}", path=path) from exc


def read_inputs(path: Path) -> tuple[InputFileEntry, ...]:
    """Return the results of the checks of a run's input files from its journal. Blocks.

    The result is empty if the journal is missing or cannot be read.
    """
    try:
        with translated_errors(path):
            return _read(path, select_inputs)
    except (OSError, JournalError):
        return ()


def completed_at(path: Path) -> float | None:
    """Return the time at which a run was completed, in seconds since the epoch. Blocks.

    Return ``None`` if the run is not complete or its journal cannot be read.
    """
    try:
        with translated_errors(path), closing(connect(path, "ro")) as connection:
            check_format(connection, path, check_integrity=False)
            end = select_end(connection)
    except (OSError, JournalError):
        return None
    return end.ended_at if end is not None and end.status is Status.COMPLETE else None


def journal_files(path: Path) -> Iterator[Path]:
    """Yield the existing files of a journal: the database, then SQLite's files beside it."""
    for suffix in DATABASE_FILE_SUFFIXES:
        part = path.with_name(path.name + suffix)
        if part.exists():
            yield part


def _read(path: Path, select: Callable[[sqlite3.Connection], _T]) -> _T:
    try:
        return _read_from(path, "ro", path, select)
    except sqlite3.OperationalError as exc:
        if primary_code(exc) not in _NEEDS_WRITING or not path.is_file():
            raise
    # The WAL of a process that was killed must be applied first, which needs a writable copy. While
    # its process runs, the journal can be read without one.
    with tempfile.TemporaryDirectory(prefix="cloudburst-") as folder:
        for part in journal_files(path):
            if not part.name.endswith("-shm"):
                shutil.copyfile(part, Path(folder, part.name))
        return _read_from(Path(folder, path.name), "rw", path, select)


def _read_from(file: Path, mode: str, path: Path, select: Callable[[sqlite3.Connection], _T]) -> _T:
    """Read a journal, or a copy of it; errors name ``path``, the original."""
    with closing(connect(file, mode)) as connection:
        check_format(connection, path)
        return select(connection)
