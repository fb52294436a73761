"""Rules for repeating requests to a worker, and transfers that it makes."""

from __future__ import annotations

import anyio
import httpx

from cloudburst.concurrency import Retries
from cloudburst.errors import WorkerProtocolError, WorkerStoppedError
from cloudburst.models import failures
from cloudburst.models.failures.connections import CONNECTION_REFUSED
from cloudburst.models.limits import TRANSFER_BACKOFF, TRANSFER_TIMEOUT, Backoff
from cloudburst.models.transfers import TransferFailure, TransferProblem
from cloudburst.text import describe_error
from cloudburst.workers.http.response import INVALID_ANSWERS

# Number of times in a row that a URL may be refused as expired directly after it was signed.
MAX_SIGNATURES = 3

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
        self._retries = Retries(TRANSFER_BACKOFF.delays(), seconds=TRANSFER_TIMEOUT)

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
                return None
        elif failure.problem in _REPEATED:
            error = TransferFailedError(failure)
            return await self._retries.wait(error, at_least=failure.retry_after or 0.0)
        raise TransferFailedError(failure)


# Refused connections in a row after which the worker counts as stopped. A worker that is only busy
# does not refuse: its kernel accepts the connection.
MAX_REFUSED_CONNECTIONS = 3
# Invalid answers during one operation after which the operation fails. A single invalid answer may
# be a proxy's error page while the worker restarts.
MAX_INVALID_ANSWERS = 3
# Seconds between two checks for a pause of this process.
PAUSE_CHECK_INTERVAL = 1.0
# Seconds by which a check must be late to count as a pause of this process.
MIN_PAUSE = 1.0

_TIMEOUTS = (httpx.TimeoutException, TimeoutError)

_RECONNECT_BACKOFF = Backoff(first=0.1, factor=2.0, cap=2.0)


class ProcessPauseDetector:
    """Detector of pauses of this process, such as Ctrl-Z, a debugger or a paused virtual machine.

    When the process continues after a pause, its timers have expired although it has not yet read
    the data that workers sent during the pause.
    """

    def __init__(self) -> None:
        self._running_since = anyio.current_time()
        self._next_check = self._running_since + PAUSE_CHECK_INTERVAL

    @property
    def running_since(self) -> float:
        """End of the last pause, on the clock of `anyio.current_time`.

        Without a pause, this is the time at which the detector was created.
        """
        if (now := anyio.current_time()) > self._next_check + MIN_PAUSE:
            self._running_since = now
            self._next_check = now + PAUSE_CHECK_INTERVAL
        return self._running_since

    async def watch(self) -> None:
        """Check for pauses until the task is cancelled."""
        while True:
            self._next_check = anyio.current_time() + PAUSE_CHECK_INTERVAL
            await anyio.sleep(PAUSE_CHECK_INTERVAL)
            _ = self.running_since


class ConnectionRetries:
    """Delays and limits of the retries of one operation while its worker gives no useful answer."""

    def __init__(self, seconds: float, pause_detector: ProcessPauseDetector) -> None:
        self._seconds = seconds
        self._pause_detector = pause_detector
        self._invalid_answers = 0
        self.reset()

    def reset(self) -> None:
        """Reset the delays and the time without an answer, because the worker has answered."""
        self._last_answer = anyio.current_time()
        self._failing = False
        self._refused = 0
        self._delays = _RECONNECT_BACKOFF.delays()

    async def wait(self, exc: Exception) -> None:
        """Wait until the request that raised ``exc`` should be repeated.

        Raises:
            WorkerStoppedError: The worker no longer accepts connections or answers.
            WorkerProtocolError: The worker's answers are invalid.
        """
        self._invalid_answers += isinstance(exc, INVALID_ANSWERS)
        if self._invalid_answers >= MAX_INVALID_ANSWERS:
            msg = f"the worker's answers are invalid: {describe_error(exc)}"
            raise WorkerProtocolError(msg) from exc
        if not self._failing and not isinstance(exc, _TIMEOUTS):
            self._last_answer = anyio.current_time()  # the connection worked until it broke
        self._failing = True
        self._refused = self._refused + 1 if _is_refused_connection(exc) else 0
        # A pause of this process says nothing about the worker.
        since = max(self._last_answer, self._pause_detector.running_since)
        remaining = since + self._seconds - anyio.current_time()
        if self._refused >= MAX_REFUSED_CONNECTIONS:
            msg = "the worker has stopped: its machine refuses connections"
            raise WorkerStoppedError(msg) from exc
        if remaining <= 0:
            msg = f"no useful answer from the worker for {self._seconds:g} s "
            msg += f"({describe_error(exc)})"
            raise WorkerStoppedError(msg) from exc
        await anyio.sleep(min(next(self._delays), remaining))


def _is_refused_connection(exc: BaseException | None) -> bool:
    """Return whether a connection was refused because no process listens on the worker's port."""
    match exc:
        case None:
            return False
        case BaseExceptionGroup(exceptions=(first, *_)):  # trio tried several addresses
            return _is_refused_connection(first)
        case _:
            failure = failures.classify_exception(exc, context="worker")
            if failure is CONNECTION_REFUSED:
                return True
            return _is_refused_connection(exc.__cause__ or exc.__context__)
