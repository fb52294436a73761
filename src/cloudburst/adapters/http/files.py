"""Files on their way to a worker: named by their hash, read in blocks, watched for changes."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

BLOCK = 256 * 1024
"""Bytes that one trip to a thread reads: the trip costs about as much as reading 100 KB."""


HASHERS = 2
"""Files that are hashed at once: more threads with nothing but work would hold up the loop's."""


class FileChangedError(OSError):
    """The file is not what it was when its hash was taken."""


class Stamp(NamedTuple):
    """What tells that a file is the same as before, without reading it."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Of a file as it is now; works in the thread that calls it."""
        facts = path.stat()
        return cls(path, facts.st_size, facts.st_mtime_ns)

    def read(self, at: int, size: int) -> bytes:
        """So many bytes from an offset on, fewer only at the end; works in that thread too.

        No handle stays open, so none can leak.

        Raises:
            FileChangedError: it was written to meanwhile.
            OSError: it cannot be read.
        """
        with self.path.open("rb", buffering=0) as file:
            self.check(file.fileno())
            file.seek(at)
            size = min(size, self.size - at)
            block = file.read(size)
            while len(block) < size and (more := file.read(size - len(block))):
                block += more
        if len(block) < size:
            raise self.changed()
        return block

    def check(self, descriptor: int) -> None:
        """See that an open file is still the same.

        Raises:
            FileChangedError: it is not.
        """
        facts = os.fstat(descriptor)
        if (facts.st_size, facts.st_mtime_ns) != (self.size, self.mtime_ns):
            raise self.changed()

    def changed(self) -> FileChangedError:
        """What to say when it is another file now."""
        return FileChangedError(f"{self.path} changed while it was read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file as it was when it was hashed."""

    stamp: Stamp
    sha256: str

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stamp.size

    async def read(self, at: int) -> bytes:
        """The block from an offset below ``size`` on.

        Raises:
            FileChangedError: it was written to meanwhile.
            OSError: it cannot be read.
        """
        return await to_thread.run_sync(self.stamp.read, at, BLOCK)


class Hashes:
    """SHA-256 of files, taken once for each file that does not change."""

    def __init__(self) -> None:
        self._known: dict[Stamp, str] = {}
        self._hashers = anyio.CapacityLimiter(HASHERS)
        self._busy: defaultdict[Path, anyio.Lock] = defaultdict(anyio.Lock)

    async def of(self, path: Path) -> Content:
        """The file as it is now.

        Raises:
            FileChangedError: it is being written to.
            OSError: it cannot be read.
        """
        async with self._busy[path]:
            stamp = await to_thread.run_sync(Stamp.of, path)
            if stamp not in self._known:
                self._known[stamp] = await to_thread.run_sync(_hash, stamp, limiter=self._hashers)
            return Content(stamp=stamp, sha256=self._known[stamp])


def _hash(stamp: Stamp) -> str:
    with stamp.path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        stamp.check(file.fileno())
    return digest
