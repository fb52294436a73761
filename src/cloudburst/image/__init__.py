"""Our container image, built without Docker: a base image, wheels, and this package.

Names are imported on first use: building needs packages that the render service does not have.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.image.build import build_image
    from cloudburst.image.built_image import (
        BuiltImage,
        BuiltPlatform,
        LayerSize,
        last_image,
        read_image,
    )
    from cloudburst.image.options import ARCHITECTURES, DEFAULT_BASE, Architecture, ImageOptions
    from cloudburst.image.progress import BuildProgress

_MODULES = {
    "build": ("build_image",),
    "built_image": ("BuiltImage", "BuiltPlatform", "LayerSize", "last_image", "read_image"),
    "options": ("ARCHITECTURES", "DEFAULT_BASE", "Architecture", "ImageOptions"),
    "progress": ("BuildProgress",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

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


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(f"cloudburst.image.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
