"""Build of the container image from a base image, wheels and this package."""

from __future__ import annotations

from cloudburst.image.options import BuiltImage, ImageOptions, OnBuildProgress


async def build_image(
    options: ImageOptions, on_progress: OnBuildProgress | None = None
) -> BuiltImage:
    """Build the image, or return the one that was built before from the same inputs."""
    raise NotImplementedError
