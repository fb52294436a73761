"""Upload of an image from an OCI image layout folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloudburst.registry.client import RegistryClient
from cloudburst.registry.upload_sessions import UploadSessions


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
    bytes_present: int
    """Bytes of the blobs that the registry had before."""
    seconds: float


async def push_image(
    client: RegistryClient,
    layout_folder: Path,
    repository: str,
    tag: str,
    *,
    on_progress: Callable[[PushProgress], object] | None = None,
    sessions: UploadSessions | None = None,
) -> PushReport:
    """Upload the image in an OCI image layout folder, and give it a tag.

    The first entry of ``index.json`` is the image; further entries, such as SBOMs that refer to
    it, are uploaded by digest. Blobs that the registry has are not sent. Manifests are sent last,
    so that the tag never names an incomplete image.
    """
    raise NotImplementedError
