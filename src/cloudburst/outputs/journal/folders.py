"""Folders on this machine with the journals of the runs of an output folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote

from cloudburst.files import state_folder
from cloudburst.models.locations import OutputFolder, subfolder
from cloudburst.outputs.journal.reader import METADATA_FOLDER

_MAX_NAME = 200
"""Maximum length of the name of a folder, in bytes. Most file systems allow 255."""
_SHORT_NAME = 160
"""Number of characters that are kept of a longer name, before a tilde and a hash."""
_ESCAPED = re.compile(rb"[^a-z0-9_-]")
"""Pattern of bytes that are percent-encoded in names. Capital letters and dots are among them: some
file systems ignore the case of letters, and ``.cloudburst`` has another meaning."""


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
    """Return the name of the folder on this machine for a part of a prefix."""
    data = part.encode()
    name = _ESCAPED.sub(lambda found: b"%%%02x" % found[0][0], data).decode()
    if len(name) <= _MAX_NAME:
        return name
    return f"{name[:_SHORT_NAME]}~{hashlib.sha256(data).hexdigest()[:32]}"
