"""Speculative execution: the choice of slow scenes to encode again, and of workers for that."""

from __future__ import annotations

from collections.abc import Iterator

import anyio

from cloudburst.engine.pool_state import Assignment, AssignmentState, PoolWorker
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.workers import WorkerIndex

STRAGGLER_FACTOR = 2.0
"""Multiple of the expected time after which an encode counts as a straggler. The value is a choice:
encode times on one kind of worker differ by less (``Performance.encode_range``), and a copy costs a
whole encode."""


def stragglers(
    workers: WorkerIndex, estimator: Estimator
) -> Iterator[tuple[Assignment, PoolWorker]]:
    """Yield encodes that are much slower than expected, each with a free worker for a copy.

    The slowest encode, relative to its expected time, comes first. A worker is chosen only if a
    copy there is expected to finish before the encode that is running. Suspect scenes are left out,
    as are workers whose encode times were not measured or that cannot cancel an encode: the slower
    of the two attempts is cancelled.
    """
    free = [each for each in workers.with_free_slot() if _can_speculate(each, estimator)]
    if not free:
        return
    now = anyio.current_time()
    late = [
        (lateness, assignment)
        for worker in workers.usable()
        for assignment in worker.assignments
        if (lateness := _lateness(assignment, estimator, now)) > STRAGGLER_FACTOR
    ]
    for _, assignment in sorted(late, key=lambda pair: -pair[0]):
        for worker in free:
            if worker is not assignment.worker and _may_win(worker, assignment, estimator, now):
                yield assignment, worker
                break


def _can_speculate(worker: PoolWorker, estimator: Estimator) -> bool:
    return worker.backend.cancels_encodes and estimator.has_measured(worker.backend, "encode")


def _lateness(assignment: Assignment, estimator: Estimator, now: float) -> float:
    """Return the time of an encode so far, divided by its expected time; 0 if it gets no copy."""
    ticket, since = assignment.ticket, assignment.encoding_since
    if assignment.state is not AssignmentState.ENCODING or since is None:
        return 0.0
    expected = estimator.performance(assignment.worker.backend).encode_seconds(ticket.work)
    lateness = (now - since) / max(expected, 0.1)
    if lateness <= STRAGGLER_FACTOR or assignment.is_copy:
        return 0.0
    if ticket.on_copy is None or ticket.suspect or not _can_speculate(assignment.worker, estimator):
        return 0.0
    return lateness


def _may_win(worker: PoolWorker, assignment: Assignment, estimator: Estimator, now: float) -> bool:
    """Return whether a copy that starts now may be done before the running encode."""
    ticket, since = assignment.ticket, assignment.encoding_since
    if worker.record.task in ticket.avoided_tasks or since is None:
        return False
    performance = estimator.performance(worker.backend)
    copy_takes = performance.transfer_seconds + performance.encode_seconds(ticket.work)
    passed, progress = now - since, assignment.progress
    # Extrapolate the progress; without one, expect the encode to take as long again.
    left = passed * (1 - progress) / progress if progress else passed
    return copy_takes < passed and copy_takes < left
