"""Download of an image for one platform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cloudburst.registry.client import RegistryClient
from cloudburst.registry.documents import Descriptor, ImageConfig, Manifest, Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """Image of one platform whose blobs are on this machine."""

    root: Descriptor
    """Index or manifest that the tag or digest names."""
    manifest_descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    config_data: bytes
    layer_paths: tuple[Path, ...]
    """Files of the layers, lowest first."""


async def pull_image(
    client: RegistryClient,
    repository: str,
    reference: str,
    platform: Platform,
    blob_folder: Path,
) -> PulledImage:
    """Download an image, except blobs that the folder has, and return its parts.

    Blobs are files ``blob_folder/sha256/HEX``, as in an OCI image layout.

    Raises:
        NotInRegistryError: There is no such image, or it does not have the platform.
        DigestError: Content does not have its digest.
    """
    raise NotImplementedError
