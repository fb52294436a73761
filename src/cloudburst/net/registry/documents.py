"""Documents that describe images: indexes, manifests and configurations."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cloudburst.net.registry.errors import InvalidImageError, NotInRegistryError
from cloudburst.net.registry.names import DIGEST

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
# Media types of an index: OCI image specification 1.1 and Docker registry specification.
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
# Media types of the manifest of an image for one platform, from the same specifications.
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)


@dataclass(frozen=True, slots=True)
class Platform:
    """Operating system and processor architecture of an image."""

    architecture: str
    """Name of the Go language: ``amd64`` or ``arm64``."""
    os: str = "linux"

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Reference to a blob or manifest by its digest."""

    media_type: str
    digest: str
    size: int
    """Size in bytes."""
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        # Blobs are files with this name.
        if not DIGEST.fullmatch(self.digest):
            raise InvalidImageError(f"expected sha256: and 64 hex digits, got {self.digest!r:.100}")


@dataclass(frozen=True, slots=True)
class Index:
    """List of the manifests of an image, one for each platform."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    def select(self, platform: Platform) -> Descriptor:
        """Return the manifest of a platform; raise `NotInRegistryError` if there is none."""
        for descriptor in self.manifests:
            if descriptor.platform == platform:
                return descriptor
        found = sorted({str(one.platform) for one in self.manifests if one.platform})
        raise NotInRegistryError(
            f"the image has no manifest for {platform}; it has {', '.join(found) or 'none'}"
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """Configuration and layers of an image for one platform, or an artifact such as an SBOM."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """Configuration of an image: its platform, and how its program is started."""

    platform: Platform
    diff_ids: tuple[str, ...]
    """Digests of the layers before compression."""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str = ""
    working_folder: str = ""
    volumes: tuple[str, ...] = ()
    """Paths that the image declares as volumes."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


def parse_index(data: bytes) -> Index:
    """Return an index (OCI or Docker); raise `InvalidImageError` for anything else."""
    with _reading("index"):
        document = json.loads(data)
        return Index(
            manifests=tuple(map(_descriptor, document["manifests"])),
            annotations=document.get("annotations") or {},
        )


def parse_manifest(data: bytes) -> Manifest:
    """Return a manifest (OCI or Docker); raise `InvalidImageError` for anything else."""
    with _reading("manifest"):
        document = json.loads(data)
        return Manifest(
            config=_descriptor(document["config"]),
            layers=tuple(map(_descriptor, document["layers"])),
            annotations=document.get("annotations") or {},
        )


def parse_config(data: bytes) -> ImageConfig:
    """Return the configuration of an image; raise `InvalidImageError` for anything else."""
    with _reading("configuration"):
        document = json.loads(data)
        process: dict[str, Any] = document.get("config") or {}
        environment: list[str] = process.get("Env") or []
        variables = (text.partition("=") for text in environment)
        return ImageConfig(
            platform=_platform(document),
            diff_ids=tuple(document["rootfs"]["diff_ids"]),
            entrypoint=tuple(process.get("Entrypoint") or ()),
            command=tuple(process.get("Cmd") or ()),
            environment={name: value for name, _, value in variables},
            user=process.get("User") or "",
            working_folder=process.get("WorkingDir") or "",
            volumes=tuple(process.get("Volumes") or ()),
            labels=process.get("Labels") or {},
        )


@contextmanager
def _reading(what: str) -> Generator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise InvalidImageError(f"the {what} of the image is not valid: {exc!r:.200}") from exc


def _descriptor(entry: dict[str, Any]) -> Descriptor:
    platform = entry.get("platform")
    return Descriptor(
        media_type=entry["mediaType"],
        digest=entry["digest"],
        size=int(entry["size"]),
        platform=_platform(platform) if platform else None,
        annotations=entry.get("annotations") or {},
    )


def _platform(entry: dict[str, Any]) -> Platform:
    return Platform(architecture=entry["architecture"], os=entry["os"])
