"""Input files of scenes: identified by their hash, read in blocks, checked for changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from cloudburst.errors import UploadError
from cloudburst.file_versions import KNOWN_HASHES, FileHashes, FileVersion

READ_BLOCK_BYTES = 256 * 1024
"""Bytes that one call in a thread reads. The overhead of such a call is about the time in which
100 kB are read."""
MAX_CONCURRENT_HASHES = 2
"""Maximum number of files that are hashed at once; more busy threads would delay the event loop."""


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


class FileHasher:
    """Hasher of files, which reads each version of a file once.

    Args:
        hashes: Hashes that are known; new ones are added.
    """

    def __init__(self, hashes: FileHashes = KNOWN_HASHES) -> None:
        self._hashes = hashes
        self._limiter = anyio.CapacityLimiter(MAX_CONCURRENT_HASHES)
        self._locks: dict[Path, anyio.Lock] = {}
        self._lock_users: Counter[Path] = Counter()
        """Number of calls that hold or wait for the lock of each path."""

    async def hash_file(self, path: Path) -> HashedFile:
        """Return the current version of a file with its hash; known hashes are not computed again.

        Raises:
            FileChangedError: The file was changed while it was read.
            OSError: The file cannot be read.
        """
        self._lock_users[path] += 1
        try:
            async with self._locks.setdefault(path, anyio.Lock()):
                version = await to_thread.run_sync(FileVersion.from_path, path)
                if (sha256 := self._hashes.get(version)) is None:
                    compute = version.compute_sha256
                    sha256 = await to_thread.run_sync(compute, limiter=self._limiter)
                    self._hashes.add(version, sha256)
                return HashedFile(version=version, sha256=sha256)
        finally:
            self._lock_users[path] -= 1
            if not self._lock_users[path]:
                del self._lock_users[path], self._locks[path]
