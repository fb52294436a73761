"""A finished image in a folder, and the record that describes it there."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudburst.errors import ImageError
from cloudburst.image.cache import MAX_RECORD_BYTES, PART, ImageCache
from cloudburst.image.options import Architecture, ImageOptions
from cloudburst.safe_files import read_regular_file

RECORD = "cloudburst.json"
"""File in the folder of an image that describes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSize:
    """Layer of an image, with its size."""

    name: str
    """Name of the contents, for example ``base`` or ``our package``."""
    digest: str
    size: int
    """Compressed size in bytes."""
    unpacked_size: int = 0
    """Size of the tar file in bytes; 0 if it is not known, as for layers of the base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPlatform:
    """Image of one architecture."""

    architecture: Architecture
    digest: str
    """Digest of the manifest."""
    layers: tuple[LayerSize, ...]
    packages: tuple[tuple[str, int], ...] = ()
    """Names of the packages and their compressed sizes in bytes, the largest first."""

    @property
    def size(self) -> int:
        """Compressed size of all layers in bytes."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """Finished image, as an OCI image layout in a folder."""

    folder: Path
    """Folder with ``oci-layout``, ``index.json`` and ``blobs``."""
    digest: str
    """Digest of the index of all architectures."""
    base: str
    """Reference of the base image, with its digest."""
    platforms: tuple[BuiltPlatform, ...]
    version: str
    """Version of this package, which is the tag of the image."""
    protocol_version: int
    labels: dict[str, str]
    notes: tuple[str, ...] = ()
    """Remarks for the user, for example that the image has no bytecode."""
    reused: bool = False
    """True if the same image had been built before."""


def last_image(options: ImageOptions) -> BuiltImage | None:
    """Return the image that was built last with this cache, or ``None``; blocks.

    Raises:
        ImageError: its record is damaged.
    """
    images = ImageCache(options.cache_folder).images
    found = dict[Path, float]()
    for path in images.glob("*"):
        with suppress(OSError):  # a build removes old images at its end
            if path.suffix != PART and (path / RECORD).is_file():
                found[path] = path.stat().st_mtime
    folder = max(found, key=found.__getitem__, default=None)
    return read_image(folder) if folder else None


def read_image(folder: Path) -> BuiltImage:
    """Return what is recorded about the image in a folder; blocks.

    Raises:
        ImageError: the folder has no image of ours, or its record is damaged.
    """
    path = folder / RECORD
    try:
        record: Any = json.loads(read_regular_file(path, limit=MAX_RECORD_BYTES))
        platforms = tuple(_platform(one) for one in record.pop("platforms"))
        notes = tuple(map(str, record.pop("notes")))
        record |= {"folder": folder, "reused": True}
        return BuiltImage(**record, platforms=platforms, notes=notes)
    except FileNotFoundError as exc:
        raise ImageError(f"{folder} has no image that cloudburst has built") from exc
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as exc:
        raise ImageError(f"{path} cannot be read: {exc}") from exc


def _platform(record: Any) -> BuiltPlatform:
    layers = tuple(LayerSize(**one) for one in record.pop("layers"))
    packages = tuple((str(name), int(size)) for name, size in record.pop("packages"))
    return BuiltPlatform(**record, layers=layers, packages=packages)
