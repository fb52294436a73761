"""Client of a container registry, by the OCI distribution specification 1.1."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from cloudburst.registry.documents import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from cloudburst.registry.policy import TransferPolicy
from cloudburst.registry.upload_sessions import UploadSessions

ANY_MANIFEST = (*INDEX_TYPES, *MANIFEST_TYPES)
Progress = Callable[[int], object]
"""Function that is called with the number of bytes of the blob that are transferred so far."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password of a registry."""

    username: str
    password: str = field(repr=False)


@asynccontextmanager
async def open_registry(
    url: str,
    credentials: Credentials | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    policy: TransferPolicy | None = None,
) -> AsyncGenerator[RegistryClient]:
    """Open a client of the registry at a URL, such as ``https://public.ecr.aws``.

    Raises `RegistryError` unless the URL is https, or http with a loopback address.
    """
    raise NotImplementedError
    yield


class RegistryClient:
    """Requests to one registry; `open_registry` creates it."""

    async def resolve(
        self, repository: str, reference: str, accept: Sequence[str] = ANY_MANIFEST
    ) -> tuple[Descriptor, bytes]:
        """Return the descriptor and content of the manifest or index with a tag or digest.

        Raises:
            NotInRegistryError: The registry has no such repository, tag or digest.
            DigestError: The content does not have the digest.
        """
        raise NotImplementedError

    async def download(
        self,
        repository: str,
        descriptor: Descriptor,
        path: Path,
        on_progress: Progress | None = None,
    ) -> None:
        """Write a blob to a file, whole or not at all; continue after broken connections.

        Raises:
            NotInRegistryError: The registry has no such blob.
            DigestError: The content has another size or digest.
        """
        raise NotImplementedError

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether the registry has a blob in this repository."""
        raise NotImplementedError

    async def push_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        path: Path,
        on_progress: Progress | None = None,
        sessions: UploadSessions | None = None,
    ) -> int:
        """Upload a file as a blob, and return the number of bytes sent.

        Uploads that ``sessions`` remembers from an earlier process are continued.
        """
        raise NotImplementedError

    async def push_manifest(
        self, repository: str, reference: str, data: bytes, media_type: str
    ) -> Descriptor:
        """Upload a manifest or index under a tag or its digest, and return its descriptor."""
        raise NotImplementedError
