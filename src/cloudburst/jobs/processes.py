"""Processes that work on the jobs of a folder: each holds a lock file until it ends.

The operating system releases a lock when its process ends, however it ends. Every function blocks.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import Timeout

from cloudburst.outputs.lock_files import acquire_at_once, file_lock, release_and_remove

_FOLDER = "processes"


@contextmanager
def registered_process(folder: Path) -> Generator[str]:
    """Register this process in the folder of the jobs, and yield its identifier."""
    process = uuid4().hex
    path = _lock_path(folder, process)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    lock = file_lock(path)
    acquire_at_once(lock)
    try:
        yield process
    finally:
        release_and_remove(lock)


@contextmanager
def ended_process(folder: Path, process: str) -> Generator[bool]:
    """Yield whether a process has ended; its lock file is then removed after the block.

    During the block, other processes that ask receive false; afterwards they receive true, because
    there is no lock file any more.
    """
    path = _lock_path(folder, process)
    if not path.exists():
        yield True
        return
    lock = file_lock(path)
    try:
        acquire_at_once(lock)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        release_and_remove(lock)


def _lock_path(folder: Path, process: str) -> Path:
    return folder / _FOLDER / f"{process}.lock"
