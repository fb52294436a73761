"""Temporary file of a video or a cover that is being downloaded."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeAlias, TypeVar

from anyio import to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import OutputWriteError
from cloudburst.workers.http.mp4 import video_seconds

logger = logging.getLogger(__name__)

# Function that returns why a file of a size in bytes is not valid; None if it is.
ContentCheck: TypeAlias = Callable[[BinaryIO, int], str | None]
P = ParamSpec("P")
T = TypeVar("T")

# Maximum number of seconds for the removal of a temporary file; a disk may be slow.
DISCARD_TIMEOUT = 10.0


class DownloadFile:
    """Temporary file ``<name>.part`` beside the final path, hashed while it is written.

    An existing file of that name is removed and never written to.

    Its methods block: `in_thread` calls them.
    """

    def __init__(self, scene: str, to: Path) -> None:
        self.size = 0
        self._scene = scene
        self._to = to
        self._path = to.with_name(f"{to.name}.part")
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes written so far, in hexadecimal."""
        return self._digest.hexdigest()

    async def discard(self) -> None:
        """Remove the temporary file, even during a cancellation; a committed video is kept."""
        try:
            await finish_despite_cancel(
                lambda: to_thread.run_sync(self._discard), seconds=DISCARD_TIMEOUT
            )
        except OSError as exc:  # TimeoutError is one
            # It must not replace the original error. The next attempt removes the file.
            logger.warning("%s cannot be removed: %s", self._path, exc.strerror or repr(exc))

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of this object in a thread; a cancellation is raised at its end.

        Raises:
            OutputWriteError: The file cannot be created or written.
        """
        work = partial(call, *args, **kwargs)
        try:
            return await finish_despite_cancel(lambda: to_thread.run_sync(work), seconds=math.inf)
        except OSError as exc:
            msg = f"{self._path} cannot be written: {exc.strerror or exc}"
            raise OutputWriteError(msg, scene=self._scene) from exc

    def open(self, size: int = 0) -> None:
        """Create the file, with room for ``size`` bytes; if it exists already, empty it."""
        if self._file is None:
            self._path.unlink(missing_ok=True)
            # "x" fails if the name exists, even as a link: a link to a file elsewhere may have been
            # planted, and the video would overwrite that file.
            self._file = self._path.open("x+b", buffering=0)
            self._check_free_space(size)
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, block: bytes | bytearray) -> None:
        """Append a block, which must not be changed meanwhile."""
        if self._file is None:
            return
        remaining = memoryview(block)
        while remaining:
            remaining = remaining[self._file.write(remaining) :]
        self._digest.update(block)
        self.size += len(block)

    def find_problem(self, *, size: int, sha256: str | None, check: ContentCheck) -> str | None:
        """Return the problem of the downloaded file; ``None`` if it is complete and valid."""
        if self._file is None:
            return "was removed"
        if self.size != size:
            return f"has {self.size} bytes instead of {size}"
        if sha256 not in {None, self.sha256}:
            return f"has the hash {self.sha256} instead of {sha256}"
        return check(self._file, size)

    def video_seconds(self) -> float:
        """Return the length of the video in seconds, 0 if it is unknown."""
        return 0.0 if self._file is None else video_seconds(self._file, self.size) or 0.0

    def sync(self) -> None:
        """Flush the file to disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def rename(self, companion: DownloadFile | None = None) -> None:
        """Rename the companion, then the file, so that a cancellation cannot leave only one."""
        if self._file is None:
            return
        if companion is not None:
            companion.rename()
        self._file.close()
        self._path.replace(self._to)
        self._file = None

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a late write error, which no longer matters
                file.close()
            self._path.unlink(missing_ok=True)

    def _check_free_space(self, size: int) -> None:
        disk = shutil.disk_usage(self._path.parent)
        # Some network file systems report sizes of 0.
        if disk.total and disk.free < size:
            raise OSError(errno.ENOSPC, f"no room for {size} bytes, only for {disk.free}")
