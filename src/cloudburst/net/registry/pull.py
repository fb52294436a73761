"""Download of an image for one platform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from cloudburst.concurrency import for_each
from cloudburst.net.registry.blob_files import blob_path
from cloudburst.net.registry.client import RegistryClient
from cloudburst.net.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    ImageConfig,
    Manifest,
    Platform,
)
from cloudburst.net.registry.errors import NotInRegistryError
from cloudburst.net.registry.parsing import parse_config, parse_index, parse_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """Image of one platform whose blobs are on this machine."""

    manifest_descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
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
        InvalidImageError: The image violates the OCI specification.
        RegistryUnavailableError: The registry does not answer.
    """
    found, data = await client.resolve(repository, reference)
    if found.media_type in INDEX_TYPES:
        found = parse_index(data).select(platform)
        found, data = await client.resolve(repository, found.digest, MANIFEST_TYPES)
    manifest = parse_manifest(data)

    async def download(blob: Descriptor) -> None:
        path = blob_path(blob_folder, blob.digest)
        if not await to_thread.run_sync(path.is_file):
            await client.download(repository, blob, path)

    blobs = {blob.digest: blob for blob in (manifest.config, *manifest.layers)}
    await for_each(blobs.values(), download, at_once=client.policy.concurrent_blobs)
    config_path = blob_path(blob_folder, manifest.config.digest)
    config = parse_config(await to_thread.run_sync(config_path.read_bytes))
    if config.platform != platform:
        raise NotInRegistryError(f"the image is for {config.platform}, not for {platform}")
    return PulledImage(
        manifest_descriptor=found,
        manifest=manifest,
        config=config,
        layer_paths=tuple(blob_path(blob_folder, layer.digest) for layer in manifest.layers),
    )
