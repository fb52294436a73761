"""Locks between processes of this machine, as files. Every function blocks.

The operating system releases a lock when its process ends, however it ends.
"""

from __future__ import annotations

import errno
import stat
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def try_lock(path: Path, *, seconds: float = 0.0) -> BaseFileLock | None:
    """Take the lock of a file, which is created; return ``None`` if another process holds it.

    ``seconds`` is the maximum time to wait for it. Raises ``OSError`` if the file cannot be opened
    or is not a regular file, for example a symbolic link of another user.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "not a regular file; remove it", str(path))
    lock = FileLock(path, thread_local=False)  # one thread takes it, another releases it
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return None
    return lock


def take_lock(path: Path, *, seconds: float = 0.0) -> BaseFileLock:
    """Take the lock of a file as `try_lock` does; raise ``OSError`` if another process holds it."""
    if (lock := try_lock(path, seconds=seconds)) is None:
        raise BlockingIOError(errno.EAGAIN, "locked by another process", str(path))
    return lock


def release_and_remove(lock: BaseFileLock) -> None:
    """Release a lock and remove its file."""
    # Removed before the release, so that no other process locks a file that is about to be removed.
    with suppress(OSError):  # Windows removes it only with the release
        Path(lock.lock_file).unlink()
    lock.release()
