"""Bodies of requests, which are read with limits."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

from anyio import current_time, fail_after
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cloudburst.text import describe_error

logger = logging.getLogger(__name__)

MAX_PAUSE_SECONDS = 60.0
"""Maximum number of seconds without a part of a body, and by which a body may exceed the time for
its size. A caller that loses its network sends nothing, and no end: its upload would count as one
of those that are received at once until the server stops."""
MIN_BYTES_PER_SECOND = 1_000.0
"""Rate from which the time for a body follows: slower than every network."""


async def limited_body(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body of a request in parts.

    Raises `HTTPException` 413 as soon as more than ``max_bytes`` bytes are announced or received,
    and 408 if they arrive too slowly.
    """
    too_large = HTTPException(413, f"expected at most {max_bytes:,} bytes")
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > max_bytes:
        raise too_large
    received, waited = 0, 0.0
    chunks = request.stream()
    while True:
        time_left = MAX_PAUSE_SECONDS + received / MIN_BYTES_PER_SECOND - waited
        begin = current_time()
        try:
            with fail_after(min(time_left, MAX_PAUSE_SECONDS)):
                chunk = await anext(chunks, None)
        except TimeoutError as exc:
            detail = "the body arrives too slowly; send the request again"
            raise HTTPException(408, detail, {"connection": "close"}) from exc
        if chunk is None:
            return
        waited += current_time() - begin
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        yield chunk


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the whole body of a request. Raises `HTTPException` 413, as `limited_body` does."""
    return b"".join([chunk async for chunk in limited_body(request, max_bytes)])


@contextmanager
def full_disk_refused() -> Generator[None]:
    """Turn an error because of a full disk into `HTTPException` 507."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        logger.warning("no room for an upload: %s", describe_error(exc))
        raise HTTPException(507, "the server has no room for the files; try again later") from exc
