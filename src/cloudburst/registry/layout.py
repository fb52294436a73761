"""Reading of OCI image layout folders. Every function blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cloudburst.registry.blob_files import blob_path, file_size, read_document
from cloudburst.registry.documents import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from cloudburst.registry.errors import InvalidImageError
from cloudburst.registry.parsing import parse_index, parse_layout, parse_manifest

MAX_DEPTH = 3
"""Maximum number of indexes within each other."""


@dataclass(slots=True)
class LayoutImage:
    """Image in an OCI image layout folder."""

    folder: Path
    root: Descriptor
    """Index or manifest of the image."""
    root_data: bytes = b""
    manifests: list[tuple[Descriptor, bytes]] = field(
        default_factory=list[tuple[Descriptor, bytes]]
    )
    """Manifests and indexes, each after those that it refers to."""
    blobs: dict[str, Descriptor] = field(default_factory=dict[str, Descriptor])
    """Configurations and layers by digest."""

    def path(self, descriptor: Descriptor) -> Path:
        """Return the path of a blob or manifest."""
        return blob_path(self.folder / "blobs", descriptor.digest)


def read_layout(folder: Path) -> LayoutImage:
    """Return the image in a folder, whose first entry of ``index.json`` it is.

    Raises:
        InvalidImageError: The folder is not a complete image layout.
        DigestError: A manifest does not have its digest.
    """
    entries = parse_layout(read_document(folder / "index.json"))
    if not entries:
        raise InvalidImageError(f"{folder / 'index.json'} names no image")
    image = LayoutImage(folder, entries[0])
    for entry in entries:
        _add_manifest(image, entry, MAX_DEPTH)
    for blob in image.blobs.values():
        if (size := file_size(image.path(blob))) != blob.size:
            msg = f"{image.path(blob)} has {size} bytes instead of {blob.size}"
            raise InvalidImageError(msg)
    image.root_data = next(data for one, data in image.manifests if one == image.root)
    return image


def _add_manifest(image: LayoutImage, descriptor: Descriptor, depth: int) -> None:
    if any(descriptor.digest == one.digest for one, _ in image.manifests):
        return
    data = read_document(image.path(descriptor), descriptor)
    if descriptor.media_type in INDEX_TYPES and depth > 0:
        for entry in parse_index(data).manifests:
            _add_manifest(image, entry, depth - 1)
    elif descriptor.media_type in MANIFEST_TYPES:
        manifest = parse_manifest(data)
        for blob in (manifest.config, *manifest.layers):
            image.blobs[blob.digest] = blob
    else:
        msg = f"{image.path(descriptor)}: unexpected media type {descriptor.media_type[:100]!r}"
        raise InvalidImageError(msg)
    image.manifests.append((descriptor, data))
