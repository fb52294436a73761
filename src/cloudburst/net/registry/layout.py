"""OCI image layout folders, and files that are blobs. Every function blocks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from cloudburst.net.registry.documents import INDEX_TYPES, Descriptor, parse_index, parse_manifest
from cloudburst.net.registry.errors import DigestError, InvalidImageError


@dataclass(slots=True)
class LayoutImage:
    """Image in an OCI image layout folder."""

    folder: Path
    root: Descriptor
    """Index or manifest of the image."""
    manifests: dict[str, tuple[Descriptor, bytes]] = field(
        default_factory=dict[str, tuple[Descriptor, bytes]]
    )
    """Manifests and indexes with their content, by digest, each after those that it refers to."""
    blobs: dict[str, Descriptor] = field(default_factory=dict[str, Descriptor])
    """Configurations and layers by digest."""

    def path(self, descriptor: Descriptor) -> Path:
        """Return the path of a blob or manifest."""
        return blob_path(self.folder / "blobs", descriptor.digest)


def read_layout(folder: Path) -> LayoutImage:
    """Return the image in a folder, whose first entry of ``index.json`` it is."""
    try:
        entries = parse_index((folder / "index.json").read_bytes()).manifests
        if not entries:
            raise InvalidImageError(f"{folder / 'index.json'} names no image")
        image = LayoutImage(folder, entries[0])
        _add_manifest(image, image.root)
        for blob in image.blobs.values():
            if image.path(blob).stat().st_size != blob.size:
                raise InvalidImageError(f"{image.path(blob)} does not have {blob.size} bytes")
    except OSError as exc:
        raise InvalidImageError(f"{exc.filename} cannot be read: {exc.strerror}") from exc
    return image


def _add_manifest(image: LayoutImage, descriptor: Descriptor) -> None:
    data = image.path(descriptor).read_bytes()
    if digest_of(data) != descriptor.digest:
        raise DigestError(f"{image.path(descriptor)} does not have the digest in its name")
    if descriptor.media_type in INDEX_TYPES:
        for entry in parse_index(data).manifests:
            _add_manifest(image, entry)
    else:
        manifest = parse_manifest(data)
        image.blobs |= {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
    image.manifests[descriptor.digest] = descriptor, data


def blob_path(folder: Path, digest: str) -> Path:
    """Return the path of a blob in a folder ``blobs`` of an OCI image layout."""
    algorithm, _, value = digest.partition(":")
    return folder / algorithm / value


def read_part(path: Path, start: int, size: int) -> bytes:
    """Return a part of a file, which is shorter at its end."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def file_digest(path: Path) -> str:
    """Return the digest of a file, which is read completely."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def digest_of(data: bytes) -> str:
    """Return the digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
