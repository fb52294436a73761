"""The folder that the workers of one backend share, also when nobody was left to remove it.

``cloudburst-<hex>.lock`` beside it is locked for as long as its owner lives. The system lets go of
the lock however that ends, so the next backend can tell a folder that a killed one has left.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from anyio import to_thread
from filelock import FileLock, Timeout

from cloudburst.engine.polling import insist
from cloudburst.errors import LaunchError

logger = logging.getLogger(__name__)

TIDY = 10.0
"""Seconds to make or remove a folder; a disk may be slow."""
_PREFIX = "cloudburst-"


@asynccontextmanager
async def open_place(parent: Path) -> AsyncGenerator[Path]:
    """A folder for the workers' files and logs; only logs of failures are left of it.

    Raises:
        LaunchError: it cannot be made.
    """
    place = _Place(parent / f"{_PREFIX}{secrets.token_hex(6)}")
    try:
        try:
            await _surely(place.make)
        except OSError as exc:
            msg = f"no folder for the workers' files: {exc}"
            raise LaunchError(msg) from exc
        yield place.path
    finally:
        with suppress(OSError):
            await _surely(place.clear)


async def _surely(call: Callable[[], object]) -> None:
    """In a thread, to its end although we are being cancelled; it must bear repetition."""
    await insist(lambda: to_thread.run_sync(call), seconds=TIDY)


class _Place:
    """Its methods work in threads, one at a time; what was cleared cannot be made any more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path.with_suffix(".lock"))
        self._turn = threading.Lock()
        self._gone = False

    def make(self) -> None:
        """Remove what killed backends have left here, then make the folder."""
        with self._turn:
            if self._gone:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for lock in self.path.parent.glob(f"{_PREFIX}*.lock"):
                with suppress(OSError):  # another user's, or another backend was faster
                    _sweep(lock)
            if not self._lock.is_locked:
                self._lock.acquire(timeout=TIDY)
            self.path.mkdir(mode=0o700, exist_ok=True)

    def clear(self) -> None:
        """Remove the folder, or all of it but logs that say something."""
        with self._turn:
            self._gone = True
            logs = [path for path in self.path.glob("*.log") if path.stat().st_size]
            if logs:
                logger.warning("the logs of workers that failed stay in %s", self.path)
            else:
                shutil.rmtree(self.path, ignore_errors=True)
            for path in self.path.glob("*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
            if self._lock.is_locked:
                _let_go(self._lock)


def _sweep(path: Path) -> None:
    """Remove a folder with its lock, unless its owner lives."""
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    _let_go(lock)


def _lock(path: Path) -> FileLock:
    # Not thread-local: one thread takes it, another lets it go.
    return FileLock(path, thread_local=False)


def _let_go(lock: FileLock) -> None:
    # Removed while it is still held, so that nobody locks a file that is about to vanish.
    with suppress(OSError):  # Windows removes it with the release, and not before
        Path(lock.lock_file).unlink()
    lock.release()
