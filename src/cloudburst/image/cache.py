"""Cache of the image builder: wheels, blobs, records of layers, and finished images.

Every function blocks. A complete file or folder gets its name, which says what is in it, by a
rename, so that several builds may use the cache at the same time.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloudburst.errors import ImageError
from cloudburst.net.registry.layout import blob_path, digest_of

# Age in seconds from which a temporary folder is one of a build that was killed.
LEFTOVER_SECONDS = 86_400


class ImageCache:
    """Folder of the builder's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"
        """Folder of blobs, as in an OCI image layout: ``sha256/HEX``."""
        self.images = folder / "images"
        """Folder of finished images: an OCI image layout each, whose blobs are hard links."""
        self._temporary = folder / "tmp"

    def create(self) -> None:
        """Create the folders, and remove what killed builds have left."""
        try:
            for folder in (self.blobs / "sha256", self.images, self._temporary):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            msg = f"the cache {self.folder} cannot be created: {exc.strerror or exc}"
            raise ImageError(msg) from exc
        for path in self._temporary.iterdir():
            with suppress(FileNotFoundError):  # another build may remove its own meanwhile
                if path.stat().st_mtime < time.time() - LEFTOVER_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def temporary_folder(self) -> Generator[Path]:
        """Yield a new folder, from which complete files are moved to their places."""
        with tempfile.TemporaryDirectory(dir=self._temporary) as name:
            yield Path(name)

    def blob_path(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return blob_path(self.blobs, digest)

    def add_data(self, data: bytes) -> str:
        """Write a small blob, and return its digest."""
        digest = digest_of(data)
        self.write(self.blob_path(digest), data)
        return digest

    def read_record(self, key: str) -> object:
        """Return the record of a layer, or ``None`` if there is none."""
        try:
            return json.loads(self._record(key).read_bytes())
        except (FileNotFoundError, ValueError):  # without a value after a power failure
            return None

    def write_record(self, key: str, value: object) -> None:
        """Write the record of a layer."""
        self.write(self._record(key), json.dumps(value).encode())

    def _record(self, key: str) -> Path:
        return self.folder / "layers" / f"{key}.json"

    def write(self, path: Path, data: bytes) -> None:
        """Write a file that other processes see as a whole or not at all."""
        with self.temporary_folder() as folder:
            temporary = folder / path.name
            temporary.write_bytes(data)
            move(temporary, path)


def move(source: Path, target: Path) -> None:
    """Give a complete file or folder its name; a folder of another build stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:
        if not (source.is_dir() and target.is_dir()):
            raise
