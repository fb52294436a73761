"""Checks that scenes can be finished before the task of their worker ends by itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

from cloudburst.engine.pool_state import Ticket, WorkerState
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex
from cloudburst.errors import ConfigurationError
from cloudburst.models.performance import Performance
from cloudburst.ports.backend import Backend

logger = logging.getLogger(__name__)


def check_lifetimes(
    tickets: Iterable[Ticket], backends: Sequence[Backend], performances: Performances
) -> None:
    """Check that the longest scene can be finished within the lifetime of a task.

    A warning is logged if the scene is expected to take longer.

    Raises:
        ConfigurationError: Measured encode times show that no backend can finish the scene in time,
            even in the best case.
    """
    ticket = max(tickets, key=lambda ticket: ticket.work, default=None)
    limited = [(performances.of_backend(each), each.lifetime) for each in backends if each.lifetime]
    if ticket is None or len(limited) < len(backends):
        return
    performance, lifetime = min(limited, key=lambda pair: _needed(pair[0], ticket.work) - pair[1])
    needed = _needed(performance, ticket.work)
    if needed <= lifetime:
        return
    setting = math.ceil(_needed(performance.worst_case, ticket.work) / 600) * 600
    text = (
        f"scene {ticket.scene} needs about {needed / 60:.0f} minutes of a task, "
        f"and a task ends by itself after {lifetime / 60:.0f}: "
        f"set CLOUDBURST_LIFETIME to {setting} (seconds), or choose a larger tier"
    )
    measured = "encode" in performance.measured
    if measured and _needed(performance.best_case, ticket.work) > lifetime:
        raise ConfigurationError(text)
    logger.warning("%s", text)


def close_expiring(workers: WorkerIndex, queue: FairQueue, estimator: Estimator) -> None:
    """Close workers whose task ends by itself before the shortest waiting scene would be done.

    They finish their encodes and take no new scenes. Other workers are started in their place.
    """
    if not len(queue):
        return
    shortest = queue.shortest().work
    for worker in workers.ready():
        limited = worker.backend.lifetime is not None
        if limited and not estimator.can_finish(worker, shortest):
            worker.move_to(WorkerState.CLOSING)
            worker.changed.set()
            workers.refresh(worker)


def _needed(performance: Performance, work: float) -> float:
    """Return the expected seconds from the upload to the download of a scene."""
    return performance.transfer_seconds + performance.encode_seconds(work)
