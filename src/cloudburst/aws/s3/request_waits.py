"""Requests to S3 that are repeated while it is busy, or finished despite a cancellation."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.concurrency import Retries, finish_despite_cancel
from cloudburst.errors import (
    CloudburstError,
    CredentialsError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.limits import TRANSFER_BACKOFF, TRANSFER_TIMEOUT
from cloudburst.models.locations import S3Object

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds for which a run waits for new credentials after the old ones have expired: long enough to
# sign in again, and shorter than the default of ``Timeouts.scene``. The time is a choice.
CREDENTIALS_TIMEOUT = 600.0
DELETE_TIMEOUT = 20.0
"""Maximum seconds to delete an object, or the parts of an upload."""


async def repeat_while_busy(call: Callable[[], Awaitable[T]]) -> T:
    """Call a function again while S3 is busy or does not answer, for `TRANSFER_TIMEOUT`.

    The time begins with its first failure.
    """
    retries = Retries(TRANSFER_BACKOFF.delays(), seconds=TRANSFER_TIMEOUT)
    while True:
        try:
            return await call()
        except (ThrottledError, NoAnswerError) as exc:
            await retries.wait(exc)


class RequestWaits:
    """Waits of one run for credentials, and for S3 when it is busy."""

    def __init__(self) -> None:
        self._refused_at: float | None = None

    @property
    def refused(self) -> bool:
        """True if S3 has refused the credentials, and has not accepted any since."""
        return self._refused_at is not None

    async def repeat(self, store: ObjectStore, call: Callable[[], Awaitable[T]]) -> T:
        """Call a function again while credentials have expired, or S3 is busy, for a limited time.

        All functions of the run share the time for the credentials. While they are refused, the
        function must make a request to S3, so that its success shows that they are accepted. The
        time for a busy S3 begins with its first failure, and again after a wait for credentials.
        """
        for delay in TRANSFER_BACKOFF.delays():
            try:
                result = await repeat_while_busy(call)
            except CredentialsError as exc:
                if anyio.current_time() + delay > self._end_of_wait(store, exc):
                    raise
            else:
                self._refused_at = None
                return result
            await anyio.sleep(delay)
        raise AssertionError("unreachable: delays never end")

    def _end_of_wait(self, store: ObjectStore, error: CredentialsError) -> float:
        if not store.aws.renews_credentials:
            return -math.inf
        if self._refused_at is None:
            self._refused_at = anyio.current_time()
            logger.warning(
                "the credentials for S3 are no longer valid: waiting up to %.0f minutes for new "
                "ones (%s)",
                CREDENTIALS_TIMEOUT / 60,
                error,
            )
        return self._refused_at + CREDENTIALS_TIMEOUT


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
