"""Upload of a blob in chunks, continued after broken connections and by later processes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from anyio import to_thread

from cloudburst.registry.blob_files import file_digest, read_part
from cloudburst.registry.documents import Descriptor
from cloudburst.registry.errors import DigestError, RegistryError, RegistryUnavailableError
from cloudburst.registry.http import Answer, RegistryHttp, parse_error
from cloudburst.registry.login import Scope
from cloudburst.registry.names import require_digest, require_repository
from cloudburst.registry.retries import REPEATED, Retries
from cloudburst.registry.upload_sessions import UploadSession, UploadSessions

PIECE_BYTES = 64 * 1024
"""Number of bytes that are given to the HTTP library at once."""
MAX_CHUNK_BYTES = 64 * 1024**2
"""Maximum size of a chunk that a registry can ask for, in bytes: chunks are kept in memory."""
LOST_CODES = {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"}
"""Error codes of an upload that the registry does not continue."""
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,15})")


class _UploadLostError(Exception):
    """The registry does not continue the upload: it must begin again."""


class BlobUpload:
    """Upload of one file as a blob."""

    def __init__(
        self,
        http: RegistryHttp,
        repository: str,
        descriptor: Descriptor,
        path: Path,
        *,
        on_progress: Callable[[int], object],
        sessions: UploadSessions | None,
    ) -> None:
        self.bytes_sent = 0
        """Number of bytes sent so far, including those sent again."""
        self._http = http
        self._repository = require_repository(repository)
        self._digest = require_digest(descriptor.digest)
        self._size = descriptor.size
        self._path = path
        self._on_progress = on_progress
        self._sessions = sessions
        self._scope = Scope(repository, "pull,push")
        self._chunk_bytes = http.policy.chunk_bytes
        self._location = http.url
        self._offset = 0
        self._doubtful_end: int | None = None
        """End of a chunk whose answer was lost, so that the registry may have it."""

    async def run(self) -> None:
        """Upload the file, or the rest of it that the registry does not have."""
        retries = self._http.new_retries(f"upload of {self._digest} to {self._repository}")
        with retries.limited(self._size):
            await self._run(retries)

    async def _run(self, retries: Retries) -> None:
        resumed = await self._find_session()
        restarts = furthest = 0
        while True:
            try:
                await (self._ask_for_offset() if resumed else self._begin())
                await self._send_rest()
                break
            except REPEATED as exc:
                if self._offset > furthest:
                    furthest = self._offset
                    retries.progress()
                await retries.wait(exc)
                resumed = True
            except _UploadLostError as exc:
                if await self.is_present():
                    break
                restarts += 1
                if restarts >= self._http.policy.attempts:
                    msg = f"{self._http.name}: the upload of {self._digest} was lost repeatedly"
                    raise RegistryUnavailableError(msg) from exc
                resumed = False
        await self._remember(None)
        self._on_progress(self._size)

    async def is_present(self) -> bool:
        """Return whether the registry has the blob."""
        url = self._http.path(self._repository, "blobs", self._digest)
        return await self._http.exists(url, self._scope, f"blob {self._digest}")

    async def _find_session(self) -> bool:
        """Find the upload that an earlier process began; return whether there is one."""
        if self._sessions is None:
            return False
        registry = str(self._http.url)
        find = self._sessions.find
        session = await to_thread.run_sync(find, registry, self._repository, self._digest)
        if session is None or session.offset > self._size:
            return False
        try:
            self._location = self._http.upload_url(session.location)
        except RegistryError:
            return False
        self._offset = session.offset
        self._doubtful_end = min(self._offset + self._chunk_bytes, self._size)
        return True

    async def _begin(self) -> None:
        """Start a new upload."""
        url = self._http.path(self._repository, "blobs", "uploads", "")
        answer = await self._http.request_with_retries("POST", url, self._scope)
        self._http.raise_for_status(answer, f"upload to {self._repository}")
        self._location = self._http.upload_url(answer.headers.get("Location", ""))
        smallest = answer.headers.get("OCI-Chunk-Min-Length", "")
        if re.fullmatch(r"\d{1,9}", smallest):
            self._chunk_bytes = min(max(self._chunk_bytes, int(smallest)), MAX_CHUNK_BYTES)
        self._offset, self._doubtful_end = 0, None
        self._on_progress(0)
        await self._remember(UploadSession(str(self._location), 0))

    async def _send_rest(self) -> None:
        while self._offset < self._size:
            await self._send_chunk()
        await self._finish()

    async def _send_chunk(self) -> None:
        start = self._offset
        end = min(start + self._chunk_bytes, self._size)
        data = await to_thread.run_sync(read_part, self._path, start, end - start)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(data)),
            "Content-Range": f"{start}-{end - 1}",
        }
        earlier_end, self._doubtful_end = self._doubtful_end, end
        answer = await self._http.request(
            "PATCH",
            self._location,
            self._scope,
            headers=headers,
            body=lambda: self._pieces(data, start),
            transfer_bytes=len(data),
        )
        if answer.status == 416:
            await self._correct_offset(earlier_end)
            return
        self._raise_for_upload(answer)
        # The header Range of the answer is not used: that of ECR names the end of the first chunk
        # after each chunk (https://github.com/aws/containers-roadmap/issues/2831, 2026-06).
        self._offset, self._doubtful_end = end, None
        await self._move_to(answer)

    async def _pieces(self, data: bytes, start: int) -> AsyncGenerator[bytes]:
        for begin in range(0, len(data), PIECE_BYTES):
            piece = data[begin : begin + PIECE_BYTES]
            yield piece
            self.bytes_sent += len(piece)
            self._on_progress(start + begin + len(piece))

    async def _correct_offset(self, doubtful_end: int | None) -> None:
        """Find the offset that the registry expects after it has refused that of a chunk."""
        refused = self._offset
        if doubtful_end is not None and doubtful_end != refused:
            # The registry has the chunk whose answer was lost.
            self._offset, self._doubtful_end = doubtful_end, None
            return
        self._doubtful_end = None
        await self._ask_for_offset()
        if self._offset == refused:
            raise _UploadLostError

    async def _ask_for_offset(self) -> None:
        """Ask the registry how much it has.

        Not every registry answers this request, and some do not count every chunk: what earlier
        answers have confirmed remains valid.
        """
        answer = await self._http.request("GET", self._location, self._scope)
        if not answer.is_success:
            self._raise_if_lost(answer)
            if answer.status in {401, 403}:  # the next request shows whether the login is valid
                raise _UploadLostError
            return
        found = _RANGE.fullmatch(answer.headers.get("Range", ""))
        end = int(found[1]) + 1 if found else 0
        if end > self._size:
            raise _UploadLostError
        if end > max(self._offset, 1):  # an empty upload has the range 0-0
            self._offset, self._doubtful_end = end, None
        await self._move_to(answer)

    async def _finish(self) -> None:
        query = self._location.query + b"&digest=" + self._digest.replace(":", "%3A").encode()
        url = self._location.copy_with(query=query.removeprefix(b"&"))
        answer = await self._http.request("PUT", url, self._scope)
        if parse_error(answer.content)[0] == "DIGEST_INVALID":
            if await to_thread.run_sync(file_digest, self._path) != self._digest:
                raise DigestError(f"{self._path} does not have the digest {self._digest}")
            raise _UploadLostError
        if answer.status == 416:
            raise _UploadLostError
        self._raise_for_upload(answer)

    async def _move_to(self, answer: Answer) -> None:
        """Use and remember the location of an answer."""
        if location := answer.headers.get("Location"):
            self._location = self._http.upload_url(location)
        await self._remember(UploadSession(str(self._location), self._offset))

    async def _remember(self, session: UploadSession | None) -> None:
        if self._sessions is not None:
            registry = str(self._http.url)
            remember = self._sessions.remember
            await to_thread.run_sync(remember, registry, self._repository, self._digest, session)

    def _raise_for_upload(self, answer: Answer) -> None:
        self._raise_if_lost(answer)
        self._http.raise_for_status(answer, f"upload to {self._repository}")

    def _raise_if_lost(self, answer: Answer) -> None:
        if not answer.is_success and parse_error(answer.content)[0] in LOST_CODES:
            raise _UploadLostError
