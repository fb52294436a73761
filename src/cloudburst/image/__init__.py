"""Our container image, built without Docker: a base image, wheels, and this package."""

from cloudburst.image.build import BuildProgress, build_image
from cloudburst.image.built_image import (
    BuiltImage,
    BuiltPlatform,
    LayerSize,
    last_image,
    read_image,
)
from cloudburst.image.options import ARCHITECTURES, DEFAULT_BASE, Architecture, ImageOptions

__all__ = [
    "ARCHITECTURES",
    "DEFAULT_BASE",
    "Architecture",
    "BuildProgress",
    "BuiltImage",
    "BuiltPlatform",
    "ImageOptions",
    "LayerSize",
    "build_image",
    "last_image",
    "read_image",
]
