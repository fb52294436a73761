"""Client of a container registry, by the OCI distribution specification 1.1."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx
from anyio import to_thread

from cloudburst.http_connections import closing_connections
from cloudburst.registry.blob_files import digest_of
from cloudburst.registry.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT_BYTES,
    Descriptor,
)
from cloudburst.registry.download import download_blob
from cloudburst.registry.errors import DigestError, InvalidImageError, RegistryError
from cloudburst.registry.http import RegistryHttp
from cloudburst.registry.login import Credentials, Scope
from cloudburst.registry.names import (
    DIGEST,
    is_loopback_host,
    require_digest,
    require_reference,
    require_repository,
)
from cloudburst.registry.policy import TransferPolicy
from cloudburst.registry.private_urls import without_secrets
from cloudburst.registry.retries import REPEATED
from cloudburst.registry.upload import BlobUpload

ANY_MANIFEST = (*INDEX_TYPES, *MANIFEST_TYPES)
Progress = Callable[[int], object]
"""Function that is called with the number of bytes of the blob that are transferred so far. The
number decreases if a transfer begins again."""


@asynccontextmanager
async def open_registry(
    url: str,
    credentials: Credentials | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    policy: TransferPolicy | None = None,
) -> AsyncGenerator[RegistryClient]:
    """Open a client of the registry at a URL, such as ``https://public.ecr.aws``.

    Args:
        url: Address of the registry, without a path.
        credentials: User name and password; ``None``: anonymous.
        transport: Replacement for the network.
        policy: Timeouts and retries.

    Raises:
        RegistryError: The URL is neither https, nor http with a loopback address.
    """
    address = _parse_url(url)
    # A proxy of the environment cannot reach a registry of this machine.
    trust_env = not is_loopback_host(address.host)
    # Reads a file of certificates.
    context = await to_thread.run_sync(partial(httpx.create_ssl_context, trust_env=trust_env))
    http_client = httpx.AsyncClient(
        verify=context,
        transport=transport,
        trust_env=trust_env,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": "cloudburst"},
    )
    async with closing_connections(http_client):
        http = RegistryHttp(http_client, address, credentials, policy or TransferPolicy())
        yield RegistryClient(http)


class RegistryClient:
    """Requests to one registry; `open_registry` creates it.

    Coroutines raise `RegistryUnavailableError` if the registry does not answer after all retries,
    `LoginError` if it requires other credentials, and `RegistryError` for any other refusal.
    """

    def __init__(self, http: RegistryHttp) -> None:
        self._http = http

    @property
    def policy(self) -> TransferPolicy:
        """Timeouts and retries of the transfers."""
        return self._http.policy

    async def resolve(
        self, repository: str, reference: str, accept: Sequence[str] = ANY_MANIFEST
    ) -> tuple[Descriptor, bytes]:
        """Return the descriptor and content of the manifest or index with a tag or digest.

        Raises:
            NotInRegistryError: The registry has no such repository, tag or digest.
            DigestError: The content does not have the digest.
            InvalidImageError: The registry sent something else than what is accepted.
        """
        url = self._manifest_url(repository, reference)
        headers = {"Accept": ", ".join(accept)}
        scope = Scope(repository)
        answer = await self._http.request_with_retries("GET", url, scope, headers=headers)
        what = f"{repository} {reference}"
        self._http.raise_for_status(answer, what)
        if answer.status != 200:
            raise RegistryError(f"{url.host}: {what}: HTTP {answer.status}", status=answer.status)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if media_type not in accept:
            msg = f"{url.host}: {what}: unexpected media type {media_type[:100]!r}"
            raise InvalidImageError(msg)
        digest = digest_of(answer.content)
        announced = reference if DIGEST.fullmatch(reference) else None
        announced = announced or answer.headers.get("Docker-Content-Digest", digest)
        if announced != digest:
            msg = f"{url.host}: {what}: the content has the digest {digest}, not {announced[:100]}"
            raise DigestError(msg)
        return Descriptor(media_type, digest, len(answer.content)), answer.content

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
        await download_blob(self._http, repository, descriptor, path, on_progress or _ignore)

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether the registry has a blob in this repository."""
        require_digest(digest)
        url = self._http.path(require_repository(repository), "blobs", digest)
        return await self._http.exists(url, Scope(repository), f"blob {digest}")

    async def has_manifest(self, repository: str, digest: str) -> bool:
        """Return whether the registry has a manifest or index with a digest."""
        url = self._manifest_url(repository, require_digest(digest))
        return await self._http.exists(url, Scope(repository), f"manifest {digest}")

    async def push_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        path: Path,
        on_progress: Progress | None = None,
    ) -> int:
        """Upload a file as a blob unless the registry has it; return the number of bytes sent.

        After a broken connection or a server error, the whole file is sent again.

        Raises:
            DigestError: The file does not have the digest.
            NotInRegistryError: The registry has no such repository.
        """
        upload = BlobUpload(self._http, repository, descriptor, path, on_progress or _ignore)
        retries = self._http.new_retries(f"upload of {descriptor.digest} to {repository}")
        with retries.limited(descriptor.size):
            # If only the answer to an upload was lost, the registry has the blob.
            while not await self.has_blob(repository, descriptor.digest):
                try:
                    await upload.send()
                    break
                except REPEATED as exc:
                    await retries.wait(exc)
        return upload.bytes_sent

    async def push_manifest(
        self, repository: str, reference: str, data: bytes, media_type: str
    ) -> Descriptor:
        """Upload a manifest or index under a tag or its digest, and return its descriptor."""
        if len(data) > MAX_DOCUMENT_BYTES:
            raise InvalidImageError(f"a manifest of {len(data)} bytes is too large for registries")
        digest = digest_of(data)
        if DIGEST.fullmatch(reference) and reference != digest:
            raise DigestError(f"the manifest has the digest {digest}, not {reference}")
        url = self._manifest_url(repository, reference)
        answer = await self._http.request_with_retries(
            "PUT",
            url,
            Scope(repository, "pull,push"),
            headers={"Content-Type": media_type},
            body=data,
        )
        self._http.raise_for_status(answer, f"{repository} {reference}")
        if answer.headers.get("Docker-Content-Digest", digest) != digest:
            raise DigestError(f"{url.host}: {repository} {reference}: not the digest {digest}")
        return Descriptor(media_type, digest, len(data))

    def _manifest_url(self, repository: str, reference: str) -> httpx.URL:
        return self._http.path(
            require_repository(repository), "manifests", require_reference(reference)
        )


def _parse_url(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise RegistryError("the address of the registry is not a URL") from exc
    local = address.scheme == "http" and is_loopback_host(address.host)
    known_port = address.port is None or address.port < 2**16
    if not address.host or not known_port or not (address.scheme == "https" or local):
        raise RegistryError(
            f"{without_secrets(address)}: a registry is reached by https, or by http with a "
            "loopback address"
        )
    if address.path not in {"", "/"} or address.query or address.userinfo:
        msg = f"{without_secrets(address)}: the URL of a registry has no path, query or login"
        raise RegistryError(msg)
    return address.copy_with(path="/", fragment=None)


def _ignore(_: int) -> None:
    pass
