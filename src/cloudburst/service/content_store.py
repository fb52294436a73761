"""Store of uploaded files, which are identified by the SHA-256 of their content."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from anyio import CancelScope, current_time, to_thread

from cloudburst.service.http_errors import RejectedRequestError


class OutOfDiskError(RejectedRequestError):
    """Error for a disk without enough free space."""

    def __init__(self) -> None:
        super().__init__(507, "not enough free disk space at the moment")


class MissingContentError(Exception):
    """Error for files that are not in the store, for example because they have expired."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(", ".join(missing))
        self.missing = missing


@dataclass(slots=True, kw_only=True)
class _Content:
    touched: float
    """Time at which the file was last requested, in seconds of the event loop's clock."""
    linked: bool = False
    """True after a job has used the file. Files that no job has used yet are not deleted when disk
    space is short."""


class ContentStore:
    """Store of uploaded files, which are named by the SHA-256 of their content."""

    # Jobs get hard links, so a file that expires stays complete for the jobs that use it. The
    # index is only used on the event loop, without an await between a check and a change.

    def __init__(self, folder: Path, *, reserve: int) -> None:
        self._folder = folder
        self._reserve = reserve
        self._contents: dict[str, _Content] = {}

    def contains(self, sha256: str) -> bool:
        """Return whether a file is in the store, and restart its expiry time."""
        if content := self._contents.get(sha256):
            content.touched = current_time()
        return content is not None

    @asynccontextmanager
    async def partial(self) -> AsyncGenerator[Path]:
        """Yield a path for an incomplete file, which is deleted afterwards if it still exists."""
        path = self._folder / f"{uuid4().hex}.part"
        try:
            yield path
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(lambda: path.unlink(missing_ok=True))

    async def add(self, path: Path, sha256: str) -> bool:
        """Move a complete file into the store; return whether its content is new."""
        with CancelScope(shield=True):  # the index must match the folder
            await to_thread.run_sync(_move, path, self._folder / sha256)
        fresh = sha256 not in self._contents
        self._contents[sha256] = _Content(touched=current_time())
        return fresh

    async def link(self, wanted: Mapping[str, str], folder: Path) -> None:
        """Link files into a job's folder; ``wanted`` maps file names to hashes.

        Raises `MissingContentError`; the folder may be incomplete then.
        """
        missing = sorted({sha for sha in wanted.values() if not self.contains(sha)})
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
                if not folder.is_dir():
                    raise  # the job's folder is missing, not the stored file
                missing.add(sha)
        return sorted(missing)

    async def ensure_room(self, size: int) -> None:
        """Check that ``size`` bytes can be written, beside the space that stays free for videos.

        If space is short, files that jobs have already used are deleted. Raises `OutOfDiskError`.
        """
        used = sorted((c.touched, sha) for sha, c in self._contents.items() if c.linked)
        needed = size + self._reserve
        while (await to_thread.run_sync(shutil.disk_usage, self._folder)).free < needed:
            if not used:
                raise OutOfDiskError
            await self._drop(used.pop(0)[1])

    async def expire(self, seconds: float) -> None:
        """Delete files that were not requested for ``seconds``."""
        limit = current_time() - seconds
        for sha in [sha for sha, c in self._contents.items() if c.touched < limit]:
            await self._drop(sha)

    async def _drop(self, sha256: str) -> None:
        if self._contents.pop(sha256, None) is not None:
            with suppress(FileNotFoundError):
                await to_thread.run_sync((self._folder / sha256).unlink)


def _move(path: Path, target: Path) -> None:
    path.chmod(0o400)  # a job has a link to the file, not a copy, and must not change it
    path.replace(target)
