"""Requests to S3 that are finished although the run is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import CloudburstError, NoAnswerError, ResourceMissingError
from cloudburst.models.locations import S3Object

DELETE_TIMEOUT = 20.0
"""Maximum seconds to delete an object, or the parts of an upload."""


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
    delete: Callable[[], Awaitable[None]], *, warn: Callable[[str], None]
) -> None:
    """Finish a deletion despite a cancellation.

    No error of S3 is raised, because it would replace the cancellation.

    Args:
        delete: Function that makes the request.
        warn: Function that is called with the reason of a failure, except if there is nothing to
            delete.
    """

    async def finish() -> None:
        try:
            await delete()
        except ResourceMissingError:
            pass
        except CloudburstError as exc:
            warn(str(exc))

    try:
        await finish_despite_cancel(finish, seconds=DELETE_TIMEOUT)
    except TimeoutError:
        warn(f"no answer within {DELETE_TIMEOUT:g} s")
