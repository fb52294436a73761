"""Client of container registries (OCI distribution specification), and unpacking of images.

It pushes and pulls images without Docker. The emulator uses it, too, so that callers translate
`RegistryError` into their own errors. Names are imported on first use, because importing httpx
takes a tenth of a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudburst.net.registry.client import RegistryClient, open_registry
    from cloudburst.net.registry.documents import (
        Descriptor,
        ImageConfig,
        Index,
        Manifest,
        Platform,
    )
    from cloudburst.net.registry.errors import (
        DigestError,
        InvalidImageError,
        LoginError,
        NotInRegistryError,
        RegistryError,
        RegistryUnavailableError,
    )
    from cloudburst.net.registry.login import Credentials
    from cloudburst.net.registry.names import ImageReference
    from cloudburst.net.registry.parsing import parse_config, parse_index, parse_manifest
    from cloudburst.net.registry.policy import TransferPolicy
    from cloudburst.net.registry.pull import PulledImage, pull_image
    from cloudburst.net.registry.push import PushProgress, PushReport, push_image
    from cloudburst.net.registry.unpack import unpack_layers

_MODULES = {
    "client": ("RegistryClient", "open_registry"),
    "documents": ("Descriptor", "ImageConfig", "Index", "Manifest", "Platform"),
    "errors": (
        "DigestError",
        "InvalidImageError",
        "LoginError",
        "NotInRegistryError",
        "RegistryError",
        "RegistryUnavailableError",
    ),
    "login": ("Credentials",),
    "names": ("ImageReference",),
    "parsing": ("parse_config", "parse_index", "parse_manifest"),
    "policy": ("TransferPolicy",),
    "pull": ("PulledImage", "pull_image"),
    "push": ("PushProgress", "PushReport", "push_image"),
    "unpack": ("unpack_layers",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Credentials",
    "Descriptor",
    "DigestError",
    "ImageConfig",
    "ImageReference",
    "Index",
    "InvalidImageError",
    "LoginError",
    "Manifest",
    "NotInRegistryError",
    "Platform",
    "PulledImage",
    "PushProgress",
    "PushReport",
    "RegistryClient",
    "RegistryError",
    "RegistryUnavailableError",
    "TransferPolicy",
    "open_registry",
    "parse_config",
    "parse_index",
    "parse_manifest",
    "pull_image",
    "push_image",
    "unpack_layers",
]


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(import_module(f"cloudburst.net.registry.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
