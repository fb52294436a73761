"""Requests to a native worker for transfers: it gets a file from a URL, or writes one to S3."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from cloudburst.adapters.http.connection import HttpConnection
from cloudburst.adapters.http.response import (
    REQUEST_ERRORS,
    ErrorBody,
    InvalidAnswerError,
    UnavailableError,
    iter_lines,
    parse_json_as,
)
from cloudburst.adapters.http.transfer_retries import TransferRetries
from cloudburst.models.transfers import FetchEvent, FetchRequest, UploadEvent, UploadRequest
from cloudburst.text import describe_error

logger = logging.getLogger(__name__)

LINE_TIMEOUT = 20.0
"""Seconds without a line after which the response of a transfer counts as broken: the worker sends
a line at least every 10 s."""

Event = TypeVar("Event", FetchEvent, UploadEvent)


async def request_transfer(
    connection: HttpConnection,
    path: str,
    sign: Callable[[], Awaitable[FetchRequest | UploadRequest]],
    event: type[Event],
) -> Event:
    """Let a worker make a transfer, and return the last event of its response.

    Broken connections and temporary problems of the other server are repeated.

    Args:
        connection: Connection to the worker.
        path: Path of the request's URL.
        sign: Function that returns the request, with freshly signed URLs.
        event: Model of a line of the response.

    Raises:
        TransferFailedError: The transfer failed.
        WorkerError: The worker has stopped, refuses the key, or sends invalid answers.
    """
    retries, transfer_retries = connection.new_retries(), TransferRetries()
    while True:
        request = await sign()
        try:
            last = await _read_events(
                connection, path, request.model_dump_json(), event, transfer_retries
            )
        except REQUEST_ERRORS as exc:
            logger.info("%s is repeated: %s", path, describe_error(exc))
            await retries.wait(exc)
            continue
        retries.reset()
        if last.failure is None:
            return last
        logger.info("%s failed: %s (%s)", path, last.failure.problem, last.failure.reason)
        await transfer_retries.wait(last.failure)


async def _read_events(
    connection: HttpConnection,
    path: str,
    content: str,
    event: type[Event],
    retries: TransferRetries,
) -> Event:
    """Send a request and read its response to the last event, which has a result or a failure."""
    async with connection.stream(
        path,
        method="POST",
        content=content,
        headers={"Content-Type": "application/json"},
        read_timeout=LINE_TIMEOUT,
    ) as (response, failed):
        if failed is not None:
            reason = ErrorBody.from_response(failed)
            raise InvalidAnswerError(f"HTTP {failed.status}: {reason}")
        async with aclosing(iter_lines(response, read_timeout=LINE_TIMEOUT)) as lines:
            async for line in lines:
                found = parse_json_as(event, line)
                retries.progressed(_size(found))
                if found.failure is not None or _is_result(found):
                    return found
    raise UnavailableError("the answer ended before the transfer")


def _size(event: FetchEvent | UploadEvent) -> int:
    return event.received if isinstance(event, FetchEvent) else event.sent


def _is_result(event: FetchEvent | UploadEvent) -> bool:
    result = event.sha256 if isinstance(event, FetchEvent) else event.etags
    return result is not None
