"""Assignment of waiting scenes to ready workers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from cloudburst.engine.forecast.scene_work import MIN_SHARED_WORK
from cloudburst.engine.pool_state import Assignment, PoolWorker, Ticket
from cloudburst.engine.scheduler.backend_health import BackendHealth
from cloudburst.engine.scheduler.budget import Budget
from cloudburst.engine.scheduler.encoder_slots import (
    has_room,
    may_take,
    occupied_slots,
    spare_slots,
)
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.engine.scheduler.queue import FairQueue
from cloudburst.engine.scheduler.workers import WorkerIndex

# Seconds that a suspect scene, which must encode alone, waits for a worker without other scenes
# before a worker is reserved for it. The value is a choice: in most runs, a worker becomes empty
# by itself in this time.
SUSPECT_WAIT_SECONDS = 120.0


@dataclass(eq=False, slots=True, repr=False)
class Assigner:
    """Assigner of waiting scenes to the encoder slots of ready workers."""

    workers: WorkerIndex
    queue: FairQueue
    health: BackendHealth
    budget: Budget
    estimator: Estimator
    on_phase_end: Callable[[PoolWorker], None]
    # Scenes may wait for a worker that has them done sooner.
    _can_wait: bool = True
    # Seconds until each worker is empty, in ascending order; ``None``: not known yet.
    _empty_in: list[float] | None = None

    def assign_queue(self) -> None:
        """Assign as many waiting scenes as ready workers can take."""
        self._can_wait = True
        while len(self.queue) and self._assign_next():
            pass
        if len(self.queue) and self.budget.refusal() is not None:
            self._can_wait = False
            while len(self.queue) and self._assign_next():
                pass

    def _assign_next(self) -> bool:
        self._empty_in = None
        if any(self._assign_to(worker, skip=0) for worker in self.workers.with_free_slot()):
            return True
        # Scenes that starting workers can encode at once are not sent ahead to busy ones.
        skip = self.workers.starting_slots
        if len(self.queue) <= skip:
            return False
        only_long = not self.queue.restricted and self.queue.long_scenes == len(self.queue)
        busy = self.workers.free_by(self.estimator.send_ahead_until(), only_long=only_long)
        return any(self._assign_to(worker, skip=skip) for worker in busy)

    def _assign_to(self, worker: PoolWorker, *, skip: int) -> bool:
        wait = self._lets_long_scenes_wait(worker)
        if wait and not self.queue.restricted:
            skip = max(skip, self.queue.long_scenes)  # quicker than to ask for each of them

        def fits(ticket: Ticket) -> bool:
            if wait and ticket.work >= MIN_SHARED_WORK and not ticket.avoided_tasks:
                return False
            return self._may_use(ticket, worker) and self.budget.allows(
                worker, ticket.audio_seconds
            )

        def suspect_fits(ticket: Ticket) -> bool:
            return ticket.suspect and fits(ticket)

        ticket = None
        if self.queue.restricted and not occupied_slots(worker):
            ticket = self.queue.take(suspect_fits)  # first, while the worker is empty
        if ticket is None and not self._is_reserved_for_suspect(worker):
            ticket = self.queue.take(fits, skip=skip)
        if ticket is None:
            return False
        self._assign(ticket, worker)
        return True

    def _lets_long_scenes_wait(self, worker: PoolWorker) -> bool:
        # One long scene at most is sent ahead, because it shares the slots that are free in the
        # meantime.
        # They do if as many workers as scenes that wait will be empty sooner than this one.
        if not occupied_slots(worker) or not worker.backend.shares_encodes:
            return False
        if spare_slots(worker) < 0:
            return True
        waiting = len(self.queue)
        few = self.queue.long_scenes and waiting < len(self.workers.usable)
        if not (few and self._can_wait):
            return False
        if self._empty_in is None:
            workers = self.workers.expected()
            sharing = (each for each in workers if each.backend.shares_encodes)
            self._empty_in = sorted(map(self.estimator.empty_in, sharing))
        return waiting <= bisect_left(self._empty_in, self.estimator.empty_in(worker))

    def _is_reserved_for_suspect(self, worker: PoolWorker) -> bool:
        """Return whether a busy worker gets no scene because a suspect scene waits too long."""
        # The worker with the fewest scenes is reserved: while new scenes keep arriving, no worker
        # would otherwise become empty for a scene that must encode alone.
        if not occupied_slots(worker):
            return False
        before = anyio.current_time() - SUSPECT_WAIT_SECONDS
        for ticket in self.queue.restricted:
            since = ticket.waiting_since
            if ticket.suspect and since is not None and since <= before:
                usable = [
                    each
                    for each in self.workers.ready
                    if each.record.task not in ticket.avoided_tasks
                ]
                least_busy = min(
                    usable, key=lambda each: (occupied_slots(each), each.number), default=None
                )
                if worker is least_busy:
                    return True
        return False

    def _assign(self, ticket: Ticket, worker: PoolWorker) -> None:
        ticket.assignment = self._new_assignment(ticket, worker)
        ticket.notify()

    def _new_assignment(self, ticket: Ticket, worker: PoolWorker) -> Assignment:
        assert worker.connection is not None, "only ready workers have room"
        assignment = Assignment(
            ticket=ticket,
            worker=worker,
            connection=worker.connection,
            on_phase_end=self.on_phase_end,
        )
        worker.assignments.append(assignment)
        self.workers.refresh(worker)
        return assignment

    def unassign(self, assignment: Assignment) -> None:
        """Remove an assignment from its worker and from its scene."""
        assignment.worker.assignments.remove(assignment)
        assignment.ticket.unassign(assignment)
        self.workers.refresh(assignment.worker)

    def _may_use(self, ticket: Ticket, worker: PoolWorker) -> bool:
        # A worker on which the scene has failed is allowed only if there is no other worker and
        # none can be started.
        if not may_take(worker, ticket) or not self.estimator.can_finish(worker, ticket.work):
            return False
        if self._can_wait and not self.estimator.is_in_time(ticket, worker):
            return False
        avoided = ticket.avoided_tasks
        if worker.record.task not in avoided:
            return True
        has_other = any(each.record.task not in avoided for each in self.workers.usable)
        return not has_other and next(self.health.with_room, None) is None

    def move_waiting(self) -> None:
        """Move scenes that wait on a worker for an encoder slot to workers with a free slot."""
        if len(self.queue) or not self.workers.overbooked:
            return
        for free in self.workers.with_free_slot():
            while has_room(free, ahead=False) and (waiting := self._longest_waiting_for(free)):
                self.unassign(waiting)
                self._assign(waiting.ticket, free)
                waiting.scope.cancel()

    def _longest_waiting_for(self, free: PoolWorker) -> Assignment | None:
        estimator = self.estimator
        shares = free.backend.shares_encodes and occupied_slots(free) > 0
        empty_in = estimator.empty_in(free) if shares else 0.0

        def fits(ticket: Ticket) -> bool:
            if free.record.task in ticket.avoided_tasks or not may_take(free, ticket):
                return False
            if shares and ticket.work >= MIN_SHARED_WORK and ticket.assignment is not None:
                worker = ticket.assignment.worker
                if estimator.empty_in(worker, without=ticket) < empty_in:
                    return False  # there, it has all slots
            return estimator.can_finish(free, ticket.work) and estimator.is_in_time(ticket, free)

        return self.workers.longest_waiting(fits)

    def start_copy(self, slow: Assignment, worker: PoolWorker) -> None:
        """Start a speculative copy on a worker if it has room and the budget allows it."""
        ticket = slow.ticket
        takes_one_more = has_room(worker, ahead=False) or has_room(worker, ahead=True)
        if not takes_one_more or not self.budget.allows(worker, ticket.audio_seconds):
            return
        assert ticket.on_copy is not None, "the scene may have a copy"
        start, ticket.on_copy = ticket.on_copy, None
        ticket.copy = self._new_assignment(ticket, worker)
        start(ticket.copy)
