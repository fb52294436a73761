"""Locks of the cache: one process builds at a time, and images in use are not removed.

A process that uses an image, for example pushes it, holds the lock of a file beside the image:
``DIGEST.TOKEN.use``. The system releases the locks of processes that end, so such a file without a
lock is left over.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from filelock import BaseFileLock, Timeout

from cloudburst.errors import ImageError
from cloudburst.image.built_image import BuiltImage
from cloudburst.image.cache import ImageCache
from cloudburst.image.errors import translated
from cloudburst.image.progress import Steps
from cloudburst.lock_files import acquire_at_once, file_lock, release_and_remove

LOCK_DELAY = 0.2
"""Delay in seconds between attempts to take the lock of the cache, which another build has."""
USES_TIMEOUT = 20.0
"""Maximum time in seconds to wait for the lock of uses. Others hold it for milliseconds."""
_USES_DELAY = 0.02
_USES_LOCK = "uses.lock"
"""File whose lock a process has while it begins to use an image, or selects images to remove."""
_USE = ".use"


@asynccontextmanager
async def build_lock(cache: ImageCache, steps: Steps) -> AsyncGenerator[None]:
    """Hold the lock of the cache, so that only one process builds at a time."""
    lock = file_lock(cache.folder / "lock")
    if not _try_lock(lock):
        async with steps.step("wait for another build on this machine"):
            while not _try_lock(lock):  # noqa: ASYNC110 - another process releases it
                await anyio.sleep(LOCK_DELAY)
    try:
        yield
    finally:
        lock.release()


@asynccontextmanager
async def image_in_use(image: BuiltImage) -> AsyncGenerator[None]:
    """Keep builds of other processes from removing an image of the cache.

    Raises:
        ImageError: other builds have removed it already, or its folder cannot be written.
    """
    folder = image.folder
    with translated(f"the image {folder} cannot be used"):
        lock = file_lock(folder.with_name(_USES_LOCK))
        await _acquire_soon(lock)
        try:
            if not (folder / "index.json").is_file():
                raise ImageError(
                    f"the image {folder} is not in the cache any more, because other builds have "
                    "removed it: run the command again"
                )
            use = file_lock(folder.with_name(f"{folder.name}.{secrets.token_hex(8)}{_USE}"))
            acquire_at_once(use)
        finally:
            lock.release()
    try:
        yield
    finally:
        release_and_remove(use)


@contextmanager
def removable_images(folder: Path) -> Generator[frozenset[str]]:
    """Yield the names of the images in a folder that no process uses; blocks.

    No process can begin to use one meanwhile. Files of processes that were killed are removed.
    """
    lock = file_lock(folder / _USES_LOCK)
    with suppress(Timeout):
        lock.acquire(timeout=USES_TIMEOUT)
    if not lock.is_locked:  # a process that was stopped has it
        yield frozenset()
        return
    try:
        used = {path.name.partition(".")[0] for path in folder.glob(f"*{_USE}") if _held(path)}
        yield frozenset(path.name for path in folder.iterdir() if path.is_dir()) - used
    finally:
        lock.release()


def _held(path: Path) -> bool:
    """Return whether a process has the lock of a file; remove the file if none has."""
    lock = file_lock(path)
    try:
        acquire_at_once(lock)
    except Timeout:
        return True
    release_and_remove(lock)
    return False


async def _acquire_soon(lock: BaseFileLock) -> None:
    with anyio.move_on_after(USES_TIMEOUT):
        while not _try_lock(lock):  # noqa: ASYNC110 - another process releases it
            await anyio.sleep(_USES_DELAY)
    if not lock.is_locked:
        raise ImageError(
            f"another process has locked {lock.lock_file} for {USES_TIMEOUT:.0f} s: end it, and "
            "run the command again"
        )


def _try_lock(lock: BaseFileLock) -> bool:
    with suppress(Timeout):
        acquire_at_once(lock)
    return lock.is_locked
