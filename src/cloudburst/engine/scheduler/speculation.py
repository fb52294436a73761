"""Speculative execution: which slow encodes are worth a second attempt, and on which worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import anyio

from cloudburst.engine.pool_state import Assignment, AssignmentState, PoolWorker
from cloudburst.engine.scheduler.encoder_slots import next_slot_free_at, spare_slots
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex

# Factor by which the encode of a copy is assumed to take longer than expected, at least. If the
# range of encode times was measured, its upper end counts.
MIN_COPY_MARGIN = 1.1
# Seconds between two reviews of slow encodes.
REVIEW_SECONDS = 1.0
# Largest number of slow encodes of which a review forecasts the effect of a copy.
MAX_COPIES_REVIEWED = 6


@dataclass(eq=False, slots=True, repr=False)
class Speculation:
    """Choice of slow encodes that are encoded a second time.

    A copy is planned if the encode would end later than a fresh attempt on another worker, even if
    that one is slow, and if the run is better off: a copy is judged like a task, by the bill and
    the value of the waiting time.
    """

    workers: WorkerIndex
    queue: FairQueue
    performances: Performances
    estimator: Estimator
    badness: Callable[[], tuple[float, float]]
    start_copy: Callable[[Assignment, PoolWorker], None]
    # Workers with an encode that may need a copy.
    slow: dict[PoolWorker, None] = field(default_factory=dict[PoolWorker, None])
    _reviewed_at: float = 0.0

    def note(self, worker: PoolWorker) -> None:
        """Note whether a worker whose expected times have changed has a slow encode."""
        if any(True for _ in self._candidates_on(worker)):
            self.slow[worker] = None
        else:
            self.slow.pop(worker, None)

    def forget(self, worker: PoolWorker) -> None:
        """Forget a worker that has ended."""
        self.slow.pop(worker, None)

    def review(self) -> None:
        """Decide of which slow encodes copies are planned."""
        now, estimator = anyio.current_time(), self.estimator
        if not self.slow or now < self._reviewed_at + REVIEW_SECONDS:
            estimator.plan_copies([each for each in estimator.copies if self._may_copy(each)])
            return
        self._reviewed_at = now
        ends = {each: end for worker in self.slow for each, end in self._candidates_on(worker)}
        candidates = list(islice(sorted(ends, key=lambda each: -ends[each]), MAX_COPIES_REVIEWED))
        estimator.plan_copies(())
        best, planned = self.badness() if candidates else (0.0, 0.0), list[Assignment]()
        for count in range(1, len(candidates) + 1):
            estimator.plan_copies(candidates[:count])
            badness = self.badness()
            if badness < best:
                best, planned = badness, candidates[:count]
        estimator.plan_copies(planned)

    def _candidates_on(self, worker: PoolWorker) -> Iterator[tuple[Assignment, float]]:
        if not worker.usable:
            return
        for assignment in worker.assignments:
            if self._may_copy(assignment):
                end = self.performances.encode_end(assignment)
                if end > anyio.current_time() + self._copy_seconds(assignment, worker, slowness=1):
                    yield assignment, end

    def _may_copy(self, assignment: Assignment) -> bool:
        # The slower of the two attempts is cancelled, so the worker must be able to cancel an
        # encode.
        ticket, backend = assignment.ticket, assignment.worker.backend
        if assignment.state is not AssignmentState.ENCODING or assignment.is_copy:
            return False
        if ticket.on_copy is None or ticket.suspect or not assignment.worker.usable:
            return False
        return backend.cancels_encodes and self.performances.has_measured(backend, "encode")

    def _copy_seconds(
        self, assignment: Assignment, worker: PoolWorker, *, slowness: float
    ) -> float:
        """Return the seconds that a copy on a worker takes if it is slower than expected."""
        performance = self.performances.of_backend(worker.backend)
        margin = max(performance.encode_range[1], MIN_COPY_MARGIN)
        encode = slowness * performance.encode_seconds(assignment.ticket.work)
        return performance.transfer_seconds + margin * encode

    def start_copies(self) -> None:
        """Start the planned copies of scenes that are longer than all waiting ones."""
        if not (copies := tuple(self.estimator.copies)):
            return
        (longest,) = self.queue.longest_works(1) or (0.0,)
        for slow in copies:
            free = self._worker_for(slow) if slow.ticket.work >= longest else None
            if free is not None:
                self.start_copy(slow, free)
        self.estimator.plan_copies(slow for slow in copies if slow.ticket.copy is None)

    def _worker_for(self, assignment: Assignment) -> PoolWorker | None:
        # It has a free encoder slot, or will have one soon, so that the copy is sent ahead.
        ticket, now = assignment.ticket, anyio.current_time()
        left = self.performances.encode_end(assignment) - now
        free = self.workers.with_free_slot()
        for worker in (*free, *self.workers.free_by(self.estimator.send_ahead_until())):
            if worker is assignment.worker or worker.record.task in ticket.avoided_tasks:
                continue
            backend = worker.backend
            if not (backend.cancels_encodes and self.performances.has_measured(backend, "encode")):
                continue
            wait = 0.0 if spare_slots(worker) > 0 else next_slot_free_at(worker) - now
            takes = self._copy_seconds(assignment, worker, slowness=worker.slowness)
            if wait + takes < left and self.estimator.can_finish(worker, ticket.work):
                return worker
        return None
