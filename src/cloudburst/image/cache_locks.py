"""Locks of the cache: one process builds at a time, and images in use are not removed.

A process that uses an image, for example pushes it, holds the lock of a file beside the image: a
lease. The system releases the locks of processes that end, so a lease without a lock is left over.
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
LEASE_TIMEOUT = 20.0
"""Maximum time in seconds to wait for the lock of leases. Others hold it for milliseconds."""
_LEASE_DELAY = 0.02
_LEASES_LOCK = "leases.lock"
"""File whose lock a process has while it takes a lease, or decides which images to remove."""
_LEASE = ".lease"


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
        lock = file_lock(folder.with_name(_LEASES_LOCK))
        await _acquire_soon(lock)
        try:
            if not (folder / "index.json").is_file():
                raise ImageError("other builds have removed it from the cache: build it again")
            lease = file_lock(folder.with_name(f"{folder.name}.{secrets.token_hex(8)}{_LEASE}"))
            acquire_at_once(lease)
        finally:
            lock.release()
    try:
        yield
    finally:
        release_and_remove(lease)


@contextmanager
def removable_images(folder: Path) -> Generator[frozenset[str]]:
    """Yield the names of the images in a folder that no process uses; blocks.

    No process can begin to use one meanwhile. Leases of processes that were killed are removed.
    """
    lock = file_lock(folder / _LEASES_LOCK)
    with suppress(Timeout):
        lock.acquire(timeout=LEASE_TIMEOUT)
    if not lock.is_locked:  # a process that was stopped has it
        yield frozenset()
        return
    try:
        leased = {path.name.partition(".")[0] for path in folder.glob(f"*{_LEASE}") if _held(path)}
        yield frozenset(path.name for path in folder.iterdir() if path.is_dir()) - leased
    finally:
        lock.release()


def _held(lease: Path) -> bool:
    """Return whether a process has the lock of a lease; remove a lease that is left over."""
    lock = file_lock(lease)
    try:
        acquire_at_once(lock)
    except Timeout:
        return True
    release_and_remove(lock)
    return False


async def _acquire_soon(lock: BaseFileLock) -> None:
    with anyio.move_on_after(LEASE_TIMEOUT):
        while not _try_lock(lock):  # noqa: ASYNC110 - another process releases it
            await anyio.sleep(_LEASE_DELAY)
    if not lock.is_locked:
        raise ImageError(f"another process has locked {lock.lock_file} for {LEASE_TIMEOUT:.0f} s")


def _try_lock(lock: BaseFileLock) -> bool:
    with suppress(Timeout):
        acquire_at_once(lock)
    return lock.is_locked
