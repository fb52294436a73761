"""Lock files of an output folder, and the claim files that list the videos of each running process.

Every function blocks. Another user may have created any of these files, so links are not followed
and contents are checked.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from cloudburst.errors import ConfigurationError
from cloudburst.files import parse_json, read_regular_file
from cloudburst.models.scene import validate_scene_name
from cloudburst.text import printable_line

MAX_CLAIM_BYTES = 32 * 1024**2
"""Largest size of a claim file in bytes, enough for the names of a hundred thousand scenes."""


def metadata_folder(folder: Path) -> Path:
    """Return the path of the folder ``.cloudburst`` in an output folder; it need not exist.

    Raises `ConfigurationError` if the path is a file, or a symbolic link, which could lead to files
    outside the output folder.
    """
    home = folder.absolute() / ".cloudburst"
    try:
        mode = home.lstat().st_mode
    except (OSError, ValueError):
        return home  # does not exist, or the caller reports the error
    if stat.S_ISDIR(mode):
        return home
    found = "a symbolic link" if stat.S_ISLNK(mode) else "not a folder"
    msg = (
        f"videos cannot be written to {folder}: {home} is {found}; expected a folder, in which "
        "cloudburst keeps its files. Move it away, or choose another folder for the videos"
    )
    raise ConfigurationError(msg)


@contextmanager
def exclusive_access(home: Path) -> Generator[bool]:
    """Try to take the lock of a ``.cloudburst`` folder, and yield whether it was taken.

    The lock is released at the end of the block. If the folder then has no claim files, its lock
    file is removed, and so is the folder if it is empty.
    """
    lock = file_lock(home / "lock")
    # FileNotFoundError, FileExistsError: another process removed the folder or file meanwhile.
    with suppress(Timeout, FileNotFoundError, FileExistsError):
        acquire_at_once(lock)
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked and any(home.glob("*.json")):
            lock.release()
        elif lock.is_locked:
            release_and_remove(lock)
            with suppress(OSError):  # another run may be creating its claim
                home.rmdir()


def claim_lock(claim_file: Path) -> BaseFileLock:
    """Return the lock that belongs to a claim file, without taking it."""
    return file_lock(claim_file.with_suffix(".lock"))


def file_lock(path: Path) -> BaseFileLock:
    """Return a lock without taking it; its file is created when the lock is taken."""
    # Not thread-local: one thread takes it, another releases it.
    return FileLock(path, thread_local=False)


def acquire_at_once(lock: BaseFileLock) -> None:
    """Take a lock, or raise ``Timeout`` without waiting.

    Raises ``OSError`` if the lock file is not a regular file, for example a symbolic link.
    """
    path = Path(lock.lock_file)
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            why = "not a regular file; remove it"
            raise OSError(errno.EINVAL, why, str(path))
    lock.acquire(timeout=0)


def release_and_remove(lock: BaseFileLock) -> None:
    """Release a lock and remove its file."""
    # Removed before the release, so that no other process locks a file that is about to be removed.
    with suppress(OSError):  # Windows removes it only with the release
        Path(lock.lock_file).unlink()
    lock.release()


def read_claim(claim_file: Path) -> tuple[list[str], str]:
    """Return the scene names in a claim file and a description of its process.

    If the file is missing or invalid, there are no names, and the description is "an unknown
    process".
    """
    try:
        text = read_regular_file(claim_file, limit=MAX_CLAIM_BYTES).decode()
        data: Any = parse_json(claim_file, text)
        names = [validate_scene_name(name) for name in data["names"]]
        return names, f"process {data['pid']:d} on {printable_line(str(data['host']))}"
    except (OSError, ValueError, LookupError, TypeError):
        return [], "an unknown process"
