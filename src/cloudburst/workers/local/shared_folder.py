"""Folder of the workers of a local backend, removed even if the backend's process was killed.

The file ``cloudburst-<hex>.lock`` beside the folder is locked while the process of the backend
runs. The operating system releases the lock even if the process is killed. Therefore the next local
backend recognizes the folder of a killed process and removes it.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from anyio import to_thread
from filelock import BaseFileLock

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import LaunchError
from cloudburst.locks import release_and_remove, take_lock, try_lock

logger = logging.getLogger(__name__)

FOLDER_TIMEOUT = 10.0  # seconds to create or remove a folder; a disk may be slow
_PREFIX = "cloudburst-"
# Pattern of the names of shared folders. Other names such as ``cloudburst-fargate`` do not match.
_FOLDER_NAME = re.compile(f"{_PREFIX}[0-9a-f]{{12}}")


@asynccontextmanager
async def open_shared_folder(parent: Path) -> AsyncGenerator[Path]:
    """Create a folder for the workers' files and logs; at the end, keep only logs of failures."""
    folder = _SharedFolder(parent / f"{_PREFIX}{secrets.token_hex(6)}")
    try:
        try:
            await _finish_in_thread(folder.create)
        except OSError as exc:
            msg = f"the folder for the workers' files cannot be created: {exc}"
            raise LaunchError(msg) from exc
        yield folder.path
    finally:
        with suppress(OSError):
            await _finish_in_thread(folder.remove)


async def _finish_in_thread(call: Callable[[], object]) -> None:
    """Call a function in a thread, and wait for its end even during a cancellation."""
    await finish_despite_cancel(lambda: to_thread.run_sync(call), seconds=FOLDER_TIMEOUT)


class _SharedFolder:
    """A shared folder with its lock file. The methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: BaseFileLock | None = None

    def create(self) -> None:
        """Remove the folders of killed backends, then create this folder."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for lock in self.path.parent.glob(f"{_PREFIX}*.lock"):
            if not _FOLDER_NAME.fullmatch(lock.stem):
                continue
            with suppress(OSError):  # another user's, or another backend removes it
                _remove_abandoned(lock)
        # Another backend may hold it for a moment, to see whether this process has ended.
        self._lock = take_lock(self.path.with_suffix(".lock"), seconds=FOLDER_TIMEOUT)
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder, or only its subfolders if one of its logs is not empty."""
        logs = [path for path in self.path.glob("*.log") if path.stat().st_size]
        if logs:
            logger.warning("the logs of failed workers are kept in %s", self.path)
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        for path in self.path.glob("*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        if self._lock is not None:
            release_and_remove(self._lock)


def _remove_abandoned(path: Path) -> None:
    """Remove a lock file and its folder unless the process that created them still runs."""
    if (lock := try_lock(path)) is not None:
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
        release_and_remove(lock)
