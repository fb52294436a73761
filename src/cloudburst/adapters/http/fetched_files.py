"""Remote input files that one native worker gets by itself. It gets a file only once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial

import anyio

from cloudburst.adapters.http.connection import HttpConnection
from cloudburst.adapters.http.transfer_requests import request_transfer
from cloudburst.adapters.http.transfer_retries import TransferFailedError
from cloudburst.errors import Remedy, UploadError, WorkerDiskFullError
from cloudburst.models.locations import RemoteLocation, S3Object
from cloudburst.models.transfers import FetchEvent, TransferFailure, TransferProblem
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.text import printable_line

_MEANINGS = {
    TransferProblem.CHANGED: "changed since the run began; resume the run to render what it is now",
    TransferProblem.MISSING: "no longer there",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSceneFile:
    """A remote input file of a scene."""

    scene: str
    field: str
    """Use of the file: ``image``, ``audio``, ``subtitle``, ``watermark``, ``music`` or ``font``."""
    location: RemoteLocation

    def error(self, failure: TransferFailure) -> UploadError:
        """Return the error of the scene for a failed transfer of this file."""
        meaning = _MEANINGS.get(failure.problem, "")
        reason = printable_line(failure.reason)
        return self.error_because(f"{meaning} ({reason})" if meaning else reason)

    def error_because(self, reason: str) -> UploadError:
        """Return the error of the scene for this file."""
        return UploadError(
            f"{self.field}: {self.location}: {reason}", scene=self.scene, field=self.field
        )


class FetchedFiles:
    """Remote files that one worker has got, by their location and version."""

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._hashes: dict[tuple[RemoteLocation, str], str] = {}
        self._locks: defaultdict[tuple[RemoteLocation, str], anyio.Lock] = defaultdict(anyio.Lock)
        self._sources: dict[str, tuple[RemoteSceneFile, RemoteFiles]] = {}
        """File and access from which the content with each hash was fetched."""

    async def fetch(self, file: RemoteSceneFile, remote: RemoteFiles) -> tuple[str, int]:
        """Let the worker get a file unless it has it.

        Return the SHA-256 of its content, and the number of bytes that the worker has got.

        Raises:
            UploadError: The file cannot be got.
            WorkerError: The worker has stopped, refuses the key, or its disk is full.
        """
        key = file.location, remote.version(file.location)
        async with self._locks[key]:
            size = 0
            if (sha256 := self._hashes.get(key)) is None:
                sha256, size = await self._fetch(file, remote)
                self._hashes[key], self._sources[sha256] = sha256, (file, remote)
            return sha256, size

    async def fetch_again(self, sha256: str, *, scene: str) -> bool:
        """Let the worker get a file that it has lost; return false if `fetch` never got it.

        ``scene`` is the name of the scene that needs the file now, for errors.

        Raises:
            UploadError: The file cannot be got, or has another content by now.
            WorkerError: The worker has stopped, refuses the key, or its disk is full.
        """
        if (source := self._sources.get(sha256)) is None:
            return False
        file, remote = replace(source[0], scene=scene), source[1]
        found, _ = await self._fetch(file, remote)
        if found != sha256:
            reason = "the server sends another content under the same version"
            raise file.error(TransferFailure(problem=TransferProblem.CHANGED, reason=reason))
        return True

    async def _fetch(self, file: RemoteSceneFile, remote: RemoteFiles) -> tuple[str, int]:
        sign = partial(remote.fetch_request, file.location)
        try:
            event = await request_transfer(self._connection, "/fetches", sign, FetchEvent)
        except TransferFailedError as exc:
            if exc.failure.problem is TransferProblem.NO_SPACE:
                msg = f"the worker's disk is full: {printable_line(exc.failure.reason)}"
                raise WorkerDiskFullError(msg) from exc
            error = file.error(exc.failure)
            in_s3 = isinstance(file.location, S3Object)
            if in_s3 and exc.failure.problem is TransferProblem.UNREACHABLE:
                error.remedy = Remedy.OTHER_WORKER  # the fault lies in the network of this one
            raise error from exc
        except UploadError as exc:
            raise file.error_because(str(exc)) from exc
        assert event.sha256 is not None, "an event without a failure is the last one by its hash"
        return event.sha256, event.received
