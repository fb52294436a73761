"""Documents that describe images: indexes, manifests and configurations.

`cloudburst.net.registry.parsing` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
"""Media types of an index: OCI image specification 1.1 and Docker registry specification."""
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
"""Media types of the manifest of an image for one platform, from the same specifications."""


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
