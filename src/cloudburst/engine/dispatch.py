"""Who goes where: every decision, made without awaiting and so never racing another one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

import anyio

from cloudburst.engine.budget import Budget
from cloudburst.engine.figures import Figures
from cloudburst.engine.fleet import Fleet
from cloudburst.engine.outlook import Outlook
from cloudburst.engine.plan import Offer, Plan, usual
from cloudburst.engine.queue import TurnQueue
from cloudburst.engine.slot import Lane, Slot, Stage, Ticket, Visit
from cloudburst.engine.standing import Standing
from cloudburst.engine.starts import Starts
from cloudburst.engine.stragglers import stragglers
from cloudburst.errors import CloudburstError
from cloudburst.models.policy import Limits
from cloudburst.models.task import TaskSpec
from cloudburst.ports import Backend

PATIENCE = 120.0
"""Seconds that a suspect waits for a worker that has nothing to do. A choice: long enough for most
runs to leave one by themselves."""

TICK = 2.0
"""Seconds after which things are looked at again although nothing has happened: an encode may have
become late, or a deadline come near."""


class Dispatcher:
    """Gives scenes to workers, as soon as anything changes.

    When there shall be another worker, for which ``start`` is called, is up to `Starts`. Nothing
    here awaits.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        spec: TaskSpec,
        limits: Limits,
        figures: Figures,
        start: Callable[[Slot], None],
    ) -> None:
        self.queue = TurnQueue()
        self.fleet = Fleet()
        self.budget = Budget(limits.max_usd)
        self.standing = Standing(backends, self.fleet, limits)
        self.outlook = Outlook(backends, self.fleet, self.queue, figures)
        self.starts = Starts(
            spec=spec,
            limits=limits,
            fleet=self.fleet,
            queue=self.queue,
            standing=self.standing,
            budget=self.budget,
            outlook=self.outlook,
            begin=start,
        )
        self.changed = anyio.Event()
        """Set, and replaced, after every decision."""
        self.closed = False
        """No more decisions."""
        self._backends = backends
        self._spec = spec
        self._limits = limits
        self._choosy = True  # scenes may wait for a worker that will be done sooner
        self._ticked = 0.0
        self._runs = 0  # that go on

    def decide(self, changed: Slot | None = None) -> None:
        """Something has changed: about this worker, or else about the queue."""
        if changed is not None:
            changed.grant()
            self.outlook.expect(changed)
            self.fleet.refresh(changed)
        if not self.closed:
            self.budget.begin()
            self.outlook.changed()
            self._place_all()
            self.starts.begin_all()
            self._turn_away_hopeless()
            self._move_waiting()
            self.starts.give_up_needless()
            self._copy_stragglers()
        self.changed.set()
        self.changed = anyio.Event()

    def foresee(self, works: Iterable[float]) -> Plan:
        """What a run of scenes with so much work comes to, if it is alone and nothing is warm."""
        offers = [
            Offer(
                backend=backend.name,
                tier=self._spec.tier,
                pace=self.outlook.pace(backend),
                encoders=backend.encoders,
                most=min(self._limits.workers, backend.capacity or self._limits.workers),
                usd_per_second=backend.usd_per_second,
            )
            for backend in self._backends
        ]
        return usual(works, offers, most=self._limits.workers, deadline=self._limits.deadline)

    def queued(self, *tickets: Ticket) -> None:
        """Scenes wait for a worker."""
        self.queue.put(*tickets)
        self.starts.reconsider()
        self.decide()

    def tick(self) -> None:
        """Time has passed."""
        now = anyio.current_time()
        if now < self._ticked + TICK or not (len(self.queue) or self.fleet.has_room):
            return
        self._ticked = now
        self.starts.reconsider()
        self.decide()

    def _place_all(self) -> None:
        """Give out what the workers can take; nothing waits for one that may not be paid for."""
        self._choosy = True
        while len(self.queue) and self._place_one():
            pass
        if len(self.queue) and self.budget.refusal() is not None:
            self._choosy = False
            while len(self.queue) and self._place_one():
                pass

    def _place_one(self) -> bool:
        """Give a waiting scene to the worker that can do it first."""
        if any(self._place_on(slot, leave=0) for slot in self.fleet.by_load()):
            return True
        leave = self.fleet.encoders_starting
        if len(self.queue) <= leave:
            return False
        # What is to wait is not what a worker that is about to be ready can encode at once.
        soon = self.fleet.busy(until=self.outlook.soon())
        return any(self._place_on(slot, leave=leave) for slot in soon)

    def _place_on(self, slot: Slot, *, leave: int) -> bool:
        def fits(ticket: Ticket) -> bool:
            return self._may_use(ticket, slot) and self._pays(slot, ticket.seconds)

        def comes_first(ticket: Ticket) -> bool:  # the worker may not be empty again for long
            return ticket.suspect and fits(ticket)

        ticket = self.queue.take(comes_first) if self.queue.picky and not slot.busy else None
        if ticket is None and not self._is_emptied(slot):
            ticket = self.queue.take(fits, leave=leave)
        if ticket is None:
            return False
        self._give_lane(ticket, slot)
        return True

    def _is_emptied(self, slot: Slot) -> bool:
        """It gets nothing new, for a suspect has waited long enough for a worker without work.

        Where scenes keep coming, none would be without by itself. It is the one with the least to
        do, so that the one that is chosen has less and less.
        """
        if not slot.busy:
            return False
        before = anyio.current_time() - PATIENCE
        for ticket in self.queue.picky:
            if ticket.suspect and ticket.since is not None and ticket.since <= before:
                fit = [s for s in self.fleet.ready() if s.record.task not in ticket.avoid]
                if slot is min(fit, key=lambda s: (s.busy, s.number), default=None):
                    return True
        return False

    def _give_lane(self, ticket: Ticket, slot: Slot) -> None:
        ticket.lane = self._new_lane(ticket, slot)
        ticket.call()

    def _new_lane(self, ticket: Ticket, slot: Slot) -> Lane:
        assert slot.worker is not None, "only ready workers have room"
        lane = Lane(ticket=ticket, slot=slot, worker=slot.worker, on_change=self.decide)
        slot.lanes.append(lane)
        self.fleet.refresh(slot)
        return lane

    def _may_use(self, ticket: Ticket, slot: Slot) -> bool:
        """A worker on which the scene failed is used again only if there is no other."""
        if not slot.may_take(ticket) or (self._choosy and not self.outlook.fits(ticket, slot)):
            return False
        if slot.record.task not in ticket.avoid:
            return True
        others = any(s.record.task not in ticket.avoid for s in self.fleet.usable())
        return not others and next(self.standing.with_room, None) is None

    def _pays(self, slot: Slot, sound: float) -> bool:
        return self.budget.allows(self.fleet, slot, sound)

    def _turn_away_hopeless(self) -> None:
        """Where nothing is done or about to be, whoever still waits learns why it stays so."""
        if not len(self.queue) or any(slot.lanes or slot.starting for slot in self.fleet):
            return
        if error := self.budget.refusal():
            self.turn_away(error)
        if not len(self.fleet):
            for refused in self.standing.refusals:
                self.turn_away(refused)

    @contextmanager
    def run(self) -> Generator[None]:
        """A run goes on. One that begins while there is no other starts afresh.

        Not sooner: scenes that are between two attempts shall learn as well what was given up.
        """
        if not self._runs:
            self.standing.forget()
        self._runs += 1
        try:
            yield
        finally:
            self._runs -= 1

    def turn_away(self, error: CloudburstError) -> None:
        """All who wait learn that there will be no worker for them, and why."""
        while ticket := self.queue.take(lambda _: True):
            ticket.error = error
            ticket.call()

    def _move_waiting(self) -> None:
        """Bring a scene that waits behind an encode to a worker that has nothing to do."""
        if len(self.queue) or not self.fleet.waits_behind:
            return
        for free in self.fleet.by_load():
            while free.has_room(ahead=False) and (lane := self._longest_wait(free)):
                self._take_off(lane)
                self._give_lane(lane.ticket, free)
                lane.scope.cancel()

    def _longest_wait(self, free: Slot) -> Lane | None:
        def fits(ticket: Ticket) -> bool:
            known = free.record.task in ticket.avoid
            return not known and free.may_take(ticket) and self.outlook.fits(ticket, free)

        return self.fleet.longest_wait(fits)

    def _take_off(self, lane: Lane) -> None:
        lane.slot.lanes.remove(lane)
        lane.ticket.leave(lane)
        self.fleet.refresh(lane.slot)

    def _copy_stragglers(self) -> None:
        """Encode once more, on a worker that is free, what takes much longer than it should."""
        nobody_waits = not (len(self.queue) or self.fleet.waits_behind)
        if not (self._limits.copies and nobody_waits and self.fleet.has_room):
            return
        for lane, free in stragglers(self.fleet, self.outlook):
            ticket = lane.ticket
            if not free.has_room(ahead=False) or not self._pays(free, ticket.seconds):
                continue
            assert ticket.on_copy is not None, "a straggler may have a copy"
            ticket.copy, begin, ticket.on_copy = self._new_lane(ticket, free), ticket.on_copy, None
            begin(ticket.copy)

    def drain(self, slot: Slot) -> None:
        """Others will stop this worker: what does not encode there yet goes back into the queue."""
        slot.draining = True
        for lane in tuple(slot.lanes):
            if lane.stage in {Stage.UPLOADING, Stage.WAITING}:
                again = not lane.is_copy
                self._take_off(lane)
                if again:
                    self.queue.put(lane.ticket)
                lane.scope.cancel()
        self.starts.reconsider()
        self.decide(slot)

    def release(self, lane: Lane) -> None:
        """A scene is through with its worker, or will not use it."""
        if lane in lane.slot.lanes:
            lane.slot.lanes.remove(lane)
        lane.ticket.leave(lane)
        lane.slot.last_used = anyio.current_time()
        lane.slot.changed.set()
        self.decide(lane.slot)

    def answered(self, slot: Slot) -> None:
        """A launch was accepted or given up: others may ask."""
        if self.starts.answered(slot):
            self.decide(slot)

    def started(self, slot: Slot) -> None:
        """A worker is ready."""
        record = slot.record
        self.standing.started(slot.backend)
        if slot.found is not None:  # nobody has seen how long its start took
            self.decide(slot)
            return
        self.budget.ready(record)
        if record.ready is not None and record.launched is not None:
            self.outlook.learn(slot.backend, "start", record.ready - record.launched)
            self.starts.reconsider()
        self.decide(slot)

    def finished(self, visit: Visit, ticket: Ticket, slot: Slot) -> None:
        """A scene has its video."""
        visit.done = True
        self.standing.finished(slot.backend)
        self.budget.done(visit, ticket.seconds)
        encode = visit.seconds("generating")
        moving = visit.seconds("uploading") + visit.seconds("downloading")
        self.outlook.learn(slot.backend, "encode", encode, ticket.work)
        self.outlook.learn(slot.backend, "move", moving, ticket.work)
        self.starts.reconsider()

    def settled(self, slot: Slot) -> None:
        """A worker was seen to have stopped: how long it was billed after its last work."""
        usage, launched = slot.record.usage, slot.record.launched
        if slot.worker is None or slot.record.error:  # it has never worked, or ended in another way
            return
        if usage is None or usage.stopped is None or launched is None:
            return
        # Both clocks are compared at the launch, which both have seen.
        took = launched + (usage.stopped - usage.created) - slot.last_used - self._limits.idle
        self.outlook.learn(slot.backend, "stop", max(0.0, took))

    def failed_to_start(self, slot: Slot, error: CloudburstError) -> None:
        """A worker will never be ready. What is ready there works on, whatever the reason."""
        if self.standing.failed_to_start(slot, error):
            self.starts.give_up_on(slot.backend)

    def ended(self, slot: Slot) -> None:
        """A worker is no more."""
        self.fleet.remove(slot)
        self.budget.closed(slot.record)
        self.starts.reconsider()
        self.answered(slot)
