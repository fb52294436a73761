"""Index of a client's workers by their state and their room for scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from cloudburst.engine.pool_state import Assignment, PoolWorker, Ticket, WorkerState
from cloudburst.engine.scheduler.encoder_slots import has_room, next_slot_free_at, spare_slots
from cloudburst.ports.backend import Backend


class WorkerIndex:
    """Index of a client's workers by their state and their room for scenes.

    `refresh` must be called after every change of a worker.
    """

    def __init__(self) -> None:
        self._workers: dict[PoolWorker, None] = {}
        self.free: dict[PoolWorker, None] = {}
        self._with_room_ahead: dict[PoolWorker, None] = {}
        self.overbooked: dict[PoolWorker, None] = {}
        self.starting: dict[PoolWorker, None] = {}
        self.starting_on_time: dict[PoolWorker, None] = {}
        self.late: dict[PoolWorker, None] = {}
        self.usable: dict[PoolWorker, None] = {}
        self.ready: dict[PoolWorker, None] = {}
        self._counted: dict[PoolWorker, None] = {}
        self.count_by_backend: Counter[str] = Counter()
        """Number of workers of each backend, except those whose stop was announced."""
        self._count_by_billing: Counter[bool] = Counter()
        self.starting_slots = 0
        """Number of encoder slots of all workers that are starting and not late."""
        self.ready_slots = 0
        """Number of encoder slots of all workers that are ready and take scenes."""

    def __len__(self) -> int:
        return len(self._workers)

    def __contains__(self, worker: PoolWorker) -> bool:
        return worker in self._workers

    def __iter__(self) -> Iterator[PoolWorker]:
        return iter(tuple(self._workers))

    def add(self, worker: PoolWorker) -> None:
        """Add a new worker."""
        self._workers[worker] = None
        self.refresh(worker)

    def remove(self, worker: PoolWorker) -> None:
        """Remove a worker that has ended."""
        del self._workers[worker]
        self.refresh(worker)

    def refresh(self, worker: PoolWorker) -> None:
        """Update the index after a change of a worker."""
        known, slots = worker in self._workers, worker.backend.encoder_slots
        _update(self.free, worker, known and has_room(worker, ahead=False))
        _update(self._with_room_ahead, worker, known and has_room(worker, ahead=True))
        overbooked = known and not worker.stopping and spare_slots(worker) < 0
        _update(self.overbooked, worker, overbooked)
        starting = known and worker.starting
        _update(self.starting, worker, starting)
        _update(self.late, worker, starting and worker.late)
        on_time = starting and not worker.late
        self.starting_slots += slots * _update(self.starting_on_time, worker, on_time)
        _update(self.usable, worker, known and worker.usable)
        ready = known and worker.state is WorkerState.READY
        self.ready_slots += slots * _update(self.ready, worker, ready)
        change = _update(self._counted, worker, known and not worker.stop_announced)
        self.count_by_backend[worker.backend.name] += change
        self._count_by_billing[bool(worker.backend.usd_per_second)] += change

    def count_billed_like(self, backend: Backend) -> int:
        """Return the number of billed workers, or of workers that cost nothing, on all backends."""
        return self._count_by_billing[bool(backend.usd_per_second)]

    def expected(self) -> tuple[PoolWorker, ...]:
        """Return the workers that take scenes, or will soon: all usable ones that are not late."""
        return tuple(worker for worker in self.usable if worker not in self.late)

    @property
    def any_expected(self) -> bool:
        """True if any worker takes scenes, or is expected to soon."""
        return len(self.usable) > len(self.late)

    def with_free_slot(self) -> list[PoolWorker]:
        """Return the workers that can encode a scene at once, those with most free slots first."""
        return sorted(
            self.free,
            key=lambda worker: (-spare_slots(worker), len(worker.assignments), worker.number),
        )

    def free_by(self, time: float, *, only_long: bool = False) -> list[PoolWorker]:
        """Return busy workers on which one more scene may wait for an encoder slot."""
        soon = [
            (free_at, worker)
            for worker in self._with_room_ahead
            if not (only_long and worker in self.overbooked and worker.backend.shares_encodes)
            and (free_at := next_slot_free_at(worker)) <= time
        ]
        soon.sort(key=lambda pair: (-spare_slots(pair[1]), pair[0], pair[1].number))
        return [worker for _, worker in soon]

    def has_unanswered_launch(self, run: str) -> bool:
        """Return whether the launch of a worker for the run was not answered yet."""
        return any(not worker.record.task and worker.record.run == run for worker in self._workers)

    def longest_waiting(self, fits: Callable[[Ticket], bool]) -> Assignment | None:
        """Return the assignment of the longest scene that waits for a slot; no copies."""
        waiting = [
            assignment
            for worker in self.overbooked
            for assignment in worker.assignments
            if assignment.waits_for_slot and not assignment.is_copy and fits(assignment.ticket)
        ]
        return max(waiting, key=lambda each: each.ticket.work, default=None)


def _update(workers: dict[PoolWorker, None], worker: PoolWorker, belongs: bool) -> int:
    if belongs == (worker in workers):
        return 0
    if belongs:
        workers[worker] = None
        return 1
    del workers[worker]
    return -1
