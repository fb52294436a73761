"""Upload of a blob in one request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from cloudburst.registry.blob_files import file_digest, read_part
from cloudburst.registry.documents import Descriptor
from cloudburst.registry.errors import DigestError
from cloudburst.registry.http import RegistryHttp, parse_error
from cloudburst.registry.login import Scope
from cloudburst.registry.names import require_repository
from cloudburst.registry.retries import NoAnswerError

PIECE_BYTES = 256 * 1024
"""Number of bytes that are read from the file, and given to the HTTP library, at once."""
LOST_CODES = {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"}
"""Error codes of an upload that did not arrive as it was sent: it begins again."""


@dataclass(slots=True)
class BlobUpload:
    """Upload of a file as a blob: POST, and then PUT with all bytes of the file.

    This is what containerd, buildx, ORAS and Helm do. Amazon ECR takes layers of 15 GB in this way
    (https://github.com/kitops-ml/kitops/issues/821, 2025-04); its limit is 52,000 MiB. With PATCH,
    it answers 201 in place of 202, with a header Range that does not move
    (https://github.com/aws/containers-roadmap/issues/2831, 2026-06), and it has answered 500 to the
    empty PUT after it (https://github.com/openai/tart/pull/159, 2022-07).
    """

    http: RegistryHttp
    repository: str
    descriptor: Descriptor
    path: Path
    on_progress: Callable[[int], object]
    bytes_sent: int = 0
    """Number of bytes sent so far, including those sent again."""

    async def send(self) -> None:
        """Send the whole file once. Raises exceptions of `REPEATED`."""
        size, what = self.descriptor.size, f"upload to {self.repository}"
        scope = Scope(self.repository, "pull,push")
        url = self.http.path(require_repository(self.repository), "blobs", "uploads", "")
        answer = await self.http.request("POST", url, scope)
        self.http.raise_for_status(answer, what)
        location = self.http.upload_url(answer.headers.get("Location", ""))
        query = location.query + b"&digest=" + self.descriptor.digest.replace(":", "%3A").encode()
        self.on_progress(0)
        answer = await self.http.request(
            "PUT",
            location.copy_with(query=query.removeprefix(b"&")),
            scope,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            body=self._pieces,
            transfer_bytes=size,
        )
        code, reason = parse_error(answer.content)
        if not answer.is_success and code in LOST_CODES:
            if await to_thread.run_sync(file_digest, self.path) != self.descriptor.digest:
                raise DigestError(f"{self.path} does not have the digest {self.descriptor.digest}")
            raise NoAnswerError(f"HTTP {answer.status} {code} {reason}".rstrip())
        self.http.raise_for_status(answer, what)

    async def _pieces(self) -> AsyncGenerator[bytes]:
        size = self.descriptor.size
        for start in range(0, size, PIECE_BYTES):
            length = min(PIECE_BYTES, size - start)
            yield await to_thread.run_sync(read_part, self.path, start, length)
            self.bytes_sent += length
            self.on_progress(start + length)
