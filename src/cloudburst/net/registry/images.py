"""Download of an image for one platform, and upload from an OCI image layout folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from cloudburst.concurrency import for_each
from cloudburst.net.registry.client import RegistryClient
from cloudburst.net.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    ImageConfig,
    Manifest,
    Platform,
    parse_config,
    parse_index,
    parse_manifest,
)
from cloudburst.net.registry.errors import NotInRegistryError
from cloudburst.net.registry.layout import blob_path, read_layout


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PushProgress:
    """State of an upload. Sizes are in bytes."""

    bytes_done: int
    """Bytes that the registry has, sent now or present before."""
    bytes_total: int
    blobs_done: int
    blobs_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """Result of an upload. Sizes are in bytes."""

    digest: str
    """Digest of the image: of its index or manifest."""
    bytes_sent: int
    """Bytes of blobs and manifests that were sent."""
    bytes_present: int
    """Bytes of the blobs and manifests that the registry had before."""
    seconds: float


async def push_image(
    client: RegistryClient,
    layout_folder: Path,
    repository: str,
    tag: str,
    *,
    on_progress: Callable[[PushProgress], object] | None = None,
) -> PushReport:
    """Upload the image in an OCI image layout folder, and give it a tag.

    Blobs that the registry has are not sent. Manifests are sent last, so that the tag never names
    an incomplete image.

    Raises:
        InvalidImageError: The folder is not a complete image layout.
        DigestError: A file of the folder does not have its digest.
        RegistryError: See `RegistryClient`.
    """
    image = await to_thread.run_sync(read_layout, layout_folder)
    started_at = anyio.current_time()
    done, finished = dict.fromkeys(image.blobs, 0), set[str]()
    sent, present = list[int](), list[int]()

    def report(blob: Descriptor, size: int) -> None:
        done[blob.digest] = size
        if on_progress:
            progress = PushProgress(
                bytes_done=sum(done.values()),
                bytes_total=sum(blob.size for blob in image.blobs.values()),
                blobs_done=len(finished),
                blobs_total=len(done),
            )
            on_progress(progress)

    async def send_blob(blob: Descriptor) -> None:
        path = image.path(blob)
        was_sent = await client.push_blob(repository, blob, path, partial(report, blob))
        (sent if was_sent else present).append(blob.size)
        finished.add(blob.digest)
        report(blob, blob.size)

    async def send_manifest(reference: str, descriptor: Descriptor, data: bytes) -> None:
        await client.push_manifest(repository, reference, data, descriptor.media_type)
        sent.append(descriptor.size)

    largest_first = sorted(image.blobs.values(), key=lambda blob: -blob.size)
    await for_each(largest_first, send_blob, at_once=client.policy.concurrent_blobs)
    if await _digest_of(client, repository, tag) == image.root.digest:  # it was given last
        present += [descriptor.size for descriptor, _ in image.manifests.values()]
    else:
        for descriptor, data in image.manifests.values():
            await send_manifest(descriptor.digest, descriptor, data)
        await send_manifest(tag, *image.manifests[image.root.digest])
    return PushReport(
        digest=image.root.digest,
        bytes_sent=sum(sent),
        bytes_present=sum(present),
        seconds=anyio.current_time() - started_at,
    )


async def _digest_of(client: RegistryClient, repository: str, tag: str) -> str | None:
    try:
        found, _ = await client.resolve(repository, tag)
    except NotInRegistryError:
        return None
    return found.digest
