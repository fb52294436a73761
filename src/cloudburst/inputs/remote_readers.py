"""Readers of ranges of remote files, for `cloudburst.inputs.remote_inputs`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anyio import sleep, to_thread
from pydantic import SecretStr

from cloudburst.errors import FaultCode
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import HttpsUrl, RemoteLocation
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.settings import Settings
from cloudburst.models.transfers import FetchRequest, TransferFailure, TransferProblem
from cloudburst.ports.remote_files import FolderReader, RangeAnswer, RangeReader
from cloudburst.redaction import SecretOwner, hide_secrets, query_secrets

if TYPE_CHECKING:
    import httpx

MAX_ATTEMPTS = 3
"""Maximum number of requests for one range of a file on a web server."""
RANGE_BACKOFF = Backoff(first=0.5, factor=2.0, cap=5.0)
"""Delays between two requests for one range, in seconds."""
_MAX_FILE_BYTES = 2**53
_RETRIED = {TransferProblem.BUSY, TransferProblem.UNREACHABLE}
_EXPECTED: Mapping[TransferProblem, str] = {
    TransferProblem.REFUSED: "a file that its server sends without a login",
    TransferProblem.FORBIDDEN_ADDRESS: (
        "a URL that leads to a public address, without a redirect; "
        "CLOUDBURST_PRIVATE_INPUTS=1 also permits private addresses"
    ),
    TransferProblem.BUSY: "a server that answers",
    TransferProblem.UNREACHABLE: "a server that answers",
    TransferProblem.INVALID: "a valid answer of its server",
}
_CODES: Mapping[TransferProblem, FaultCode] = {
    TransferProblem.FORBIDDEN_ADDRESS: "not_permitted",
    TransferProblem.MISSING: "no_file",
    TransferProblem.TOO_LARGE: "too_large",
}


@asynccontextmanager
async def open_s3_reader(settings: Settings) -> AsyncGenerator[FolderReader]:
    """Open access to S3."""
    # Imported in a thread: importing the AWS libraries is slow, and not every run uses S3.
    module: Any = await to_thread.run_sync(import_module, "cloudburst.aws.s3.folder_reader")
    async with module.open_folder_reader(settings) as reader:
        yield reader


@asynccontextmanager
async def open_https_reader(settings: Settings) -> AsyncGenerator[RangeReader]:
    """Open access to files on web servers; addresses that are not public need a setting."""
    module: Any = await to_thread.run_sync(import_module, "cloudburst.net.session")
    policy = module.TRUSTED_URLS if settings.private_inputs else module.PUBLIC_URLS
    async with module.open_session(policy) as client:
        yield HttpsReader(client)


class HttpsReader:
    """Reader of ranges of files on web servers."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        # Files whose servers ignore ranges, so that only their start can be read.
        self._unseekable: dict[RemoteLocation, RemoteFile] = {}

    async def read(self, location: RemoteLocation, start: int, end: int) -> RangeAnswer:
        """Return the bytes of a file from ``start`` up to, but not including, ``end``."""
        assert isinstance(location, HttpsUrl), "only files on web servers are read here"
        if start and (file := self._unseekable.get(location)) is not None:
            return RangeAnswer(data=b"", file=file)
        from cloudburst.net.transfers.errors import TransferError  # noqa: PLC0415 - loads httpx

        # Servers and workers that know the URL may repeat its query, also in headers.
        secrets = query_secrets(location.url.partition("?")[2])
        hide_secrets(*secrets, owner=SecretOwner.INPUT)
        for attempt, delay in enumerate(RANGE_BACKOFF.delays(), 1):
            try:
                return await self._read(location, start, end)
            except TransferError as exc:
                failure = exc.failure
                if failure.problem not in _RETRIED or attempt == MAX_ATTEMPTS:
                    raise _input_error(failure) from exc
            await sleep(max(delay, min(failure.retry_after or 0.0, RANGE_BACKOFF.cap)))
        raise AssertionError("unreachable: delays never end")

    async def _read(self, location: HttpsUrl, start: int, end: int) -> RangeAnswer:
        from cloudburst.net.transfers.fetch import read_range  # noqa: PLC0415 - loads httpx

        request = FetchRequest(url=SecretStr(location.url), max_bytes=_MAX_FILE_BYTES)
        answer = await read_range(request, start, end, client=self._client)
        strong = answer.etag is not None and not answer.etag.startswith("W/")
        file = RemoteFile(
            location=location,
            size=answer.size,
            etag=answer.etag if strong else None,
            modified=answer.modified,
        )
        if not answer.seekable:
            self._unseekable[location] = file
        return RangeAnswer(data=answer.data, file=file)


def _input_error(failure: TransferFailure) -> InvalidInputError:
    missing = failure.problem is TransferProblem.MISSING
    found = f"{'no such file' if missing else failure.problem} ({failure.reason})"
    expected, code = _EXPECTED.get(failure.problem, ""), _CODES.get(failure.problem, "unreadable")
    return InvalidInputError(found, expected, code)
