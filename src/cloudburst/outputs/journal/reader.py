"""Reader for the journals of a folder, which also works while their runs continue."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from cloudburst.errors import JournalError
from cloudburst.files import state_folder
from cloudburst.models.journal_entries import JournalState
from cloudburst.models.locations import OutputFolder, subfolder
from cloudburst.models.report import Status
from cloudburst.outputs.folder import metadata_folder
from cloudburst.outputs.journal.file import (
    check_format,
    connect,
    read_errors,
    select_all,
    translated_errors,
)
from cloudburst.outputs.journal.tables import select_end, select_last_process

# Folder inside the output folder for journals, locks and claims.
METADATA_FOLDER = ".cloudburst"
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
    with read_errors(path), translated_errors(path), closing(connect(path)) as connection:
        check_format(connection, path)
        return select_all(connection)


def is_completed(path: Path) -> bool:
    """Return whether a journal is that of a complete run, and can be read. Blocks."""
    try:
        with translated_errors(path), closing(connect(path)) as connection:
            check_format(connection, path, check_integrity=False)
            end, process = select_end(connection), select_last_process(connection)
    except (OSError, JournalError):
        return False
    is_open = process is not None and process.source_ended is False
    return end is not None and end.status is Status.COMPLETE and not is_open


# Maximum length of the name of a folder, in bytes. Most file systems allow 255.
_MAX_NAME = 200
# Number of characters that are kept of a longer name, before a tilde and a hash.
_SHORT_NAME = 160
# Pattern of bytes that are percent-encoded in names. Capital letters and dots are among them: some
# file systems ignore the case of letters, and ``.cloudburst`` has another meaning.
_ESCAPED = re.compile(rb"[^a-z0-9_-]")


def journal_folder(to: OutputFolder) -> Path:
    """Return the absolute path of the folder whose ``.cloudburst`` has the journals of a folder.

    For a folder on this machine, it is that folder. For a folder in S3, it is in the state folder
    of this machine, because SQLite needs a disk. It need not exist.
    """
    if isinstance(to, Path):
        return to.absolute()
    parts = to.prefix.split("/")[:-1]
    return (state_folder() / "s3" / to.bucket).joinpath(*map(_folder_name, parts)).absolute()


def folders_with_journals(to: OutputFolder) -> list[OutputFolder]:
    """Return the folder itself, and those of its direct subfolders in which runs were started."""
    below = sorted(journal_folder(to).glob(f"*/{METADATA_FOLDER}"))
    names = [path.parent.name for path in below if path.is_dir() and not path.is_symlink()]
    if not isinstance(to, Path):
        decoded = [(name, unquote(name)) for name in names]
        names = [part for name, part in decoded if _folder_name(part) == name]
    return [to, *(subfolder(to, name) for name in names)]


def _folder_name(part: str) -> str:
    data = part.encode()
    name = _ESCAPED.sub(lambda found: b"%%%02x" % found[0][0], data).decode()
    if len(name) <= _MAX_NAME:
        return name
    return f"{name[:_SHORT_NAME]}~{hashlib.sha256(data).hexdigest()[:32]}"
