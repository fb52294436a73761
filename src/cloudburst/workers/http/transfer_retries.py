"""Rules for repeating transfers from and to S3 and web servers."""

from __future__ import annotations

import anyio

from cloudburst.models.limits import TRANSFER_BACKOFF, TRANSFER_TIMEOUT
from cloudburst.models.transfers import TransferFailure, TransferProblem

MAX_SIGNATURES = 3
"""Number of times in a row that a URL may be refused as expired directly after it was signed."""

_REPEATED = {TransferProblem.BUSY, TransferProblem.UNREACHABLE}


class TransferFailedError(Exception):
    """Error for a transfer that failed and need not be repeated."""

    def __init__(self, failure: TransferFailure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class TransferRetries:
    """Delays and limits of the retries of one transfer."""

    def __init__(self) -> None:
        self._signatures = 0
        self._most_bytes = 0
        self._restart()

    def _restart(self) -> None:
        self._deadline: float | None = None
        self._delays = TRANSFER_BACKOFF.delays()

    def progressed(self, size: int) -> None:
        """Restart the delays and the time limit if more bytes were transferred than before."""
        if size > self._most_bytes:
            self._most_bytes = size
            self._signatures = 0
            self._restart()

    async def wait(self, failure: TransferFailure) -> None:
        """Wait until the transfer should be repeated.

        Raises:
            TransferFailedError: It should not be repeated.
        """
        if failure.problem is TransferProblem.EXPIRED:
            self._signatures += 1
            if self._signatures < MAX_SIGNATURES:
                return
        elif failure.problem in _REPEATED:
            delay = max(next(self._delays), failure.retry_after or 0.0)
            if self._deadline is None:  # the time begins with the first failure
                self._deadline = anyio.current_time() + TRANSFER_TIMEOUT
            if anyio.current_time() + delay < self._deadline:
                await anyio.sleep(delay)
                return
        raise TransferFailedError(failure)
