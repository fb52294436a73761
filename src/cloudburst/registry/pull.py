"""Download of an image for one platform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from cloudburst.registry.blob_files import blob_path, file_digest, has_size, read_document
from cloudburst.registry.client import RegistryClient
from cloudburst.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT_BYTES,
    MAX_IMAGE_BYTES,
    Descriptor,
    ImageConfig,
    Manifest,
    Platform,
)
from cloudburst.registry.errors import InvalidImageError, NotInRegistryError, first_error
from cloudburst.registry.parsing import parse_config, parse_index, parse_manifest
from cloudburst.registry.retries import Retries


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """Image of one platform whose blobs are on this machine."""

    root: Descriptor
    """Index or manifest that the tag or digest names."""
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
    *,
    on_progress: Callable[[int], object] | None = None,
) -> PulledImage:
    """Download an image, except blobs that the folder has, and return its parts.

    Blobs are files ``blob_folder/sha256/HEX``, as in an OCI image layout. ``on_progress`` is called
    with the number of bytes received so far.

    Raises:
        NotInRegistryError: There is no such image, or it does not have the platform.
        DigestError: Content does not have its digest.
        InvalidImageError: The image violates the OCI specification or a limit.
        RegistryUnavailableError: The registry does not answer, or sends the image more slowly than
            `TransferPolicy` allows.
    """
    root, data = await client.resolve(repository, reference)
    found = root
    if root.media_type in INDEX_TYPES:
        found = parse_index(data).select(platform)
        found, data = await client.resolve(repository, found.digest, MANIFEST_TYPES)
    manifest = parse_manifest(data)
    if manifest.config.size > MAX_DOCUMENT_BYTES:
        raise InvalidImageError("the configuration of the image is too large")
    blobs = (manifest.config, *manifest.layers)
    size = sum(blob.size for blob in blobs)
    if size > MAX_IMAGE_BYTES:
        raise InvalidImageError(f"the image has more than {MAX_IMAGE_BYTES // 1024**3} GiB")
    with Retries(client.policy, f"pull of {repository} {reference}").limited(size):
        await _download_missing(client, repository, blobs, blob_folder, on_progress)
    config_path = blob_path(blob_folder, manifest.config.digest)
    config = parse_config(await to_thread.run_sync(read_document, config_path, manifest.config))
    if config.platform != platform:
        raise NotInRegistryError(f"the image is for {config.platform}, not for {platform}")
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidImageError("configuration and manifest name different numbers of layers")
    return PulledImage(
        root=root,
        manifest_descriptor=found,
        manifest=manifest,
        config=config,
        layer_paths=tuple(blob_path(blob_folder, layer.digest) for layer in manifest.layers),
    )


async def _download_missing(
    client: RegistryClient,
    repository: str,
    blobs: tuple[Descriptor, ...],
    folder: Path,
    on_progress: Callable[[int], object] | None,
) -> None:
    limiter = anyio.CapacityLimiter(client.policy.concurrent_blobs)
    received = dict.fromkeys((blob.digest for blob in blobs), 0)

    async def download(blob: Descriptor) -> None:
        path = blob_path(folder, blob.digest)

        def report(size: int) -> None:
            received[blob.digest] = size
            if on_progress is not None:
                on_progress(sum(received.values()))

        async with limiter:
            if not await to_thread.run_sync(is_complete, path, blob):
                await client.download(repository, blob, path, report)
        report(blob.size)

    with first_error():
        async with anyio.create_task_group() as tasks:
            for blob in {blob.digest: blob for blob in blobs}.values():
                tasks.start_soon(download, blob)


def is_complete(path: Path, blob: Descriptor) -> bool:
    """Return whether a path is a regular file, and not a link, with the content of a blob.

    The file is read completely, because another process may have changed it.
    """
    return has_size(path, blob.size) and file_digest(path) == blob.digest
