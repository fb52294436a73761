"""Who goes where: every decision, made without awaiting and so never racing another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import anyio

from cloudburst.engine.budget import Budget
from cloudburst.engine.fleet import Fleet
from cloudburst.engine.queue import TurnQueue
from cloudburst.engine.slot import Lane, Slot, Stage, Ticket, Visit, WorkerRecord
from cloudburst.errors import CloudburstError, Remedy
from cloudburst.models.policy import Limits
from cloudburst.models.task import TaskSpec
from cloudburst.ports import Backend

LAUNCHES = 100
"""Launches that wait for an answer at once: as many as Fargate starts in a burst
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html, 2026-11)."""

AT_ONCE = 10
"""Launches that begin without a pause; each answer lets as many follow. Keys and certificates take
a millisecond each, for which the loop stands still."""

FEWER_FOR = 300.0
"""Seconds for which no more workers are started than an account was seen to allow: by then what
else runs in it may have ended, and a look costs one refused launch."""


class Dispatcher:
    """Gives scenes to workers, and decides when there shall be another worker, or one less.

    ``start`` is called with each new worker that shall be. Nothing here awaits.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        spec: TaskSpec,
        limits: Limits,
        start: Callable[[Slot], None],
    ) -> None:
        self.queue = TurnQueue()
        self.fleet = Fleet()
        self.budget = Budget(limits.max_usd)
        self.changed = anyio.Event()
        """Set, and replaced, after every decision."""
        self.closed = False
        """No more decisions."""
        self._backends = backends
        self._spec = spec
        self._limits = limits
        self._start = start
        self._numbers = count()
        self._asking = 0  # launches that wait for an answer
        self._failures: Counter[str] = Counter()  # starts in a row, by backend
        self._strangers: Counter[str] = Counter()  # refused keys in a row, by backend
        self._refused: dict[str, CloudburstError] = {}  # backends that will start nothing more
        self._most: dict[str, tuple[int, float]] = {}  # workers that one may have, and until when

    def decide(self, changed: Slot | None = None) -> None:
        """Something has changed: about this worker, or else about the queue."""
        if changed is not None:
            changed.grant()
            self.fleet.refresh(changed)
        if not self.closed:
            self.budget.begin()
            while len(self.queue) and self._place_one():
                pass
            self._start_workers()
            self._move_waiting()
            self._cancel_starts()
        self.changed.set()
        self.changed = anyio.Event()

    def _place_one(self) -> bool:
        """Give a waiting scene to the worker that can do it first."""
        # Else those about to be ready will take them.
        surplus = len(self.queue) > self.fleet.encoders_starting
        for ahead in (False, True) if surplus else (False,):
            for slot in self.fleet.by_load(ahead=ahead):
                # What is to wait is not what a worker that is about to be ready can encode at once.
                leave = self.fleet.encoders_starting if ahead else 0
                if self._place_on(slot, leave=leave):
                    return True
        return False

    def _place_on(self, slot: Slot, *, leave: int) -> bool:
        ticket = self.queue.take(
            lambda ticket: self._may_use(ticket, slot) and self._pays(slot, ticket.seconds),
            leave=leave,
        )
        if ticket is None:
            return False
        self._give_lane(ticket, slot)
        return True

    def _give_lane(self, ticket: Ticket, slot: Slot) -> None:
        assert slot.worker is not None, "only ready workers have room"
        ticket.lane = Lane(ticket=ticket, slot=slot, worker=slot.worker, on_change=self.decide)
        slot.lanes.append(ticket.lane)
        self.fleet.refresh(slot)
        ticket.call()

    def _may_use(self, ticket: Ticket, slot: Slot) -> bool:
        """A worker on which the scene failed is used again only if there is no other."""
        if slot.record.task not in ticket.avoid:
            return True
        others = any(
            not (s.retired or s.draining) and s.record.task not in ticket.avoid for s in self.fleet
        )
        return not others and self._next_backend() is None

    def _pays(self, slot: Slot, sound: float) -> bool:
        return self.budget.allows(self.fleet, slot, sound)

    def _start_workers(self) -> None:
        most = min(LAUNCHES, self._asking + AT_ONCE)
        while len(self.queue) > self.fleet.encoders_starting and self._asking < most:
            backend = self._next_backend()
            if backend is None:
                break
            slot = self._new_slot(backend)
            if not self._pays(slot, slot.expected):
                break
            self.fleet.add(slot)
            self._asking += 1
            self._start(slot)
        if len(self.queue) and not any(slot.lanes or slot.starting for slot in self.fleet):
            self._give_up()

    def _new_slot(self, backend: Backend) -> Slot:
        first = self.queue.first()
        return Slot(
            backend=backend,
            number=next(self._numbers),
            spec=replace(self._spec, run=first.run, scene=first.scene, language=first.language),
            record=WorkerRecord(backend=backend.name, run=first.run),
            most_lanes=self._limits.lanes or 3 * backend.encoders,
            expected=first.seconds,
        )

    def _next_backend(self) -> Backend | None:
        """The first backend that has room for one more task."""
        if self.fleet.alive() >= self._limits.workers:
            return None
        for backend in self._backends:
            has_room = backend.capacity is None or self.fleet.alive(backend) < backend.capacity
            if has_room and backend.name not in self._refused and self._allowed(backend):
                return backend
        return None

    def _allowed(self, backend: Backend) -> bool:
        """Whether the account may have one more, as far as it was seen to."""
        most, until = self._most.get(backend.name, (0, 0.0))
        return anyio.current_time() >= until or self.fleet.alive(backend) < most

    def with_task(self, backend: Backend) -> int:
        """Workers of a backend whose task was accepted."""
        return sum(slot.backend is backend and bool(slot.record.task) for slot in self.fleet)

    def _give_up(self) -> None:
        """Nothing is done or about to be: whoever still waits learns why it stays so."""
        if error := self.budget.refusal():
            self.turn_away(error)
        if not len(self.fleet):  # the next call starts afresh
            for refused in self._refused.values():
                self.turn_away(refused)
            self._refused.clear()
            self._failures.clear()
            self._strangers.clear()

    def turn_away(self, error: CloudburstError) -> None:
        """All who wait learn that there will be no worker for them, and why."""
        while ticket := self.queue.take(lambda _: True):
            ticket.error = error
            ticket.call()

    def _move_waiting(self) -> None:
        """Bring a scene that waits behind an encode to a worker that has nothing to do."""
        if len(self.queue) or not self.fleet.waits_behind:
            return
        for free in self.fleet.by_load(ahead=False):
            while free.has_room(ahead=False) and (lane := self.fleet.longest_wait(free)):
                self._take_off(lane)
                self._give_lane(lane.ticket, free)
                lane.scope.cancel()

    def _take_off(self, lane: Lane) -> None:
        lane.slot.lanes.remove(lane)
        lane.ticket.lane = None
        self.fleet.refresh(lane.slot)

    def drain(self, slot: Slot) -> None:
        """Others will stop this worker: what does not encode there yet goes back into the queue."""
        slot.draining = True
        for lane in tuple(slot.lanes):
            if lane.stage in {Stage.UPLOADING, Stage.WAITING}:
                self._take_off(lane)
                self.queue.put(lane.ticket)
                lane.scope.cancel()
        self.decide(slot)

    def _cancel_starts(self) -> None:
        """A worker that is not ready yet, and that no scene waits for any more, is given up."""
        if self._limits.idle or len(self.queue) or self.fleet.waits_behind:
            return
        for slot in self.fleet.starting():
            self._cancel_start(slot)

    def _cancel_start(self, slot: Slot) -> None:
        slot.retired = True
        slot.scope.cancel()
        self.fleet.refresh(slot)

    def release(self, lane: Lane) -> None:
        """A scene is through with its worker, or will not use it."""
        if lane in lane.slot.lanes:
            lane.slot.lanes.remove(lane)
        if lane.ticket.lane is lane:
            lane.ticket.lane = None
        lane.slot.last_used = anyio.current_time()
        lane.slot.changed.set()
        self.decide(lane.slot)

    def answered(self, slot: Slot) -> None:
        """A launch was accepted or given up: others may ask."""
        if slot.asking:
            slot.asking = False
            self._asking -= 1
            self.decide(slot)

    def started(self, slot: Slot) -> None:
        """A worker is ready."""
        self._failures.pop(slot.backend.name, None)
        self.budget.ready(slot.record)
        self.decide(slot)

    def finished(self, visit: Visit, ticket: Ticket, slot: Slot) -> None:
        """A scene has its video."""
        visit.done = True
        self._strangers.pop(slot.backend.name, None)
        self.budget.done(visit, ticket.seconds)

    def key_refused(self, slot: Slot, error: CloudburstError) -> None:
        """A worker wants another key; when all of them do, its backend is given up."""
        self._strangers[slot.backend.name] += 1
        if self._strangers[slot.backend.name] >= self._limits.attempts:
            self._refused[slot.backend.name] = error

    def failed_to_start(self, slot: Slot, error: CloudburstError) -> None:
        """A worker will never be ready; after a few in a row its backend is given up.

        It is at once where no other start can go better. What is ready there works on.
        """
        name, there = slot.backend.name, self.with_task(slot.backend)
        if error.remedy is Remedy.FEWER and there:
            self._most[name] = there, anyio.current_time() + FEWER_FOR
            return
        self._failures[name] += 1
        if not error.retryable or self._failures[name] >= self._limits.attempts:
            self._refused[name] = error
        if not error.retryable:
            for other in self.fleet.starting():
                if other.backend is slot.backend:
                    self._cancel_start(other)

    def ended(self, slot: Slot) -> None:
        """A worker is no more."""
        self.fleet.remove(slot)
        self.budget.closed(slot.record)
        self.answered(slot)
