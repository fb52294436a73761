"""Input files of scenes: identified by their hash, read in blocks, checked for changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from cloudburst.errors import UploadError
from cloudburst.models.file_versions import KNOWN_HASHES, FileHashes, FileVersion
from cloudburst.models.locations import AnyLocation

READ_BLOCK_BYTES = 256 * 1024
"""Bytes that one call in a thread reads. The overhead of such a call is about the time in which
100 kB are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFile:
    """An input file of a scene or film."""

    scene: str
    field: str
    """Use of the file: ``image``, ``audio``, ``subtitle``, ``watermark``, ``music`` or ``font``."""
    location: AnyLocation

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


async def hash_file(path: Path, hashes: FileHashes = KNOWN_HASHES) -> HashedFile:
    """Return the current version of a file with its hash; known hashes are not computed again.

    Args:
        path: The file.
        hashes: Hashes that are known, as those of the files that were checked before the run are;
            new ones are added.

    Raises:
        FileChangedError: The file was changed while it was read.
        OSError: The file cannot be read.
    """
    version = await to_thread.run_sync(FileVersion.from_path, path)
    if (sha256 := hashes.get(version)) is None:
        sha256 = await to_thread.run_sync(version.compute_sha256)
        hashes.add(version, sha256)
    return HashedFile(version=version, sha256=sha256)
