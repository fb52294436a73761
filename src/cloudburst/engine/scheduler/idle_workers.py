"""Workers without scenes: late and needless starts, and idle workers that are kept."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import anyio

from cloudburst.engine.pool_state import PoolWorker, WorkerState
from cloudburst.engine.scheduler.budget import Budget
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.errors import WorkerNotReadyError
from cloudburst.models.limits import Limits
from cloudburst.ports.backend import Backend

logger = logging.getLogger(__name__)

# Multiple of the time after which a start is late, after which the worker is stopped to make room
# for another one. The value is a choice: most late starts succeed soon, and the other worker
# needs a whole start-up; without a limit on workers, both start at the same time.
OVERDUE_FACTOR = 1.3
# Seconds for which no worker is started on a backend after the start of a needless one was
# cancelled, unless scenes arrive. A task is billed for at least a minute, so what is needed a
# moment after it was needless must not cost more than one task a minute.
PAUSE_AFTER_NEEDLESS_START = 60.0
# Reason for which most late workers are stopped.
REPLACED = "another task replaces it"


class Starts:
    """Starts of a client's workers that are late, or needless.

    More late starts than workers that were ready have a common reason, such as a slow registry, and
    are not replaced. Workers that cost nothing, or whose number is planned, are never late.
    """

    def __init__(
        self, workers: WorkerIndex, performances: Performances, estimator: Estimator
    ) -> None:
        self._workers = workers
        self._performances = performances
        self._estimator = estimator
        self._ready: Counter[str] = Counter()  # workers that were ready, by backend
        self._next_cancel = -math.inf  # on anyio's clock
        self._paused_until: dict[str, float] = {}  # by backend

    def on_ready(self, worker: PoolWorker) -> None:
        """Count a worker that has become ready, and stop the late one that it replaces."""
        self._ready[worker.backend.name] += 1
        for other in self._workers:
            if other.replaces is worker:
                other.replaces = None
        if worker.replaces is not None and worker.replaces.starting:
            self.give_up(worker.replaces, REPLACED)

    def review(self) -> bool:
        """Find late and overdue starts."""
        late = Counter(
            worker.backend.name
            for worker in tuple(self._workers.starting)
            if _counts_as_late(worker)
        )
        changed = False
        for worker in tuple(self._workers.starting):
            age, limit = worker.age, self._late_after(worker)
            if not worker.late and age > limit:
                name = worker.backend.name
                others = late[name] - _counts_as_late(worker)
                if others >= max(1, self._ready[name]):
                    continue
                late[name] = others + 1
                worker.late = changed = True
                self._workers.refresh(worker)
                logger.info(
                    "task %s has not been ready for %.0f s; most are ready within %.0f s",
                    *(worker.record.task, age, limit),
                )
            if worker.late and not worker.overdue and age > OVERDUE_FACTOR * limit:
                worker.overdue = changed = True
        return changed

    def _late_after(self, worker: PoolWorker) -> float:
        # The seconds double for a worker that replaces another late one: if starts are slower
        # than ever measured, workers must not be replaced until the end of time.
        backend = worker.backend
        if worker.found is not None or backend.eager or not backend.usd_per_second:
            return math.inf
        late_after = self._performances.of_backend(backend).late_after
        return late_after * 2.0**worker.late_starts_before

    def to_replace(self, backend: Backend) -> PoolWorker | None:
        """Return the first late worker of a backend that no other worker replaces, if any."""
        return next((each for each in self._unreplaced() if each.backend is backend), None)

    def overdue(self) -> list[PoolWorker]:
        """Return the overdue workers that no other worker replaces."""
        # Only starts on backends with measured start-ups are overdue: if the assumed time is
        # wrong, all workers would be stopped just before they are ready.
        return [
            worker
            for worker in self._unreplaced()
            if worker.overdue and self._performances.has_measured(worker.backend, "startup")
        ]

    def _unreplaced(self) -> Iterator[PoolWorker]:
        late = tuple(self._workers.late)
        replaced = {worker.replaces for worker in self._workers if worker.usable} if late else ()
        return (worker for worker in late if worker not in replaced)

    def give_up(self, worker: PoolWorker, reason: str) -> None:
        """Stop a late worker, with an error that explains why."""
        usual = self._performances.of_backend(worker.backend).startup_seconds
        error = WorkerNotReadyError(
            f"{worker.record.task} was stopped because it was not ready {worker.age:.0f} s "
            f"after its launch; a usual start takes {usual:.0f} s, and {reason}",
            task=worker.record.task,
        )
        worker.give_up(error)
        self.cancel(worker)

    def end_pauses(self) -> None:
        """End all pauses, because scenes have arrived."""
        self._paused_until.clear()

    def is_paused(self, backend: Backend) -> bool:
        """Return whether a needless start was cancelled a short time ago, and workers are left."""
        paused = anyio.current_time() < self._paused_until.get(backend.name, -math.inf)
        return paused and self._workers.any_expected

    def cancel_needless(self) -> None:
        """Cancel the start-up of workers that are not expected to get a scene."""
        starting = tuple(self._workers.starting)
        if not starting:
            return
        if self._estimator.waiting_scenes or self._workers.overbooked:
            if anyio.current_time() < self._next_cancel:
                return
            self._next_cancel = self._estimator.next_simulation_at()
            starting = tuple(self._estimator.needless_workers())
        for worker in starting:
            self.stop_needless(worker)

    def stop_needless(self, worker: PoolWorker) -> None:
        """Stop a worker that is not needed, and start none on its backend for a while."""
        self._paused_until[worker.backend.name] = anyio.current_time() + PAUSE_AFTER_NEEDLESS_START
        if worker.starting:
            self.cancel(worker)
        else:
            worker.move_to(WorkerState.CLOSING)
            worker.changed.set()
            self._workers.refresh(worker)

    def cancel_on(self, backend: Backend) -> None:
        """Cancel the start-up of all workers of a backend."""
        for worker in tuple(self._workers.starting):
            if worker.backend is backend:
                self.cancel(worker)

    def cancel(self, worker: PoolWorker) -> None:
        """Cancel the start-up of a worker."""
        worker.move_to(WorkerState.STOPPING)
        worker.scope.cancel()
        self._workers.refresh(worker)


def _counts_as_late(worker: PoolWorker) -> bool:
    """Return whether the start of a worker is late, or is in the place of one that was stopped."""
    return worker.late or (worker.late_starts_before > 0 and worker.replaces is None)


class KeptWorkers:
    """Choice of the idle workers that are kept for films and for later runs."""

    def __init__(
        self,
        limits: Limits,
        *,
        workers: WorkerIndex,
        budget: Budget,
        performances: Performances,
    ) -> None:
        self._hour_usd = float(limits.hour_usd)
        self._workers = workers
        self._budget = budget
        self._performances = performances
        self._expected_films = 0
        self._open_runs = 0
        # Time since which no scene waits or has a worker; ``None`` if one does.
        self._idle_since: float | None = None
        self._came_at = 0.0  # when the last scenes came
        self._waited = 0.0  # seconds from then until a worker was ready, if none was
        self._last_pause = 0.0  # seconds without scenes before some came, if none had waited
        self._warm = 0 if limits.idle is not None else 1

    @property
    def expects_scenes(self) -> bool:
        """True while a run may get further scenes."""
        return self._open_runs > 0

    @contextmanager
    def expecting_film(self) -> Generator[None]:
        """Keep the last worker until the ``with`` block ends, because a worker will make a film."""
        self._expected_films += 1
        try:
            yield
        finally:
            self._expected_films -= 1
            self.wake()

    @contextmanager
    def expecting_scenes(self) -> Generator[None]:
        """Keep workers until the ``with`` block ends as long as that is cheaper than new starts."""
        self._open_runs += 1
        if not self._any_busy:
            self._idle_since = anyio.current_time()
        try:
            yield
        finally:
            self._open_runs -= 1
            self.wake()

    @contextmanager
    def keeping_warm(self) -> Generator[None]:
        """Keep one worker warm until the ``with`` block ends, as ``Limits(idle=None)`` does."""
        self._warm += 1
        try:
            yield
        finally:
            self._warm -= 1
            self.wake()

    def wake(self) -> None:
        """Let idle workers find out whether they are still kept."""
        for worker in self._workers:
            worker.changed.set()

    def note_scenes(self) -> None:
        """Note that scenes have come, and for how long there were none before."""
        self._came_at = anyio.current_time()
        if self._idle_since is not None:
            self._last_pause = self._came_at - self._idle_since + self._waited
            self._idle_since, self._waited = None, 0.0

    def note_ready(self, worker: PoolWorker) -> None:
        """Note that a worker has become ready, and how long scenes have waited for it."""
        if not self._any_busy:
            usual = self._performances.of_backend(worker.backend).startup_seconds
            self._waited = min(usual, anyio.current_time() - self._came_at)

    def note_release(self) -> None:
        """Note that a worker is done with a scene."""
        self._idle_since = None if self._any_busy else anyio.current_time()

    @property
    def _any_busy(self) -> bool:
        return any(worker.assignments for worker in self._workers)

    def keeps(self, worker: PoolWorker) -> bool:
        """Return whether an idle worker is kept for further scenes, a film or a later run."""
        if self._is_kept_warm(worker):
            return True
        if self._open_runs:  # a film is far off
            return self._is_kept_for_scenes(worker)
        others = (each for each in self._workers if each is not worker)
        return bool(self._expected_films) and not any(each.usable for each in others)

    def _is_kept_for_scenes(self, worker: PoolWorker) -> bool:
        # As long as it has cost less than a stop and a new start would. If the next pause is
        # expected to be longer, because the last one was, it is stopped at once; a pause is shorter
        # if its scenes have waited for a worker. The wait for a new start is not counted: a source
        # seldom waits for it, so that it delays only the last scene.
        if not worker.backend.usd_per_second:
            return True
        usual = self._performances.of_backend(worker.backend)
        billed = max(0.0, usual.startup_seconds - usual.placement_seconds) + usual.stop_seconds
        idle = anyio.current_time() - worker.last_used
        return max(idle, self._last_pause - self._waited) < billed and self._budget.allows_idle(
            worker
        )

    def _is_kept_warm(self, worker: PoolWorker) -> bool:
        # As long as it has cost less than a new start would, its price and the wait for it, the
        # bill is at most twice that of a client that knows when the next run comes (ski rental).
        rate = float(worker.backend.usd_per_second)
        if not (self._warm and rate) or any(
            other.backend.usd_per_second for other in self._workers.ready if other is not worker
        ):
            return False
        usual = self._performances.of_backend(worker.backend)
        billed = max(0.0, usual.startup_seconds - usual.placement_seconds)
        worth = billed + usual.startup_seconds * self._hour_usd / 3600 / rate
        idle = anyio.current_time() - worker.last_used
        return idle < worth and self._budget.allows_idle(worker)
