"""Health of backends: limits on the workers of each backend, and its circuit breaker."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import anyio

from cloudburst.engine.pool_state import PoolWorker
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.errors import (
    CloudburstError,
    Remedy,
    WorkerError,
    WorkerStoppedError,
    WorkerUnreachableError,
)
from cloudburst.models.failures.connections import KEY_REFUSED, WORKER_DISK_FULL
from cloudburst.models.limits import Limits
from cloudburst.ports.backend import Backend

# Seconds for which a backend gets no more workers than its account last allowed, after the
# account's quota was used up: for the first time, and at most. They double each time that the
# quota is found used up again. The values are choices: by then other tasks of the account may
# have ended, and another try costs a refused launch for each further worker.
MIN_REDUCED_LIMIT_SECONDS, MAX_REDUCED_LIMIT_SECONDS = 30.0, 120.0

# Number of tasks in a row whose program exits with an error code before it is ready, or that run
# and give no answer, after which a backend gets no more tasks, unless one of its workers was ready
# in this run. Each task starts the same program in the same way and place, so a third would do the
# same. The first alone is no proof: to start a second task for nothing costs a minute of that task,
# to give up too early fails the run.
MAX_USELESS_STARTS = 2


class BackendHealth:
    """Worker limits and circuit breakers of backends.

    A circuit breaker opens after several failures in a row. Until it closes, when a run begins
    while no other is active, no worker is started on its backend.
    """

    def __init__(self, backends: Sequence[Backend], workers: WorkerIndex, limits: Limits) -> None:
        self._backends = backends
        self._workers = workers
        self._limits = limits
        self._failed_starts: Counter[str] = Counter()  # in a row, by backend
        # Starts in a row that ended in the same way, by backend and whether the program exited.
        self._useless_starts: Counter[tuple[str, bool]] = Counter()
        self._were_ready: set[str] = set()  # names of backends of which a worker was ready
        self._useless_workers: Counter[str] = Counter()  # in a row without a video, by backend
        self._open: dict[str, CloudburstError] = {}  # circuit breakers that are open, by backend
        # Number of workers that the account was seen to allow, until when that counts, and for how
        # many seconds.
        self._reduced: dict[str, tuple[int, float, float]] = {}
        self.any_eager = any(backend.eager for backend in backends)
        """True if any backend has `Backend.eager` set: a worker is started for every waiting
        scene."""

    @property
    def with_room(self) -> Iterator[Backend]:
        """Backends that may have one more worker, in the order of preference."""
        return (backend for backend in self._backends if self.room(backend) > 0)

    def room(self, backend: Backend) -> int:
        """Return how many more workers a backend may have."""
        if backend.name in self._open:
            return 0
        count = self._workers.count_by_backend[backend.name]
        rooms = [self._limits.workers - self._workers.count_billed_like(backend)]
        if backend.capacity is not None:
            rooms.append(backend.capacity - count)
        allowed, until, _ = self._reduced.get(backend.name, (0, 0.0, 0.0))
        if anyio.current_time() < until:
            rooms.append(allowed - count)
        return max(0, min(rooms))

    def accepted_tasks(self, backend: Backend) -> int:
        """Return the number of current workers of a backend whose launch was accepted."""
        return sum(each.backend is backend and bool(each.record.task) for each in self._workers)

    @property
    def errors(self) -> tuple[CloudburstError, ...]:
        """Errors because of which circuit breakers are open."""
        return tuple(self._open.values())

    def on_ready(self, backend: Backend) -> None:
        """Reset the counts of failed starts of a backend, because one of its workers is ready."""
        self._failed_starts.pop(backend.name, None)
        self._useless_starts.clear()
        self._were_ready.add(backend.name)

    def on_scene_finished(self, backend: Backend) -> None:
        """Reset a backend's count of unusable workers, because one of its workers made a video."""
        self._useless_workers.pop(backend.name, None)

    def on_ended(self, worker: PoolWorker) -> None:
        """Handle the end of a worker, and open the circuit breaker after too many unusable ones."""
        # A worker is unusable if it rejects the key, has a full disk or sends invalid answers.
        # Workers that have stopped or no longer answer are not counted, because this says nothing
        # about other workers.
        name, error = worker.backend.name, worker.record.error
        if not isinstance(error, WorkerError) or worker.record.ready is None:
            return
        if not isinstance(error, WorkerStoppedError):
            self._useless_workers[name] += 1
            if self._useless_workers[name] >= self._limits.attempts:
                how = f"{self._useless_workers[name]} workers in a row made no video"
                self._open[name] = _setup_error(error, how)

    def on_start_failed(self, worker: PoolWorker, error: CloudburstError) -> bool:
        """Handle a failed start: open the circuit breaker or lower the worker limit if necessary.

        Returns:
            True if no other start on this backend can succeed.
        """
        name = worker.backend.name
        # A task that was there when the launch was given up may have ended since, and freed quota.
        accepted = max(worker.tasks_beside, self.accepted_tasks(worker.backend))
        if error.remedy is Remedy.FEWER_TASKS and accepted:
            self._reduce_limit(name, accepted)
            return False
        if error.remedy is Remedy.FEWER_TASKS:
            # The quota was exhausted during the whole launch, and no task of ours will free it.
            self._open[name] = error
            return True
        crashed = isinstance(error, WorkerStoppedError) and error.crashed
        if crashed and error.remedy is Remedy.REPEAT_REQUEST:
            return False  # the backend itself limits how long such crashes are not failures
        # Late starts that were stopped to make room count if the one in their place fails as well.
        self._failed_starts[name] += 1 if worker.replaces else 1 + worker.late_starts_before
        error = self._count_useless_start(name, error)
        if isinstance(error, WorkerUnreachableError) and name in self._were_ready:
            return False  # the cause, however certain, is one of this worker
        if not error.retryable or self._failed_starts[name] >= self._limits.attempts:
            self._open[name] = error
        return not error.retryable

    def _reduce_limit(self, name: str, allowed: int) -> None:
        now = anyio.current_time()
        _, until, seconds = self._reduced.get(name, (0, -math.inf, 0.0))
        if now >= until + seconds:
            seconds = MIN_REDUCED_LIMIT_SECONDS
        elif now >= until:
            seconds = min(2 * seconds, MAX_REDUCED_LIMIT_SECONDS)
        self._reduced[name] = allowed, now + seconds, seconds

    def _count_useless_start(self, name: str, error: CloudburstError) -> CloudburstError:
        """Return the error of a failed start, as an error of the setup if every task will fail."""
        exited = isinstance(error, WorkerStoppedError) and error.error_exit
        if not (exited or isinstance(error, WorkerUnreachableError)):
            self._useless_starts.clear()
            return error
        assert isinstance(error, WorkerError)
        self._useless_starts[name, exited] += 1
        number = self._useless_starts[name, exited]
        if name in self._were_ready or number < MAX_USELESS_STARTS:
            return error
        what = "exited before they were ready" if exited else "gave no answer"
        return _setup_error(error, f"{number} tasks in a row {what}")

    def reset(self) -> None:
        """Close all circuit breakers, and reset the counts of failures."""
        self._open.clear()
        self._failed_starts.clear()
        self._useless_starts.clear()
        self._were_ready.clear()
        self._useless_workers.clear()


def _setup_error(error: WorkerError, how: str) -> WorkerError:
    """Return an error of the same class that says how to fix the setup, and is not retried."""
    row = next(
        (row for row in (KEY_REFUSED, WORKER_DISK_FULL) if isinstance(error, row.error)), None
    )
    fix = f": {row.action}" if row is not None else ""
    final = type(error)(f"{error}; {how}{fix}", task=error.task)
    final.remedy = Remedy.FIX_SETUP
    final.__cause__ = error
    return final
