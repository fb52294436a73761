"""Options of an image build."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, TypeAlias

from cloudburst.files import cache_folder
from cloudburst.models.settings import Settings
from cloudburst.net.registry.http import Credentials

logger = logging.getLogger(__name__)

Architecture: TypeAlias = Literal["amd64", "arm64"]
"""Architecture in the notation of OCI images."""

DEFAULT_BASE = "public.ecr.aws/docker/library/python:3.13-slim"
"""Base image. It is the same as Docker Hub's, without its limit of pulls."""
ARCHITECTURES: tuple[Architecture, ...] = ("amd64", "arm64")
# Processors as wheels and Linux name them.
MACHINES: dict[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64"}
# Python version for which the packages are locked. The base image must have it.
PYTHON = "3.13"
# ``nox -s lock`` writes it. It is a requirements file of pip.
LOCK_FILE = Path(__file__).with_name("requirements.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """Options of an image build."""

    base: str = DEFAULT_BASE
    """Reference of the base image, which needs glibc and Python 3.13."""
    base_credentials: Credentials | None = field(default=None, repr=False)
    """Login for the registry of the base image; ``None``: the one that ``docker login`` saved."""
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
        architectures: Sequence[Architecture] | None = None,
    ) -> Self:
        """Return the options for the base image in the settings, or for ``base`` in its place.

        A base image that ``.env`` names is logged, because the file may be from a stranger.
        """
        if base is None and settings.base_image and settings.is_from_file("base_image"):
            logger.warning("%s is %s", settings.origin("base_image"), settings.base_image)
        base = base or settings.base_image or DEFAULT_BASE
        return cls(base=base, architectures=tuple(architectures or ARCHITECTURES))
