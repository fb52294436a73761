"""Options of an image build."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, TypeAlias

from cloudburst.errors import ConfigurationError
from cloudburst.image.locked_packages import LOCK_FILE
from cloudburst.models.settings import Settings
from cloudburst.paths import cache_folder
from cloudburst.registry import Credentials

Architecture: TypeAlias = Literal["amd64", "arm64"]
"""Architecture in the notation of OCI images."""

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
