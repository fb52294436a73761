"""Upload of an image from an OCI image layout folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from cloudburst.registry.client import RegistryClient
from cloudburst.registry.documents import Descriptor
from cloudburst.registry.errors import NotInRegistryError, first_error
from cloudburst.registry.layout import LayoutImage, read_layout


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
    """Bytes of blobs and manifests that were sent, including those sent again."""
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

    The first entry of ``index.json`` is the image; further entries, such as SBOMs that refer to
    it, are uploaded by digest. Blobs that the registry has are not sent. Manifests are sent last,
    so that the tag never names an incomplete image.

    Raises:
        InvalidImageError: The folder is not a complete image layout.
        DigestError: A file of the folder does not have its digest.
        RegistryError: See `RegistryClient`.
    """
    image = await to_thread.run_sync(read_layout, layout_folder)
    upload = _ImageUpload(client, image, repository, on_progress or _ignore)
    started_at = anyio.current_time()
    await upload.send_blobs()
    await upload.send_manifests(tag)
    return PushReport(
        digest=image.root.digest,
        bytes_sent=upload.bytes_sent,
        bytes_present=upload.bytes_present,
        seconds=anyio.current_time() - started_at,
    )


class _ImageUpload:
    """Upload of the blobs and manifests of one image."""

    def __init__(
        self,
        client: RegistryClient,
        image: LayoutImage,
        repository: str,
        on_progress: Callable[[PushProgress], object],
    ) -> None:
        self.bytes_sent = self.bytes_present = 0
        self._client = client
        self._image = image
        self._repository = repository
        self._on_progress = on_progress
        self._done = dict.fromkeys(image.blobs, 0)
        self._finished = 0

    async def send_blobs(self) -> None:
        """Send blobs that the registry does not have, large ones first, a few at once."""
        limiter = anyio.CapacityLimiter(self._client.policy.concurrent_blobs)
        with first_error():
            async with anyio.create_task_group() as tasks:
                for blob in sorted(self._image.blobs.values(), key=lambda one: -one.size):
                    tasks.start_soon(self._send_blob, blob, limiter)

    async def send_manifests(self, tag: str) -> None:
        """Send manifests, then their index, and then the tag."""
        for descriptor, data in self._image.manifests:
            if await self._client.has_manifest(self._repository, descriptor.digest):
                self.bytes_present += descriptor.size
                continue
            await self._send_manifest(descriptor.digest, descriptor, data)
        root = self._image.root
        if await self._digest_of_tag(tag) != root.digest:  # a tag may be immutable
            await self._send_manifest(tag, root, self._image.root_data)

    async def _send_blob(self, blob: Descriptor, limiter: anyio.CapacityLimiter) -> None:
        path = self._image.path(blob)

        def report(size: int) -> None:
            self._done[blob.digest] = size
            self._report()

        async with limiter:
            sent = await self._client.push_blob(self._repository, blob, path, report)
        self.bytes_sent += sent
        self.bytes_present += 0 if sent else blob.size
        self._finished += 1
        report(blob.size)

    async def _send_manifest(self, reference: str, descriptor: Descriptor, data: bytes) -> None:
        await self._client.push_manifest(self._repository, reference, data, descriptor.media_type)
        self.bytes_sent += descriptor.size

    async def _digest_of_tag(self, tag: str) -> str:
        try:
            found, _ = await self._client.resolve(self._repository, tag)
        except NotInRegistryError:
            return ""
        return found.digest

    def _report(self) -> None:
        progress = PushProgress(
            bytes_done=sum(self._done.values()),
            bytes_total=sum(blob.size for blob in self._image.blobs.values()),
            blobs_done=self._finished,
            blobs_total=len(self._done),
        )
        self._on_progress(progress)


def _ignore(_: PushProgress) -> None:
    pass
