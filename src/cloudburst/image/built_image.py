"""A finished image in a folder, and the record that describes it there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache
from cloudburst.image.options import Architecture, ImageOptions

# File in the folder of an image that describes it. It is written last.
RECORD = "cloudburst.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSize:
    """Layer of an image, with its size."""

    name: str
    """Name of the contents, for example ``base`` or ``our package``."""
    digest: str
    size: int
    """Compressed size in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltPlatform:
    """Image of one architecture."""

    architecture: Architecture
    digest: str
    """Digest of the manifest."""
    layers: tuple[LayerSize, ...]
    packages: tuple[tuple[str, int], ...] = ()
    """Names of the packages and their sizes in their wheels in bytes, the largest first."""

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
    labels: dict[str, str]
    notes: tuple[str, ...] = ()
    """Remarks for the user, for example that the image has no bytecode."""
    reused: bool = False
    """True if the same image had been built before."""


RECORDS = TypeAdapter(BuiltImage)


def last_image(options: ImageOptions) -> BuiltImage | None:
    """Return the image that was built last with this cache, or ``None``; blocks.

    Raises:
        ImageError: its record is damaged.
    """
    records = ImageCache(options.cache_folder).images.glob(f"*/{RECORD}")
    newest = max(records, key=lambda path: path.stat().st_mtime, default=None)
    return read_image(newest.parent) if newest else None


def read_image(folder: Path) -> BuiltImage:
    """Return what is recorded about the image in a folder; blocks.

    Raises:
        ImageError: the folder has no image of ours, or its record is damaged.
    """
    try:
        image = RECORDS.validate_json((folder / RECORD).read_bytes())
    except FileNotFoundError as exc:
        raise ImageError(f"{folder} has no image that cloudburst has built") from exc
    except (OSError, ValidationError) as exc:
        raise ImageError(f"{folder / RECORD} cannot be read, delete the folder: {exc}") from exc
    return replace(image, folder=folder, reused=True)
