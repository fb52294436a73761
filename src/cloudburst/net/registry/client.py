"""Client of a container registry, by the OCI distribution specification 1.1."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import httpx
from anyio import to_thread

from cloudburst.net.registry.documents import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from cloudburst.net.registry.errors import DigestError, InvalidImageError, RegistryError
from cloudburst.net.registry.http import (
    Credentials,
    NoAnswerError,
    RegistryHttp,
    TransferPolicy,
    parse_error,
)
from cloudburst.net.registry.layout import digest_of, file_digest, read_part
from cloudburst.net.registry.names import DIGEST, is_loopback_host
from cloudburst.net.session import REGISTRIES, open_session

ANY_MANIFEST = (*INDEX_TYPES, *MANIFEST_TYPES)
# Number of bytes of an upload that are read at once, in a thread.
PIECE_BYTES = 256 * 1024
# Error codes of an upload that did not arrive as it was sent: it begins again.
LOST_CODES = {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"}
# Function that is called with the number of bytes of the blob that are transferred so far. The
# number decreases if a transfer begins again.
Progress = Callable[[int], object]


@asynccontextmanager
async def open_registry(
    url: str,
    credentials: Credentials | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    policy: TransferPolicy | None = None,
) -> AsyncGenerator[RegistryClient]:
    """Open a client of the registry at a URL, such as ``https://public.ecr.aws``.

    Raises:
        RegistryError: The URL is neither https, nor http with a loopback address.
    """
    address, policy = httpx.URL(url), policy or TransferPolicy()
    local = is_loopback_host(address.host)
    if address.scheme != "https" and not (address.scheme == "http" and local):
        raise RegistryError(f"{url}: expected https, or http with a loopback address")
    # A proxy cannot reach a registry of this machine.
    session = replace(REGISTRIES, proxies=False) if local else REGISTRIES
    timeout = httpx.Timeout(policy.idle_timeout, connect=policy.connect_timeout, pool=None)
    async with open_session(session, timeouts=timeout, transport=transport) as http_client:
        yield RegistryClient(RegistryHttp(http_client, address, credentials, policy))


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
            InvalidImageError: The answer is something else than what is accepted.
        """
        what = f"{repository} {reference}"
        answer = await self._request(
            *("GET", f"/v2/{repository}/manifests/{reference}", _pull(repository), what),
            headers={"Accept": ", ".join(accept)},
        )
        self._http.raise_for_status(answer, what)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if media_type not in accept:
            msg = f"{self._http.name}: {what}: the answer is {media_type!r}, not an image"
            raise InvalidImageError(f"{msg}; is this the address of a registry?")
        digest = digest_of(answer.content)
        if DIGEST.fullmatch(reference) and reference != digest:
            raise DigestError(f"{self._http.name}: {what}: the content has the digest {digest}")
        return Descriptor(media_type, digest, len(answer.content)), answer.content

    async def download(self, repository: str, descriptor: Descriptor, path: Path) -> None:
        """Write a blob to a file, whole or not at all.

        Raises:
            NotInRegistryError: The registry has no such blob.
            DigestError: The content has another digest.
        """
        url, scope = f"/v2/{repository}/blobs/{descriptor.digest}", _pull(repository)

        async def receive() -> None:
            found = hashlib.sha256()
            with _whole_file(path) as file:
                async with self._http.stream("GET", url, scope) as answer:
                    if not answer.is_success:
                        await answer.aread()
                        self._http.raise_for_status(answer, f"blob {descriptor.digest}")
                    source = cast("httpx.AsyncByteStream", answer.stream)
                    async with aclosing(cast("AsyncGenerator[bytes]", aiter(source))) as body:
                        async for piece in body:
                            await to_thread.run_sync(file.write, piece)
                            found.update(piece)
                digest = f"sha256:{found.hexdigest()}"
                if digest != descriptor.digest:
                    msg = f"{file.tell()} bytes with the digest {digest}"
                    raise DigestError(f"{self._http.name}: blob {descriptor.digest}: {msg}")

        await self._http.repeat(f"download of {descriptor.digest} from {repository}", receive)

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether the registry has a blob in this repository."""
        what = f"blob {digest}"
        answer = await self._request(
            "HEAD", f"/v2/{repository}/blobs/{digest}", _pull(repository), what
        )
        # Registries redirect to the storage of content that they have.
        if answer.is_success or answer.is_redirect:
            return True
        if answer.status_code != 404:
            self._http.raise_for_status(answer, what)
        return False

    async def push_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        path: Path,
        on_progress: Progress | None = None,
    ) -> bool:
        """Upload a file as a blob unless the registry has it; return whether it was sent.

        After a broken connection or a server error, the whole file is sent again.

        Raises:
            DigestError: The file does not have the digest.
            NotInRegistryError: The registry has no such repository.
        """
        sent = False

        async def send() -> None:
            nonlocal sent
            # If only the answer to an upload was lost, the registry has the blob.
            if not await self.has_blob(repository, descriptor.digest):
                sent = True
                await self._upload(repository, descriptor, path, on_progress)

        await self._http.repeat(f"upload of {descriptor.digest} to {repository}", send)
        return sent

    async def push_manifest(
        self, repository: str, reference: str, data: bytes, media_type: str
    ) -> None:
        """Upload a manifest or index under a tag or its digest."""
        answer = await self._request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            _push(repository),
            f"{repository} {reference}",
            headers={"Content-Type": media_type},
            body=data,
        )
        self._http.raise_for_status(answer, f"{repository} {reference}")

    async def _upload(
        self, repository: str, descriptor: Descriptor, path: Path, on_progress: Progress | None
    ) -> None:
        """Send a file once: POST, and then PUT with all bytes.

        This is what containerd, buildx, ORAS and Helm do. Amazon ECR takes layers of 15 GB in this
        way (https://github.com/kitops-ml/kitops/issues/821, 2025-04); its limit is 52,000 MiB. With
        PATCH, it answers 201 in place of 202, with a header Range that does not move
        (https://github.com/aws/containers-roadmap/issues/2831, 2026-06), and it has answered 500 to
        the empty PUT after it (https://github.com/openai/tart/pull/159, 2022-07).
        """
        what, scope = f"upload to {repository}", _push(repository)

        async def pieces() -> AsyncGenerator[bytes]:
            for start in range(0, descriptor.size, PIECE_BYTES):
                piece = await to_thread.run_sync(read_part, path, start, PIECE_BYTES)
                yield piece
                if on_progress:
                    on_progress(start + len(piece))

        answer = await self._http.request("POST", f"/v2/{repository}/blobs/uploads/", scope)
        self._http.raise_for_status(answer, what)
        if "Location" not in answer.headers:
            msg = f"{self._http.name}: {what}: the answer has no location"
            raise RegistryError(f"{msg}; is this the address of a registry?")
        location = answer.url.join(answer.headers["Location"])
        answer = await self._http.request(
            "PUT",
            location.copy_merge_params({"digest": descriptor.digest}),
            scope,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(descriptor.size),
            },
            body=pieces,
        )
        code, reason = parse_error(answer)
        if code in LOST_CODES:
            if await to_thread.run_sync(file_digest, path) != descriptor.digest:
                raise DigestError(f"{path} is damaged: delete it, and build the image again")
            raise NoAnswerError(f"HTTP {answer.status_code} {code} {reason}".rstrip())
        self._http.raise_for_status(answer, what)

    async def _request(
        self,
        method: str,
        url: str,
        scope: str,
        what: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> httpx.Response:
        """Repeat an idempotent request until the registry answers it."""
        call = partial(self._http.request, method, url, scope, headers=headers, body=body)
        return await self._http.repeat(f"{method} {what}", call)


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _push(repository: str) -> str:
    return f"repository:{repository}:pull,push"


@contextmanager
def _whole_file(path: Path) -> Generator[BinaryIO]:
    """Yield a new file, which gets its path at the end of the block; remove it after an error."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as exc:
        raise RegistryError(f"{path} cannot be written: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            temporary.unlink()
