"""Input files that the service gets from S3 and web servers."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

from anyio import to_thread

from cloudburst.models.transfers import (
    FetchEvent,
    FetchRequest,
    TransferFailure,
    TransferProblem,
)
from cloudburst.net.transfers.errors import TransferError
from cloudburst.service.content_store import OutOfDiskError
from cloudburst.service.request_body import DISK_FULL_ERRNOS, new_file
from cloudburst.service.service import RenderService

if TYPE_CHECKING:
    from cloudburst.net.transfers.fetch import Fetched

MAX_FETCH_REQUEST_BYTES = 64 * 1024
"""Largest size in bytes of the body of ``POST /fetches``: a URL and a few headers."""


class Fetch:
    """Transfer of one file into the store of the service."""

    def __init__(self, service: RenderService, request: FetchRequest) -> None:
        self._service = service
        limit = min(request.max_bytes, service.settings.body_bytes)
        self._request = request.model_copy(update={"max_bytes": limit})
        self._received = 0

    def progress(self) -> FetchEvent:
        """Return how much was received so far."""
        return FetchEvent(received=self._received)

    async def run(self) -> FetchEvent:
        """Store the file, and return its hash or the reason why there is none.

        Nothing is kept of a file that was not received completely.
        """
        try:
            fetched = await self._store()
        except TransferError as error:
            return FetchEvent(received=self._received, failure=error.failure)
        except OutOfDiskError:
            reason = "not enough free disk space on the worker at the moment"
        except OSError as error:
            if error.errno not in DISK_FULL_ERRNOS:
                raise
            reason = "the disk of the worker is full"
        else:
            return FetchEvent(received=fetched.size, sha256=fetched.sha256, etag=fetched.etag)
        failure = TransferFailure(problem=TransferProblem.NO_SPACE, reason=reason)
        return FetchEvent(received=self._received, failure=failure)

    async def _store(self) -> Fetched:
        transfers, store = self._service.transfers, self._service.store
        async with (
            transfers.fetch_slots(public_only=self._request.public_only),
            store.partial() as path,
        ):
            fetched = await self._write(path)
            await store.add(path, fetched.sha256)
        return fetched

    async def _write(self, path: Path) -> Fetched:
        client = await self._service.transfers.client(public_only=self._request.public_only)
        from cloudburst.net.transfers.fetch import fetch  # noqa: PLC0415 - needs httpx

        async with new_file(path) as file:

            async def write(block: bytes) -> None:
                await self._service.store.ensure_room(len(block))
                await to_thread.run_sync(_write_all, file, block)
                self._received += len(block)

            return await fetch(self._request, write, client=client)


def _write_all(file: IO[bytes], block: bytes) -> None:
    while block:
        block = block[file.write(block) :]
