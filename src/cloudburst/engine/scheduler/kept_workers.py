"""Idle workers that are kept although no scene is assigned to them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from cloudburst.engine.pool_state import PoolWorker
from cloudburst.engine.scheduler.budget import Budget
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex


class KeptWorkers:
    """Choice of the idle workers that are kept for scenes of held runs, and for films.

    Args:
        workers: Workers of the client.
        queue: Queue of the client, with the scenes of held runs.
        budget: Budget, from which the scenes must be paid.
    """

    def __init__(self, workers: WorkerIndex, queue: FairQueue, budget: Budget) -> None:
        self._workers = workers
        self._queue = queue
        self._budget = budget
        self._expected_films = 0

    @contextmanager
    def expecting_film(self) -> Generator[None]:
        """Keep the last worker until the ``with`` block ends, because a worker will make a film."""
        self._expected_films += 1
        try:
            yield
        finally:
            self._expected_films -= 1
            self.wake()

    def wake(self) -> None:
        """Let idle workers find out whether they are still kept."""
        for worker in self._workers:
            worker.changed.set()

    def keeps(self, worker: PoolWorker) -> bool:
        """Return whether an idle worker is kept: for a held run, or as the last one for a film."""
        if self._is_needed_by_held_run(worker):
            return True
        others = (each for each in self._workers if each is not worker)
        return bool(self._expected_films) and not any(each.usable for each in others)

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
