"""Limits of requests to the routes of `Jobs`, and bodies that are read with limits."""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

from anyio import current_time, fail_after
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cloudburst.errors import JobLimitError
from cloudburst.models.limits import Count
from cloudburst.text import describe_error

logger = logging.getLogger(__name__)
MAX_PAUSE_SECONDS = 60.0
"""Maximum number of seconds without a part of a body, and by which a body may exceed the time for
its size. A caller that loses its network sends nothing, and no end: its upload would count as one
of those that are received at once until the server stops."""
MIN_BYTES_PER_SECOND = 1_000.0
"""Rate from which the time for a body follows: slower than every network."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RequestLimits:
    """Limits of requests about jobs. Limits of the jobs themselves are in `JobLimits`."""

    scenes: Count = 1_000
    """Maximum number of scenes of a job."""
    json_bytes: Count = 4_000_000
    """Maximum size of the JSON of a job, in bytes."""
    request_bytes: Count = 1_000_000_000
    """Maximum size of one request, in bytes: an upload, or a form with all of its files."""
    files: Count = 1_000
    """Maximum number of files in one form."""
    transfers: Count = 8
    """Maximum number of uploads, forms and large JSON bodies of one owner that this process
    receives at once."""
    streams: Count = 100
    """Maximum number of event streams of one owner in this process."""


class ConcurrencyLimit:
    """Limit of the number of requests of one kind that each owner has at once."""

    def __init__(self, maximum: int, what: str) -> None:
        self._maximum, self._what = maximum, what
        self._current = Counter[str]()

    def check(self, owner: str) -> None:
        """Raise `JobLimitError` if an owner has as many requests as are permitted."""
        if self._current.get(owner, 0) >= self._maximum:
            msg = f"{self._maximum} {self._what} are open, which is the limit; close one first"
            raise JobLimitError(msg)

    @contextmanager
    def entered(self, owner: str) -> Generator[None]:
        """Count a request of an owner. Raises `JobLimitError`, as `check` does."""
        self.check(owner)
        self._current[owner] += 1
        try:
            yield
        finally:
            self._current[owner] -= 1
            if not self._current[owner]:
                del self._current[owner]


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
