"""Conditional writes and deletions of claims and of the lock."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio

from cloudburst.aws.s3.object_store import PRECONDITION_FAILED, ObjectStore
from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import (
    AWSError,
    CloudburstError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Object, S3Prefix

logger = logging.getLogger(__name__)

WRITE_TIMEOUT = 60.0
"""Maximum seconds to write a claim or the lock."""
DELETE_TIMEOUT = 20.0
"""Maximum seconds to delete a claim or the lock."""
DELETE_BACKOFF = Backoff(first=0.2, factor=2.0, cap=3.0)

_NO_CONDITIONS = (
    "%s: this store does not support conditional writes (If-None-Match), so that nothing prevents "
    "two runs from writing the same video at the same time"
)
_NOT_DELETED = "%s could not be deleted; it expires by itself: %s"


class ClaimWriter:
    """Writer of claims in one folder, under conditions as far as the store supports them."""

    def __init__(self, store: ObjectStore, prefix: S3Prefix) -> None:
        self._store = store
        self._prefix = prefix
        self.conditional = True
        """False once the store was found not to support conditional writes."""

    def give_up_conditions(self) -> None:
        """Write without conditions from now on."""
        self.conditional = False
        logger.warning(_NO_CONDITIONS, self._prefix)

    async def put(self, location: S3Object, data: bytes, *, etag: str) -> str:
        """Write an object in place of the one with an ETag, and return its new ETag.

        If the ETag is empty, the object must not exist yet.
        """
        if not self.conditional:
            return await self._store.put_small(location, data)
        if etag:
            return await self._store.put_small(location, data, etag=etag)
        return await self._store.put_small(location, data, new=True)

    async def delete(self, location: S3Object, etag: str) -> None:
        """Delete an object if it has this ETag; otherwise it belongs to another process.

        A failed deletion is logged, because the object expires by itself.
        """

        async def delete() -> None:
            # No error leaves this function: it would replace a cancellation.
            for delay in DELETE_BACKOFF.delays():
                try:
                    await self._store.delete(location, etag=etag)
                except (NoAnswerError, ThrottledError) as exc:
                    logger.debug("%s: repeating the deletion: %s", location, exc)
                except ResourceMissingError:
                    return
                except CloudburstError as exc:
                    if not is_precondition_failed(exc):
                        logger.warning(_NOT_DELETED, location, exc)
                    return
                else:
                    return
                await anyio.sleep(delay)

        try:
            await finish_despite_cancel(delete, seconds=DELETE_TIMEOUT)
        except TimeoutError:
            logger.warning(_NOT_DELETED, location, f"no answer within {DELETE_TIMEOUT:g} s")


async def finish_write(write: Callable[[], Awaitable[object]], location: S3Object) -> None:
    """Finish a write despite a cancellation: afterwards it must be known what was written.

    Raises:
        NoAnswerError: The write has not ended within `WRITE_TIMEOUT`.
    """
    try:
        await finish_despite_cancel(write, seconds=WRITE_TIMEOUT)
    except TimeoutError:
        raise NoAnswerError(f"{location}: no answer within {WRITE_TIMEOUT:g} s") from None


def is_precondition_failed(error: CloudburstError) -> bool:
    """Return whether S3 has refused a write because its condition does not hold."""
    return isinstance(error, AWSError) and error.code == PRECONDITION_FAILED
