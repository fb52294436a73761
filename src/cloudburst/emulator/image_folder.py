"""Folder of an emulator for the files of its images and of their containers."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.containers import OUTER_USER
from cloudburst.emulator.errors import EmulatorError

FOLDER_PREFIX = "cloudburst-emulator-"


@contextmanager
def open_image_folder(config: EmulatorConfig) -> Generator[Path | None]:
    """Yield a new folder for images, if the account has a registry, and remove it at the end.

    Raises:
        EmulatorError: the folder cannot be created.
    """
    if config.registry is None:
        yield None
        return
    with ExitStack() as used:
        try:
            folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
            used.callback(os.close, _lock(folder))
            used.callback(shutil.rmtree, folder, ignore_errors=True)
            _prepare(folder)
        except OSError as exc:
            raise EmulatorError(
                f"registry: the folder for its images cannot be created: {exc}; set TMPDIR to "
                "another folder"
            ) from exc
        yield folder


def _prepare(folder: Path) -> None:
    """Create the folders of the store, and remove those of emulators that were killed."""
    for name in ("blobs/sha256", "roots", "tasks"):
        (folder / name).mkdir(parents=True)
    if os.geteuid() == 0:
        # The containers of root run as another user, who must be able to open known paths.
        with suppress(OSError):  # in a user namespace without this user no container can start
            os.chown(folder, -1, OUTER_USER)
            folder.chmod(0o710)
    for other in folder.parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError, RecursionError):  # a program may nest folders without limit
            lock = _lock(other)
            shutil.rmtree(other, ignore_errors=True)
            os.close(lock)


def _lock(folder: Path) -> int:
    """Lock a folder, which is in use as long as this descriptor is open.

    Raises:
        OSError: the folder is in use, or belongs to another user.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
