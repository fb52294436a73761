"""Idle workers that are kept although no scene is assigned to them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import anyio

from cloudburst.engine.pool_state import PoolWorker
from cloudburst.engine.scheduler.budget import Budget
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.models.limits import Limits


class KeptWorkers:
    """Choice of the idle workers that are kept for held runs, for films, and for later runs.

    Args:
        limits: Limits of the client.
        workers: Workers of the client.
        queue: Queue of the client, with the scenes of held runs.
        budget: Budget, from which the scenes must be paid.
        performances: Expected performance of the workers.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        workers: WorkerIndex,
        queue: FairQueue,
        budget: Budget,
        performances: Performances,
    ) -> None:
        self._hour_usd = float(limits.hour_usd)
        self._workers = workers
        self._queue = queue
        self._budget = budget
        self._performances = performances
        self._expected_films = 0
        self._warm = 0 if limits.idle is not None else 1

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

    def keeps(self, worker: PoolWorker) -> bool:
        """Return whether an idle worker is kept: for a held run, a film, or a later run."""
        if self._is_needed_by_held_run(worker) or self._is_kept_warm(worker):
            return True
        others = (each for each in self._workers if each is not worker)
        return bool(self._expected_films) and not any(each.usable for each in others)

    def _is_kept_warm(self, worker: PoolWorker) -> bool:
        """Return whether a worker is kept for a later run.

        As long as it has cost less than a new start would, its price and the wait for it, the bill
        is at most twice that of a client that knows when the next run comes (ski rental).
        """
        rate = float(worker.backend.usd_per_second)
        if not (self._warm and rate) or any(
            other.backend.usd_per_second for other in self._workers.ready() if other is not worker
        ):
            return False
        usual = self._performances.of_backend(worker.backend)
        billed = max(0.0, usual.startup_seconds - usual.placement_seconds)
        worth = billed + usual.startup_seconds * self._hour_usd / 3600 / rate
        idle = anyio.current_time() - worker.last_used
        return idle < worth and self._budget.allows_idle(worker)

    def _is_needed_by_held_run(self, worker: PoolWorker) -> bool:
        """Return whether a scene of a held run may need an idle worker and can still be paid.

        Workers that were started for the run are kept: the scaling rule would start others in their
        place. Of the other workers, as many are kept as there are scenes.
        """
        queue = self._queue
        if not queue.held_count:
            return False
        if not queue.holds(worker.record.run):
            idle = [each for each in self._workers.ready() if not each.assignments]
            if worker not in idle[: queue.held_count]:
                return False
        return self._budget.allows(worker, queue.shortest_held().audio_seconds)
