"""A video in the making on our disk."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar, cast

from anyio import to_thread

from cloudburst.adapters.http.mp4 import seconds, unplayable
from cloudburst.engine.polling import insist
from cloudburst.errors import OutputWriteError
from cloudburst.ports import Arrived, Download

P = ParamSpec("P")
T = TypeVar("T")

DISCARD = 10.0
"""Seconds to remove what was written; a disk may be slow."""


class PartFile:
    """``<name>.part`` beside a video's final name, hashed while it grows.

    Its methods work in threads. A thread goes on when asyncio cancels the task that waits for
    it; the lock makes the removal wait for it, and after the removal nothing is written any more.
    """

    def __init__(self, scene: str, to: Path) -> None:
        self.size = 0
        self._scene = scene
        self._to = to
        self._path = to.with_name(f"{to.name}.part")
        self._lock = threading.Lock()
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._gone = False

    async def open(self) -> None:
        """Begin empty; may be repeated to begin anew."""
        await self._thread(self._open)

    async def write(self, block: bytes) -> None:
        """Add bytes at the end."""
        await self._thread(self._write, block)

    async def fault(self, *, size: int, sha256: str | None, at_once: bool = True) -> str | None:
        """What makes it another video than the worker announced, or none at all.

        ``at_once`` wants one that plays from its first bytes on.
        """
        return await self._thread(self._fault, size, sha256, at_once)

    async def commit(self, arrived: Arrived | None = None) -> Download:
        """Bring it safely to disk, tell of it, then give it its final name."""
        long = await self._thread(self._secure)
        download = Download(
            path=self._to, size=self.size, sha256=self._digest.hexdigest(), seconds=long
        )
        if arrived is not None:
            await arrived(download)
        await self._thread(self._rename)
        return download

    async def discard(self) -> None:
        """Remove it, although we are being cancelled; a video that has its name stays."""
        await insist(lambda: to_thread.run_sync(self._discard), seconds=DISCARD)

    async def _thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def locked() -> T:
            with self._lock:
                return call(*args, **kwargs)

        try:
            return await to_thread.run_sync(locked)
        except OSError as exc:
            msg = f"{self._path} cannot be written: {exc.strerror or exc}"
            raise OutputWriteError(msg, scene=self._scene) from exc

    def _open(self) -> None:
        if self._gone:
            return
        if self._file is None:
            self._file = cast("BinaryIO", self._path.open("w+b", buffering=0))
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    def _write(self, block: bytes) -> None:
        if self._file is None:
            return
        left = memoryview(block)
        while left:
            left = left[self._file.write(left) :]
        self._digest.update(block)
        self.size += len(block)

    def _fault(self, size: int, sha256: str | None, at_once: bool) -> str | None:
        if self._file is None:
            return "was removed"
        if self.size != size:
            return f"has {self.size} bytes instead of {size}"
        if sha256 not in {None, self._digest.hexdigest()}:
            return f"has the hash {self._digest.hexdigest()} instead of {sha256}"
        fault = unplayable(self._file, size, at_once=at_once)
        return f"cannot be played: {fault}" if fault else None

    def _secure(self) -> float:
        if self._file is None:
            return 0.0
        long = seconds(self._file, self.size)
        os.fsync(self._file.fileno())
        return long or 0.0

    def _rename(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._path.replace(self._to)
        self._file, self._gone = None, True

    def _discard(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._path.unlink(missing_ok=True)
            self._file, self._gone = None, True
