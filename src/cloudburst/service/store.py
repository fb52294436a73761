"""Uploaded contents, known by their hash."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from anyio import CancelScope, current_time, to_thread


class NoRoomError(Exception):
    """The disk cannot take so much."""


class MissingContentError(Exception):
    """Contents are not here, or not any more."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


@dataclass(slots=True, kw_only=True)
class _Content:
    touched: float
    """When somebody last asked for it, on the loop's clock."""
    linked: bool = False
    """Whether a job has used it: if not, its job is still to come."""


class Store:
    """Files named by the SHA-256 of what is in them.

    Jobs get hard links: a content that expires stays whole for the jobs that hold it. What is
    known is decided on the loop, without a wait between look and deed; files are touched in
    threads.
    """

    def __init__(self, folder: Path, *, reserve: int) -> None:
        self._folder = folder
        self._reserve = reserve
        self._contents: dict[str, _Content] = {}

    def knows(self, sha256: str) -> bool:
        """Whether it is here; asking keeps it."""
        if content := self._contents.get(sha256):
            content.touched = current_time()
        return content is not None

    @asynccontextmanager
    async def partial(self) -> AsyncGenerator[Path]:
        """A path for a file in the making; what still lies there afterwards is deleted."""
        path = self._folder / f"{uuid4().hex}.part"
        try:
            yield path
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(lambda: path.unlink(missing_ok=True))

    async def adopt(self, path: Path, sha256: str) -> bool:
        """Take a finished file; false when its content was here already."""
        with CancelScope(shield=True):  # file and memory must agree
            await to_thread.run_sync(path.replace, self._folder / sha256)
        fresh = sha256 not in self._contents
        self._contents[sha256] = _Content(touched=current_time())
        return fresh

    async def link(self, wanted: Mapping[str, str], folder: Path) -> None:
        """Link contents into a job's folder: file name → hash.

        Raises:
            MissingContentError: some are not here; nothing is said of the folder then.
        """
        missing = sorted({sha for sha in wanted.values() if not self.knows(sha)})
        if missing:
            raise MissingContentError(missing)
        missing = await to_thread.run_sync(self._link_all, dict(wanted), folder)
        if missing:
            for sha in missing:
                self._contents.pop(sha, None)
            raise MissingContentError(missing)
        for sha in wanted.values():
            if content := self._contents.get(sha):
                content.linked = True

    def _link_all(self, wanted: dict[str, str], folder: Path) -> list[str]:
        missing: set[str] = set()
        for name, sha in wanted.items():
            try:
                os.link(self._folder / sha, folder / name)
            except FileNotFoundError:
                missing.add(sha)
        return sorted(missing)

    async def make_room(self, size: int) -> None:
        """See that so many bytes fit and the reserve stays free; contents that jobs have used go.

        Raises:
            NoRoomError: they do not.
        """
        used = sorted((c.touched, sha) for sha, c in self._contents.items() if c.linked)
        while await to_thread.run_sync(self._free) < size + self._reserve:
            if not used:
                raise NoRoomError
            await self._drop(used.pop(0)[1])

    async def expire(self, seconds: float) -> None:
        """Forget what nobody asked for in so many seconds."""
        limit = current_time() - seconds
        for sha in [sha for sha, c in self._contents.items() if c.touched < limit]:
            await self._drop(sha)

    async def _drop(self, sha256: str) -> None:
        if self._contents.pop(sha256, None) is not None:
            with suppress(FileNotFoundError):
                await to_thread.run_sync((self._folder / sha256).unlink)

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free
