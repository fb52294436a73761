"""Cache of the image builder: wheels, blobs and records of what they are made of.

Every function blocks. Several processes may use the folder at once: files are written under other
names and then renamed, and their names are hashes of their contents or of what they are made of.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from cloudburst.errors import ImageError
from cloudburst.registry.blob_files import blob_path, digest_of, has_size
from cloudburst.safe_files import read_regular_file

MAX_RECORD_BYTES = 16 * 1024**2
"""Maximum size of a record. That of a base image with 10,000 packages has 2 MB."""
KEPT_IMAGES = 3
"""Number of images that `ImageCache.remove_old_images` keeps, the newest first."""
DOWNLOAD_PREFIX = "download-"
"""Beginning of the names of temporary folders for downloads."""


class ImageCache:
    """Folder of wheels, blobs and records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"
        """Folder of blobs, as in an OCI image layout: ``sha256/HEX``."""
        self.wheels = folder / "wheels"
        self.images = folder / "images"
        """Folder of finished images: an OCI image layout each, whose blobs are hard links."""

    def create(self) -> None:
        """Create the folders; raise `ImageError` if that is not possible."""
        try:
            for folder in (self.blobs / "sha256", self.wheels, self.images):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            msg = f"the cache {self.folder} cannot be created: {exc.strerror or exc}"
            raise ImageError(msg) from exc

    def blob_path(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return blob_path(self.blobs, digest)

    def has_blob(self, digest: str, size: int) -> bool:
        """Return whether there is a blob of this size, in bytes."""
        return has_size(self.blob_path(digest), size)

    def add_blob(self, file: Path, digest: str) -> None:
        """Move a complete file into the cache."""
        file.replace(self.blob_path(digest))

    def add_data(self, data: bytes) -> str:
        """Write a small blob, and return its digest."""
        digest = digest_of(data)
        write_file(self.blob_path(digest), data)
        return digest

    def read_record(self, kind: str, key: str) -> object:
        """Return a record, or ``None`` if there is none or it is damaged."""
        try:
            return json.loads(read_regular_file(self._record(kind, key), limit=MAX_RECORD_BYTES))
        except (OSError, ValueError, RecursionError):
            return None

    def write_record(self, kind: str, key: str, value: object) -> None:
        """Write a record, which `read_record` returns."""
        write_file(self._record(kind, key), json.dumps(value, sort_keys=True).encode())

    def remove_leftovers(self) -> None:
        """Remove what builds that were killed have left. No other build may be running."""
        for pattern in ("*.part", "blobs/sha256/*.part", "images/*.part", f"{DOWNLOAD_PREFIX}*"):
            for path in self.folder.glob(pattern):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def remove_old_images(self) -> None:
        """Remove all images but the newest, and the blobs that no other image has."""
        folders = sorted(self.images.iterdir(), key=lambda path: -path.stat().st_mtime)
        for folder in folders[KEPT_IMAGES:]:
            shutil.rmtree(folder, ignore_errors=True)
        used = {path.name for path in self.images.glob("*/blobs/sha256/*")}
        if len(folders) > KEPT_IMAGES:
            for blob in (self.blobs / "sha256").iterdir():
                if blob.name not in used:
                    with suppress(OSError):
                        blob.unlink()

    def _record(self, kind: str, key: str) -> Path:
        return self.folder / kind / f"{key}.json"


def write_file(path: Path, data: bytes) -> None:
    """Write a file that other processes see as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:
        shutil.copyfile(source, target)
