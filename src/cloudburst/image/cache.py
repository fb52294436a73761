"""Cache of the image builder: wheels, blobs and records of what they are made of.

Every function blocks. One build at a time writes into the folder: see `cache_locks.build_lock`.
Files are written under other names and then renamed, and what is read from the cache is checked
against a hash. `cache_pruning.remove_unused` limits its size.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from cloudburst.errors import ImageError
from cloudburst.registry.blob_files import blob_path, digest_of
from cloudburst.registry.documents import Descriptor
from cloudburst.registry.pull import is_complete
from cloudburst.safe_files import read_regular_file

MAX_RECORD_BYTES = 16 * 1024**2
"""Maximum size of a record. That of a base image with 10,000 packages has 2 MB."""
PART = ".part"
"""End of the names of files and folders that are not complete."""
TEMPORARY_PREFIXES = ("download-", "compile-", ".compile-")
"""Beginnings of the names of temporary folders: of pip, of modules, and of the kernel."""


class ImageCache:
    """Folder of wheels, blobs and records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"
        """Folder of blobs, as in an OCI image layout: ``sha256/HEX``."""
        self.wheels = folder / "wheels"
        self.images = folder / "images"
        """Folder of finished images: an OCI image layout each, whose blobs are hard links."""
        self.used = set[Path]()
        """Files and images that this build has used or written."""

    def create(self) -> None:
        """Create the folders; raise `ImageError` if that is not possible."""
        try:
            for folder in (self.blobs / "sha256", self.wheels, self.images):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            msg = f"the cache {self.folder} cannot be created: {exc.strerror or exc}"
            raise ImageError(msg) from exc

    def mark_used(self, path: Path) -> None:
        """Record that a file or an image is used now, so that it is removed last."""
        self.used.add(path)
        with suppress(OSError):
            os.utime(path)

    def blob_path(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return blob_path(self.blobs, digest)

    def has_blob(self, blob: Descriptor) -> bool:
        """Return whether there is a blob with this size and digest; the file is read completely."""
        path = self.blob_path(blob.digest)
        if not is_complete(path, blob):
            return False
        self.mark_used(path)
        return True

    def add_blob(self, file: Path, digest: str) -> None:
        """Move a complete file into the cache."""
        path = self.blob_path(digest)
        file.replace(path)
        self.mark_used(path)

    def add_data(self, data: bytes) -> str:
        """Write a small blob unless it is there, and return its digest."""
        digest = digest_of(data)
        path = self.blob_path(digest)
        if not self.has_blob(Descriptor("", digest, len(data))):
            write_file(path, data)
            self.mark_used(path)
        return digest

    def read_record(self, kind: str, key: str) -> object:
        """Return a record, or ``None`` if there is none or it is damaged."""
        path = self._record(kind, key)
        try:
            checksum, _, data = read_regular_file(path, limit=MAX_RECORD_BYTES).partition(b"\n")
            if checksum != _checksum(data):
                return None
            value = json.loads(data)
        except (OSError, ValueError, RecursionError):
            return None
        self.mark_used(path)
        return value

    def write_record(self, kind: str, key: str, value: object) -> None:
        """Write a record, which `read_record` returns, with a hash of it in the first line."""
        data = json.dumps(value, sort_keys=True).encode()
        path = self._record(kind, key)
        write_file(path, _checksum(data) + b"\n" + data)
        self.mark_used(path)

    def remove_leftovers(self) -> None:
        """Remove what builds that were killed have left. No other build may be running."""
        for parent, folders, files in os.walk(self.folder):
            left = [name for name in [*folders, *files] if name.endswith(PART)]
            left += [name for name in folders if name.startswith(TEMPORARY_PREFIXES)]
            for name in left:
                _remove(Path(parent, name))
            folders[:] = [name for name in folders if Path(parent, name).exists()]

    def _record(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key}.json"


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write a file that other processes see as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links.

    An existing file is replaced at once.
    """
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PART}")
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
