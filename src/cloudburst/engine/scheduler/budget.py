"""Budget of a client: nothing is started or continued that takes the bill over its limit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from weakref import WeakSet

import anyio

from cloudburst.engine.forecast.measurements import SlowestTimes
from cloudburst.engine.forecast.simulation import billed_seconds
from cloudburst.engine.pool_state import Assignment, PoolWorker
from cloudburst.engine.records import WorkerRecord
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.errors import BudgetError
from cloudburst.models.performance import PLACEMENT_SECONDS, PULL_SECONDS, STOP_SECONDS
from cloudburst.models.task import seconds_billed

# Seconds of a worker's start-up that are assumed until a worker has become ready.
DEFAULT_STARTUP_SECONDS = float(PLACEMENT_SECONDS + PULL_SECONDS)
# Seconds that are allowed until the request to stop a worker is accepted.
STOP_REQUEST_SECONDS = 10.0
# Seconds that a scene is assumed to take in addition to the length of its audio, until a scene is
# finished.
DEFAULT_SCENE_SECONDS = 10.0

# Factor by which a bill may be higher than a forecast by expected times. The value is a choice.
FORECAST_MARGIN = 1.3


@dataclass(eq=False, slots=True)
class SharedBudget:
    """Limit on the bill of several clients together."""

    max_usd: Decimal | None = None
    members: WeakSet[Budget] = field(default_factory=WeakSet["Budget"])
    """Budgets of the clients."""
    stopped: dict[str, WorkerRecord] = field(default_factory=dict[str, WorkerRecord])
    """Tasks of all clients, also of those that are closed, whose stops were accepted."""


class Budget:
    """Limit on the bill of a client, with which a forecast of the bill is compared.

    The forecast uses the slowest start-up and the slowest scene so far instead of expected times,
    because about half of all scenes take longer than expected.
    """

    def __init__(
        self,
        max_usd: Decimal | None,
        slowest: SlowestTimes,
        workers: WorkerIndex,
        shared: SharedBudget | None = None,
    ) -> None:
        self._own_max_usd = max_usd
        self._shared = shared or SharedBudget()
        self._shared.members.add(self)
        self._slowest = slowest
        self._workers = workers
        self._refused: Decimal | None = None  # foreseen bill of what was refused
        self._stopped: dict[str, WorkerRecord] = {}  # by task

    def add_stopped(self, record: WorkerRecord) -> None:
        """Count the cost of a task whose stop was accepted. Repeated calls change nothing."""
        if self._max_usd is None or not record.task:  # keep no records for nothing
            return
        known = self._stopped.get(record.task)
        if known is None or not known.settled:
            self._stopped[record.task] = self._shared.stopped[record.task] = record

    @property
    def foreseen(self) -> Decimal:
        """Forecast bill of the workers that are not stopped, in USD."""
        return sum(map(self._foreseen, self._workers), Decimal())

    @property
    def _max_usd(self) -> Decimal | None:
        """Limit on the bill, also by those of other clients."""
        shared = self._shared
        if shared.max_usd is None:
            return self._own_max_usd
        foreseen = (other.foreseen for other in shared.members if other is not self)
        spent = sum(map(_stopped_usd, shared.stopped.values()), Decimal()) - self._spent()
        left = shared.max_usd - sum(foreseen, spent)
        return left if self._own_max_usd is None else min(left, self._own_max_usd)

    def begin_round(self) -> None:
        """Begin a new round of decisions, and forget the refusals of the last round."""
        self._refused = None

    def allows(
        self, worker: PoolWorker, audio_seconds: float, *, stopped: PoolWorker | None = None
    ) -> bool:
        """Return whether the forecast bill stays in budget if a worker gets one more scene."""
        if self._max_usd is None or not worker.backend.usd_per_second:
            return True
        bill = self._bill_of_others(worker, stopped) + self._foreseen(worker, extra=audio_seconds)
        if bill <= self._max_usd:
            return True
        self._refused = bill
        return False

    def allows_idle(self, worker: PoolWorker) -> bool:
        """Return whether the bill stays in budget if an idle worker is kept for a moment."""
        if self._max_usd is None:
            return True
        return self._bill_of_others(worker) + _usd_if_stopped_now(worker) <= self._max_usd

    def _bill_of_others(self, worker: PoolWorker, stopped: PoolWorker | None = None) -> Decimal:
        others = (
            _usd_if_stopped_now(other) if other is stopped else self._foreseen(other)
            for other in self._workers
            if other is not worker
        )
        return sum(others, self._spent())

    def unaffordable(self) -> PoolWorker | None:
        """Return the worker whose encodes cost most to finish, if the bill would exceed the limit.

        Return ``None`` if the bill is expected to stay in budget, or if a stop costs no less than
        the rest of the encodes. Workers with a scene that has a copy are left out.
        """
        if self._max_usd is None:
            return None
        bills = {worker: _usd_if_encodes_end(worker) for worker in self._workers}
        if self._spent() + sum(bills.values(), Decimal()) <= self._max_usd:
            return None
        saved = {
            worker: bill - _usd_if_stopped_now(worker)
            for worker, bill in bills.items()
            if worker.encode_ends and not any(each.ticket.copy for each in worker.assignments)
        }
        dearest = max(saved, key=saved.__getitem__, default=None)
        return dearest if dearest is not None and saved[dearest] > 0 else None

    @property
    def usd_for_plans(self) -> float:
        """Largest forecast bill of the current workers and of those to start, in USD."""
        if self._max_usd is None:
            return math.inf
        return float(self._max_usd - self._spent()) / FORECAST_MARGIN

    def refusal(self) -> BudgetError | None:
        """Return the error for scenes that were refused in this round; ``None`` if none was."""
        if self._refused is None:
            return None
        return BudgetError(
            f"not started: the bill would reach about ${self._refused:.4f}, and "
            f"Limits.max_usd is ${self._max_usd}"
        )

    def _spent(self) -> Decimal:
        return sum(map(_stopped_usd, self._stopped.values()), Decimal())

    def _foreseen(self, worker: PoolWorker, *, extra: float | None = None) -> Decimal:
        if worker.stopping:
            return _usd(worker, worker.age + STOP_SECONDS)
        now, backend, age = anyio.current_time(), worker.backend, worker.age
        startup = self._slowest.startup_seconds
        startup = DEFAULT_STARTUP_SECONDS if startup is None else startup
        startup_left = 0.0 if worker.connection is not None else max(0.0, startup - age)
        factor = backend.encode_timeout_factor
        scenes = self._scenes_left(worker.assignments, now, factor)
        if extra is not None:
            scenes += self._scene_seconds(extra, factor)
        elif worker.starting:
            scenes += self._scene_seconds(worker.expected_audio_seconds, factor)
        left = startup_left + scenes / backend.encoder_slots + float(STOP_SECONDS)
        return _usd(worker, age + left)

    def _scenes_left(self, assignments: Iterable[Assignment], now: float, factor: float) -> float:
        seconds = 0.0
        for each in assignments:
            done = 0.0 if each.encoding_since is None else now - each.encoding_since
            seconds += max(0.0, self._scene_seconds(each.ticket.audio_seconds, factor) - done)
        return seconds

    def _scene_seconds(self, audio_seconds: float, factor: float) -> float:
        slowest = self._slowest.seconds_per_audio_second
        if slowest is None:
            return DEFAULT_SCENE_SECONDS + audio_seconds * max(1.0, factor)
        return audio_seconds * slowest


def _usd(worker: PoolWorker, seconds: float) -> Decimal:
    backend, usage = worker.backend, worker.record.usage
    # The price of a task that is not there yet may be that of the dearest placement.
    highest = max(backend.usd_per_second, backend.max_usd_per_second)
    rate = highest if usage is None else usage.usd_per_second
    return Decimal(str(round(billed_seconds(seconds), 3))) * rate


def _usd_if_encodes_end(worker: PoolWorker) -> Decimal:
    left = max(worker.encode_ends, default=0.0) - anyio.current_time()
    return _usd(worker, worker.age + max(0.0, left) + STOP_SECONDS)


def _usd_if_stopped_now(worker: PoolWorker) -> Decimal:
    return _usd(worker, worker.age + STOP_REQUEST_SECONDS + STOP_SECONDS)


def _stopped_usd(record: WorkerRecord) -> Decimal:
    if record.usage is None:
        return Decimal()
    seconds = seconds_billed(record.usage)
    rate = record.usage.usd_per_second
    return (seconds if record.settled else seconds + STOP_SECONDS) * rate
