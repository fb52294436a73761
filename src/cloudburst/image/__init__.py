"""Our container image, built without Docker: a base image, wheels, and this package."""

from cloudburst.image.build import build_image
from cloudburst.image.options import (
    ARCHITECTURES,
    DEFAULT_BASE,
    IMAGE_TAG,
    Architecture,
    BuildProgress,
    BuiltImage,
    BuiltPlatform,
    ImageOptions,
    LayerSize,
)

__all__ = [
    "ARCHITECTURES",
    "DEFAULT_BASE",
    "IMAGE_TAG",
    "Architecture",
    "BuildProgress",
    "BuiltImage",
    "BuiltPlatform",
    "ImageOptions",
    "LayerSize",
    "build_image",
]
