"""Requests to a native worker for transfers: it gets a file from a URL, or writes one to S3."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import TypeVar

import anyio

from cloudburst.errors import WorkerError, WorkerProtocolError
from cloudburst.models.transfers import (
    FetchEvent,
    FetchRequest,
    TransferFailure,
    TransferProblem,
    UploadEvent,
    UploadRequest,
)
from cloudburst.redaction import repeats_secret
from cloudburst.text import describe_error, printable_line
from cloudburst.workers.http.connection import HttpConnection
from cloudburst.workers.http.response import (
    REQUEST_ERRORS,
    ErrorBody,
    InvalidAnswerError,
    WorkerResponse,
    iter_lines,
    parse_json_as,
)
from cloudburst.workers.http.retries import TransferFailedError, TransferRetries

logger = logging.getLogger(__name__)

# Seconds without a line after which the response of a transfer counts as broken: the worker sends a
# line at least every 10 s.
LINE_TIMEOUT = 20.0
# Seconds for which a response must last before its lines count as signs of a working connection.
# Otherwise a worker that breaks each response after a line would be asked without end.
MIN_STREAM_SECONDS = 1.0
_HIDDEN = "the worker's answer repeats a URL that gives access to a file, so it is not shown"

Event = TypeVar("Event", FetchEvent, UploadEvent)


async def request_transfer(
    connection: HttpConnection,
    path: str,
    sign: Callable[[], Awaitable[FetchRequest | UploadRequest]],
    event: type[Event],
) -> Event:
    """Let a worker make a transfer, and return the last event of its response.

    Broken connections and temporary problems of the other server are repeated.

    Raises:
        TransferFailedError: The transfer failed, or the worker does not have the job of the path.
        WorkerError: The worker has stopped, refuses the key, or sends invalid answers.
    """
    retries, transfer_retries = connection.new_retries(), TransferRetries()
    began = anyio.current_time()

    def on_event(event: Event) -> None:
        if anyio.current_time() - began > MIN_STREAM_SECONDS:
            retries.reset()
        transfer_retries.progressed(_size(event))

    while True:
        request = await sign()
        began = anyio.current_time()
        try:
            with _urls_hidden(request):
                last = await _read_events(connection, path, request, event, on_event)
        except REQUEST_ERRORS as exc:
            logger.info("%s is repeated: %s", path, describe_error(exc))
            await retries.wait(exc)
            continue
        if last.failure is None:
            return last
        failure = _printable(last.failure, request)
        logger.info("%s failed: %s (%s)", path, failure.problem, failure.reason)
        await transfer_retries.wait(failure)


async def _read_events(
    connection: HttpConnection,
    path: str,
    request: FetchRequest | UploadRequest,
    event: type[Event],
    on_event: Callable[[Event], None],
) -> Event:
    read_timeout = min(LINE_TIMEOUT, connection.timeouts.silence / 2)
    async with connection.stream(
        path,
        method="POST",
        content=request.model_dump_json(),
        headers={"Content-Type": "application/json"},
        read_timeout=read_timeout,
    ) as (response, failed):
        if failed is not None:
            raise _refusal(failed, path, request)
        async with aclosing(iter_lines(response, read_timeout=read_timeout)) as lines:
            async for line in lines:
                found = parse_json_as(event, line)
                _check_event(found, request)
                on_event(found)
                if found.failure is not None or _result(found) is not None:
                    return found
    raise InvalidAnswerError("the answer ended before the transfer")


def _refusal(
    response: WorkerResponse, path: str, request: FetchRequest | UploadRequest
) -> Exception:
    status, reason = response.status, ErrorBody.from_response(response)
    if status == 404 and path.startswith("/jobs/"):
        gone = printable_line(f"the worker no longer has the job ({reason})", 400)
        failure = TransferFailure(problem=TransferProblem.INVALID, reason=gone, status=404)
        return TransferFailedError(_printable(failure, request))
    if 400 <= status < 500 and ErrorBody.parse(response) is not None:
        return WorkerProtocolError(f"the worker refuses POST {path}: HTTP {status}: {reason}")
    return InvalidAnswerError(f"HTTP {status}: {reason}")  # perhaps of a proxy, so it is repeated


def _check_event(event: FetchEvent | UploadEvent, request: FetchRequest | UploadRequest) -> None:
    if isinstance(request, FetchRequest):
        largest = request.max_bytes if request.size is None else request.size
    else:
        largest = sum(part.size for part in request.parts)
    found = _size(event)
    if found > largest:
        raise InvalidAnswerError(f"{found} bytes of a file of at most {largest}")
    if isinstance(request, FetchRequest):
        if _result(event) is not None and request.size not in {None, found}:
            raise InvalidAnswerError(f"the hash of {found} bytes of a file of {request.size}")
    elif isinstance(event, UploadEvent) and event.etags is not None:
        count = len(request.parts)
        if len(event.etags) != count:
            raise InvalidAnswerError(f"{len(event.etags)} ETags of {count} parts")


def _size(event: FetchEvent | UploadEvent) -> int:
    return event.received if isinstance(event, FetchEvent) else event.sent


def _result(event: FetchEvent | UploadEvent) -> object:
    return event.sha256 if isinstance(event, FetchEvent) else event.etags


@contextmanager
def _urls_hidden(request: FetchRequest | UploadRequest) -> Generator[None]:
    """Replace an error whose message repeats a URL of the request by one that does not."""
    try:
        yield
    except (WorkerError, *REQUEST_ERRORS) as exc:
        if not _repeats_url(str(exc), request):
            raise
        raise type(exc)(_HIDDEN) from None


def _printable(failure: TransferFailure, request: FetchRequest | UploadRequest) -> TransferFailure:
    hidden = _repeats_url(failure.reason, request)
    reason = _HIDDEN if hidden else printable_line(failure.reason)
    return failure.model_copy(update={"reason": reason})


def _repeats_url(text: str, request: FetchRequest | UploadRequest) -> bool:
    """Return whether a text of a worker contains a part of the query of one of its URLs."""
    parts = [request] if isinstance(request, FetchRequest) else request.parts
    urls = [part.url.get_secret_value() for part in parts]
    return any(repeats_secret(text, url.partition("?")[2]) for url in urls)
