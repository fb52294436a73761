"""Input files of scenes: identified by their hash, read in blocks, checked for changes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from cloudburst.errors import UploadError
from cloudburst.safe_files import open_regular_file

READ_BLOCK_BYTES = 256 * 1024
"""Bytes that one call in a thread reads. The overhead of such a call is about the time in which
100 kB are read."""
MAX_CONCURRENT_HASHES = 2
"""Maximum number of files that are hashed at once; more busy threads would delay the event loop."""
MAX_CACHED_HASHES = 10_000
"""Maximum number of hashes in the cache, which take about 5 MB. The least recently used hash is
dropped first."""


class FileChangedError(OSError):
    """Error for an input file that has changed since its hash was computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFile:
    """An input file of a scene."""

    scene: str
    field: str
    """Use of the file: ``image``, ``audio``, ``subtitle``, ``watermark``, ``music`` or ``font``."""
    path: Path

    def error(self, message: str) -> UploadError:
        """Return an `UploadError` about this file."""
        return UploadError(f"{self.field}: {message}", scene=self.scene, field=self.field)


class FileVersion(NamedTuple):
    """Path, size and modification time of a file, which show whether the file has changed."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def from_path(cls, path: Path) -> FileVersion:
        """Return the current version of a file; blocks."""
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)

    def read_block(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from an offset on, or fewer at the end of the file; blocks.

        The file is closed after each block, so that no open file can leak.

        Raises:
            FileChangedError: The file was changed.
            OSError: The file cannot be read.
        """
        with open_regular_file(self.path) as file:
            self.check_unchanged(file.fileno())
            file.seek(offset)
            size = min(size, self.size - offset)
            block = file.read(size)
            while len(block) < size and (more := file.read(size - len(block))):
                block += more
        if len(block) < size:
            raise self._changed_error()
        return block

    def check_unchanged(self, descriptor: int) -> None:
        """Check that an open file still has this version.

        Raises:
            FileChangedError: The file was changed.
        """
        status = os.fstat(descriptor)
        if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
            raise self._changed_error()

    def _changed_error(self) -> FileChangedError:
        return FileChangedError(f"{self.path} changed while it was read")


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedFile:
    """A file with the hash of its content."""

    version: FileVersion
    sha256: str

    @property
    def size(self) -> int:
        """Size of the file, in bytes."""
        return self.version.size

    async def read_block(self, offset: int) -> bytes:
        """Return `READ_BLOCK_BYTES` from an offset on, or fewer at the end of the file.

        Raises:
            FileChangedError: The file was changed.
            OSError: The file cannot be read.
        """
        return await to_thread.run_sync(self.version.read_block, offset, READ_BLOCK_BYTES)


class FileHashCache:
    """Cache of the SHA-256 hashes of files, computed once for each version of a file."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[FileVersion, str] = OrderedDict()
        """Hashes by version of the file, the least recently used one first."""
        self._limiter = anyio.CapacityLimiter(MAX_CONCURRENT_HASHES)
        self._locks: dict[Path, anyio.Lock] = {}
        self._lock_users: Counter[Path] = Counter()
        """Number of calls that hold or wait for the lock of each path."""

    async def hash_file(self, path: Path) -> HashedFile:
        """Return the current version of a file with its hash, from the cache if possible.

        Raises:
            FileChangedError: The file was changed while it was read.
            OSError: The file cannot be read.
        """
        self._lock_users[path] += 1
        try:
            async with self._locks.setdefault(path, anyio.Lock()):
                version = await to_thread.run_sync(FileVersion.from_path, path)
                if (sha256 := self._hashes.get(version)) is None:
                    sha256 = await to_thread.run_sync(_compute_hash, version, limiter=self._limiter)
                    self._hashes[version] = sha256
                    if len(self._hashes) > MAX_CACHED_HASHES:
                        self._hashes.popitem(last=False)
                self._hashes.move_to_end(version)
                return HashedFile(version=version, sha256=sha256)
        finally:
            self._lock_users[path] -= 1
            if not self._lock_users[path]:
                del self._lock_users[path], self._locks[path]


def _compute_hash(version: FileVersion) -> str:
    with open_regular_file(version.path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        version.check_unchanged(file.fileno())
    return digest
