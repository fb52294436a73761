"""Options of an image build, and what a build reports and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self, TypeAlias

from cloudburst.errors import ConfigurationError
from cloudburst.image.lock import LOCK_FILE
from cloudburst.models.settings import Settings
from cloudburst.paths import cache_folder
from cloudburst.registry import Credentials

Architecture: TypeAlias = Literal["amd64", "arm64"]
"""Architecture in the notation of OCI images."""

DISTRIBUTION = "cloudburst-sdk"
"""Name of this package's distribution."""
IMAGE_TAG = version(DISTRIBUTION)
"""Tag of the image: the version of this package."""
DEFAULT_BASE = "public.ecr.aws/docker/library/python:3.13-slim"
"""Base image. It is the same as Docker Hub's, without its limit of pulls."""
ARCHITECTURES: tuple[Architecture, ...] = ("amd64", "arm64")


def parse_login(text: str, name: str) -> Credentials:
    """Return the user and password of ``user:password``; ``name`` says where the text is from.

    Raises:
        ConfigurationError: the text has another form.
    """
    user, separator, password = text.partition(":")
    if not (user and separator):
        raise ConfigurationError(f"{name}: expected user:password")
    return Credentials(user, password)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """Options of an image build."""

    base: str = DEFAULT_BASE
    """Reference of the base image, which needs glibc and Python 3.13."""
    base_credentials: Credentials | None = field(default=None, repr=False)
    """User and password for the registry of the base image; ``None`` for anonymous pulls."""
    architectures: tuple[Architecture, ...] = ARCHITECTURES
    """Architectures of the image, each with its own manifest in the index."""
    lock_file: Path = LOCK_FILE
    """Requirements file with the versions and hashes of all packages of the service."""
    cache_folder: Path = field(default_factory=lambda: cache_folder() / "image")
    """Folder of downloaded wheels, of layers and of finished images."""

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        base: str | None = None,
        architectures: tuple[Architecture, ...] = ARCHITECTURES,
    ) -> Self:
        """Return the options for the base image in the settings, or for ``base`` in its place.

        Raises:
            ConfigurationError: the login for the registry of the base image is not valid.
        """
        login = settings.base_login
        return cls(
            base=base or settings.base_image or DEFAULT_BASE,
            base_credentials=parse_login(login.get_secret_value(), "CLOUDBURST_BASE_LOGIN")
            if login
            else None,
            architectures=architectures,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProgress:
    """State of a build, for a display."""

    step: str
    """Description of the current step, for example ``compress the packages (amd64)``."""
    done: int = 0
    """Number of steps that are finished."""
    total: int = 0
    """Number of steps of the build, as far as they are known."""


OnBuildProgress: TypeAlias = Callable[[BuildProgress], None]
"""Function that is called at the start and the end of each step of a build."""


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
    tag: str
    base: str
    """Reference of the base image, with its digest."""
    platforms: tuple[BuiltPlatform, ...]
    version: str
    """Version of this package."""
    protocol_version: int
    labels: dict[str, str]
    notes: tuple[str, ...] = ()
    """Remarks for the user, for example that the image has no bytecode."""
    reused: bool = False
    """True if the same image had been built before."""
