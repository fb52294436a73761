"""Repetition of requests that got no useful answer."""

from __future__ import annotations

import random
import ssl
from collections.abc import Generator
from contextlib import contextmanager

import anyio
import httpx

from cloudburst.registry.errors import RegistryUnavailableError, printable
from cloudburst.registry.policy import TransferPolicy

MAX_RETRY_AFTER = 60.0
"""Maximum number of seconds that a registry can make a client wait before the next attempt."""


class NoAnswerError(Exception):
    """Server error, or an answer that is not HTTP of a registry: the request is repeated."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds until the next attempt that the registry asks for."""


REPEATED = (httpx.TransportError, TimeoutError, NoAnswerError)
"""Exceptions after which a request is repeated."""


class Retries:
    """Delays between the attempts of one request or transfer."""

    def __init__(self, policy: TransferPolicy, what: str) -> None:
        self._policy = policy
        self._what = what
        self._failures = 0
        self._reason = ""

    @contextmanager
    def limited(self, size: int) -> Generator[None]:
        """Raise `RegistryUnavailableError` if the block takes longer than a transfer of a size may.

        The block contains all attempts; ``size`` is in bytes.
        """
        limit = self._policy.time_limit(size)
        with anyio.move_on_after(limit) as scope:
            yield
        if scope.cancelled_caught:
            reason = f"not finished within {limit:.0f} s; last failure: {self._reason or 'none'}"
            raise RegistryUnavailableError(f"{self._what}: {reason}")

    def progress(self) -> None:
        """Forget earlier failures, because bytes were transferred since."""
        self._failures = 0

    async def wait(self, error: Exception) -> None:
        """Wait before the next attempt after an exception of `REPEATED`.

        Raises:
            RegistryUnavailableError: There were too many failures in a row, or the certificate of
                the registry is not valid.
        """
        self._failures += 1
        # h11 names the bytes that it rejects: headers, which may contain a secret.
        reason = str(error).partition(": bytearray(")[0] or type(error).__name__
        self._reason = printable(reason)
        if self._failures >= self._policy.attempts or is_certificate_error(error):
            raise RegistryUnavailableError(f"{self._what}: {self._reason}") from error
        delay = retry_delay(self._policy, self._failures, random.random())  # noqa: S311
        asked = getattr(error, "retry_after", 0.0)
        await anyio.sleep(max(delay, min(asked, MAX_RETRY_AFTER)))


def retry_delay(policy: TransferPolicy, failures: int, chance: float) -> float:
    """Return the seconds between two attempts; ``chance`` is a random number from 0 to 1."""
    longest = min(policy.max_delay, policy.first_delay * 2.0 ** (failures - 1))
    return longest * (0.5 + chance / 2)


def is_certificate_error(error: BaseException) -> bool:
    """Return whether an exception was caused by a TLS certificate that is not valid."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
