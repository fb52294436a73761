"""Needless starts: workers that start and are not expected to get a scene."""

from __future__ import annotations

import math

import anyio

from cloudburst.engine.pool_state import PoolWorker, WorkerState
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.ports.backend import Backend

PAUSE_AFTER_NEEDLESS_START = 60.0
"""Seconds for which no worker is started on a backend after the start of a needless one was
cancelled, unless scenes arrive. A task is billed for at least a minute, so what is needed a moment
after it was needless must not cost more than one task a minute."""


class NeedlessStarts:
    """Cancellation of needless starts, after each of which starts on its backend are paused.

    Args:
        workers: Workers of the client.
        estimator: Estimator of the makespan.
    """

    def __init__(self, workers: WorkerIndex, estimator: Estimator) -> None:
        self._workers = workers
        self._estimator = estimator
        self._next_cancel = -math.inf  # on anyio's clock
        self._paused_until: dict[str, float] = {}  # by backend

    def resume(self) -> None:
        """End all pauses, because scenes have arrived."""
        self._paused_until.clear()

    def is_paused(self, backend: Backend) -> bool:
        """Return whether a needless start was cancelled a short time ago, and workers are left."""
        paused = anyio.current_time() < self._paused_until.get(backend.name, -math.inf)
        return paused and bool(self._workers.expected())

    def cancel(self) -> None:
        """Cancel the start-up of workers that are not expected to get a scene.

        While scenes wait, this is decided by a simulation: see `Estimator.next_simulation_at`.
        """
        starting = self._workers.starting()
        if not starting:
            return
        if self._estimator.waiting_scenes or self._workers.has_waiting_assignments:
            if anyio.current_time() < self._next_cancel:
                return
            self._next_cancel = self._estimator.next_simulation_at()
            starting = tuple(self._estimator.needless_workers())
        for worker in starting:
            self.stop(worker)

    def stop(self, worker: PoolWorker) -> None:
        """Stop a worker that is not needed, and start none on its backend for a while."""
        self._paused_until[worker.backend.name] = anyio.current_time() + PAUSE_AFTER_NEEDLESS_START
        if worker.starting:
            cancel_start(worker, self._workers)
        else:
            worker.move_to(WorkerState.CLOSING)
            worker.changed.set()
            self._workers.refresh(worker)


def cancel_start(worker: PoolWorker, workers: WorkerIndex) -> None:
    """Cancel the start-up of a worker."""
    worker.move_to(WorkerState.STOPPING)
    worker.scope.cancel()
    workers.refresh(worker)
