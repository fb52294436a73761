"""Requests to S3 that are finished although the run is cancelled."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import (
    CloudburstError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Object

logger = logging.getLogger(__name__)

DELETE_TIMEOUT = 20.0
"""Maximum seconds to delete an object, or the parts of an upload."""
DELETE_BACKOFF = Backoff(first=0.2, factor=2.0, cap=3.0)
"""Delays between the attempts at that."""


async def finish_write(
    write: Callable[[], Awaitable[object]], location: S3Object, *, seconds: float
) -> None:
    """Finish a write despite a cancellation: afterwards it must be known what was written.

    Raises:
        NoAnswerError: The write has not ended within ``seconds``.
    """
    try:
        await finish_despite_cancel(write, seconds=seconds)
    except TimeoutError:
        raise NoAnswerError(f"{location}: no answer within {seconds:g} s") from None


async def finish_delete(
    delete: Callable[[], Awaitable[None]], location: S3Object, *, warn: Callable[[str], None]
) -> None:
    """Finish a deletion despite a cancellation, and repeat it while S3 is busy.

    It is finished, too, if there is nothing to delete. No error of S3 is raised, because it would
    replace the cancellation.

    Args:
        delete: Function that makes the request.
        location: Object that the request is about, for the log.
        warn: Function that is called with the reason of a failure.
    """

    async def repeat() -> None:
        for delay in DELETE_BACKOFF.delays():
            try:
                return await delete()
            except (NoAnswerError, ThrottledError) as exc:
                logger.debug("%s: repeating the deletion: %s", location, exc)
            except ResourceMissingError:
                return None
            except CloudburstError as exc:
                return warn(str(exc))
            await anyio.sleep(delay)
        raise AssertionError("unreachable: delays never end")

    try:
        await finish_despite_cancel(repeat, seconds=DELETE_TIMEOUT)
    except TimeoutError:
        warn(f"no answer within {DELETE_TIMEOUT:g} s")
