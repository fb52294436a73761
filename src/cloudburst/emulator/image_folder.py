"""Folder of an emulator for the files of its images and of their containers."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from anyio import CancelScope, to_thread

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.containers import OUTER_USER
from cloudburst.emulator.errors import EmulatorError
from cloudburst.registry.folders import remove_folder

FOLDER_PREFIX, LOCK_NAME = "cloudburst-emulator-", "lock"


@asynccontextmanager
async def open_image_folder(config: EmulatorConfig) -> AsyncGenerator[Path | None]:
    """Yield a new folder for images, if the account has a registry, and remove it at the end.

    Raises:
        EmulatorError: the folder cannot be created.
    """
    if config.registry is None:
        yield None
        return
    folder: Path | None = None
    with ExitStack() as lock:
        try:
            try:
                folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
                lock.enter_context(_locked(folder))
                await to_thread.run_sync(_prepare, folder)
            except OSError as exc:
                raise EmulatorError(
                    f"registry: the folder for its images cannot be created: {exc}; set TMPDIR to "
                    "another folder"
                ) from exc
            yield folder
        finally:
            if folder is not None:
                with CancelScope(shield=True):
                    await to_thread.run_sync(remove_folder, folder)


def _prepare(folder: Path) -> None:
    """Create the folders of the store, and remove those of emulators that were killed."""
    for name in ("blobs/sha256", "roots", "tasks"):
        (folder / name).mkdir(parents=True)
    if os.geteuid() == 0:
        # The containers of root run as another user, who must be able to open known paths. Further
        # users must not: folders of images and volumes can be writable for all users.
        with suppress(OSError):  # in a user namespace without this user no container can start
            os.chown(folder, -1, OUTER_USER)
            folder.chmod(0o710)
    for other in folder.parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            _remove_unused(other)


def _remove_unused(folder: Path) -> None:
    """Remove the folder of an emulator of this user that does not run any more.

    Raises:
        OSError: the emulator is running, or the folder has no lock.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The lock comes last: the processes of the emulator may still end, and write until then.
        for entry in folder.iterdir():
            if entry.name != LOCK_NAME:
                remove_folder(entry)
        if [entry.name for entry in folder.iterdir()] == [LOCK_NAME]:
            remove_folder(folder)
    finally:
        os.close(lock)


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Hold a lock on a folder, by which other emulators see that it is in use."""
    with (folder / "new-lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "new-lock").rename(folder / LOCK_NAME)
        yield
