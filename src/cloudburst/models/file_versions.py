"""Versions of files on this machine, and the hashes of their contents. Every function blocks."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from cloudburst.files import open_regular_file

# Number of bytes that are read and hashed at once; they fit into the cache of a core.
HASH_BLOCK_BYTES = 256 * 1024
# Maximum number of hashes that a process remembers, which take about 25 MB. The oldest hash is
# dropped first.
MAX_KNOWN_HASHES = 50_000


# Text of errors for a file that is not what it was when it was checked.
CHANGED = "changed since the run began; resume the run to render what it is now"


class FileChangedError(OSError):
    """Error for an input file that has changed since its version was determined."""


class FileVersion(NamedTuple):
    """Path and status of a file, which show whether the file has changed."""

    path: Path
    size: int
    """Size in bytes."""
    mtime_ns: int
    """Time of the last change of the content, in nanoseconds since the Unix epoch."""
    ctime_ns: int
    """Time of the last change of the content or the status, in nanoseconds since the Unix epoch."""
    inode: int
    """Number of the file in its file system; another file at the same path has another number."""

    @classmethod
    def from_path(cls, path: Path) -> FileVersion:
        """Return the current version of a file."""
        return cls.from_status(path, path.stat())

    @classmethod
    def from_status(cls, path: Path, status: os.stat_result) -> FileVersion:
        """Return the version of a file with this status."""
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def has_content_of(self, other: FileVersion) -> bool:
        """Return whether the content is that of another version of the file."""
        # The time of the status does not count: it changes with permissions or a hard link.
        mine, theirs = (each._replace(ctime_ns=0) for each in (self, other))
        return mine == theirs

    def check_unchanged(self, descriptor: int) -> None:
        """Check that an open file still has the content of this version.

        Raises:
            FileChangedError: The file was changed.
        """
        if not self.has_content_of(FileVersion.from_status(self.path, os.fstat(descriptor))):
            raise self._changed_error()

    def read_block(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from an offset on, or fewer at the end of the file.

        Raises:
            FileChangedError: The file was changed.
            OSError: The file cannot be read.
        """
        # The file is closed after each block, so that no open file can leak.
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

    def compute_sha256(self, on_block: Callable[[], None] = lambda: None) -> str:
        """Read the file once, and return the SHA-256 of its content in hexadecimal.

        Raises:
            FileChangedError: The file was changed.
            OSError: The file cannot be read.
        """
        digest, left = hashlib.sha256(), self.size
        view = memoryview(bytearray(min(HASH_BLOCK_BYTES, self.size + 1)))
        with open_regular_file(self.path) as file:
            self.check_unchanged(file.fileno())
            while count := file.raw.readinto(view) or 0:
                left -= count
                if left < 0:  # it grows, possibly without end
                    raise self._changed_error()
                digest.update(view[:count])
                on_block()
            self.check_unchanged(file.fileno())
        return digest.hexdigest()

    def _changed_error(self) -> FileChangedError:
        return FileChangedError(f"{self.path} {CHANGED}")


# Version of a file, and the SHA-256 of its content in hexadecimal.
KnownHash: TypeAlias = tuple[FileVersion, str]


class FileHashes:
    """SHA-256 of files by their version, for use by several threads. It is bounded."""

    def __init__(self) -> None:
        self._hashes: OrderedDict[FileVersion, str] = OrderedDict()
        """Hashes by version, in the order in which they were added."""

    def __len__(self) -> int:
        return len(self._hashes)

    def get(self, version: FileVersion) -> str | None:
        """Return the hash of a version; ``None`` if it is not known."""
        return self._hashes.get(version)

    def add(self, version: FileVersion, sha256: str) -> None:
        """Remember the hash of a version."""
        self._hashes[version] = sha256
        if len(self._hashes) > MAX_KNOWN_HASHES:
            self._hashes.popitem(last=False)


# Hashes of the files that this process has read, or whose hashes an earlier process has saved.
KNOWN_HASHES = FileHashes()
