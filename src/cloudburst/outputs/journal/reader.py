"""Reader for the journals of a folder, which also works while their runs continue."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from cloudburst.errors import JournalError
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.report import Status
from cloudburst.outputs.journal.file import check_format, connect, select_all, translated_errors
from cloudburst.outputs.journal.tables import select_end
from cloudburst.outputs.lock_files import metadata_folder

METADATA_FOLDER = ".cloudburst"
"""Folder inside the output folder for journals, locks and claims."""
_RUN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


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
        with translated_errors(path), closing(connect(path)) as connection:
            check_format(connection, path)
            return select_all(connection)
    except OSError as exc:
        raise JournalError(f"{path} cannot be read: {exc}", path=path) from exc


def is_completed(path: Path) -> bool:
    """Return whether a journal is that of a complete run, and can be read. Blocks."""
    try:
        with translated_errors(path), closing(connect(path)) as connection:
            check_format(connection, path, check_integrity=False)
            end = select_end(connection)
    except (OSError, JournalError):
        return False
    return end is not None and end.status is Status.COMPLETE
