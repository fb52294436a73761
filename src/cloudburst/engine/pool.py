"""Workers shared by all scenes of one client, and the decisions who goes where."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.budget import Budget
from cloudburst.engine.fleet import Fleet
from cloudburst.engine.queue import TurnQueue
from cloudburst.engine.slot import Lane, MovedError, Slot, Stage, Ticket, Visit, WorkerRecord
from cloudburst.engine.worker import Worker, open_worker, until_stopped
from cloudburst.errors import (
    BusyError,
    ClosedError,
    CloudburstError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.events import WorkerFailed, WorkerLaunched, WorkerReady, WorkerStopped
from cloudburst.models.policy import Backoff, Limits, Timeouts
from cloudburst.models.task import TaskId, TaskSpec
from cloudburst.ports import Backend

WATCH = 2.0
"""Seconds between two looks at whether a worker in use still lives."""

LAUNCHES = 100
"""Launches that wait for an answer at once: as many as Fargate starts in a burst
(https://docs.aws.amazon.com/AmazonECS/latest/developerguide/throttling.html, 2026-11)."""

Observer: TypeAlias = Callable[[WorkerRecord, type[Any], Mapping[str, Any]], None]
"""Called with a worker, the class of an event and its facts."""


class WorkerPool:
    """One queue over one or more backends. ``Limits.workers`` bounds the tasks alive at once.

    All decisions are made in `_decide`, which never awaits and so never races; it runs whenever
    anything has changed.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        backends: Sequence[Backend],
        *,
        spec: TaskSpec,
        timeouts: Timeouts,
        limits: Limits,
        backoff: Backoff,
    ) -> None:
        self._tasks = tasks
        self._backends = backends
        self._spec = spec
        self._timeouts = timeouts
        self._limits = limits
        self._backoff = backoff
        self._queue = TurnQueue()
        self._fleet = Fleet()
        self._numbers = count()
        self._asking = 0  # launches that wait for an answer
        self._budget = Budget(limits.max_usd)
        self._unsettled: dict[WorkerRecord, None] = {}
        self._failures: Counter[str] = Counter()  # starts in a row, by backend
        self._refused: dict[str, CloudburstError] = {}  # backends that will start nothing more
        self._closed = False
        self._observers: list[Observer] = []
        self._changed = anyio.Event()  # set, and replaced, after every decision

    @contextmanager
    def observed(self, observer: Observer) -> Generator[None]:
        """Tell of what happens to workers, beginning with those that are ready already."""
        for slot in self._fleet:
            if slot.worker is not None and not slot.retired:
                observer(slot.record, WorkerReady, _facts(slot.record))
        self._observers.append(observer)
        try:
            yield
        finally:
            self._observers.remove(observer)

    async def drained(self, run: str) -> None:
        """Wait until every worker that nobody will use is stopped; those kept warm stay."""

        def ending(slot: Slot) -> bool:
            unused = not slot.lanes and slot.record.run == run and not self._limits.idle
            return slot.retired or unused

        while any(map(ending, self._fleet)):
            await self._changed.wait()

    async def settled(self, run: str | None = None) -> None:
        """Wait until every task that was given back is seen to have stopped, for a while."""
        with anyio.move_on_after(self._timeouts.settle):
            while any(run in {None, record.run} for record in self._unsettled):
                await self._changed.wait()

    @contextmanager
    def room_for(self, tickets: Sequence[Ticket]) -> Generator[Callable[[], None]]:
        """What queues a run's scenes, all at once, so that the longest of them comes first.

        When the block is left they are in the queue no more. Raises `BusyError` when they are more
        than may wait.
        """
        waiting, most = len(self._queue), self._limits.waiting
        if most is not None and waiting + len(tickets) > most:
            msg = f"{waiting} scenes wait; {len(tickets)} more would pass Limits.waiting={most}"
            raise BusyError(msg)

        def queue() -> None:
            self._queue.put(*tickets)
            self._decide()

        try:
            yield queue
        finally:
            for ticket in tickets:
                self._queue.remove(ticket)
                if ticket.lane is not None:  # reserved, and never used
                    self._release(ticket.lane)
            self._decide()

    @asynccontextmanager
    async def lease(self, ticket: Ticket) -> AsyncGenerator[Lane]:
        """A lane on a ready worker, launched if need be. Raises when none can be had.

        `MovedError` means that the scene shall lease again: it is wanted elsewhere.
        """
        lane: Lane | None = None
        try:
            lane = await self._lane_for(ticket)
            with lane.scope:
                yield lane
            if lane.scope.cancelled_caught:
                raise lane.slot.record.error or MovedError
        except WorkerError as exc:
            if lane is None or lane.slot.record.error is exc:
                raise
            lane.slot.retired = True  # no new scenes while we ask why
            self._fleet.refresh(lane.slot)
            error = await lane.worker.explain(exc, within=self._timeouts.call)
            lane.slot.lose(error)
            raise error from exc
        finally:
            if lane is not None:
                if lane.worker.renderer.abandoned:
                    msg = "it still encodes a scene that nobody waits for"
                    lane.slot.lose(WorkerStoppedError(msg, task=lane.worker.task))
                self._release(lane)

    async def _lane_for(self, ticket: Ticket) -> Lane:
        if self._closed:
            raise ClosedError("the client was left")
        if not (ticket.waiting or ticket.lane or ticket.error):  # an attempt used up its lane
            self._queue.put(ticket)
            self._decide()
        if ticket.waiting:
            ticket.called = anyio.Event()
            await ticket.called.wait()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.lane is not None, "called with an error or a lane"
        return ticket.lane

    def finished(self, visit: Visit, ticket: Ticket) -> None:
        """A scene has its video."""
        visit.done = True
        self._budget.done(visit, ticket.seconds)

    def _release(self, lane: Lane) -> None:
        if lane in lane.slot.lanes:
            lane.slot.lanes.remove(lane)
        if lane.ticket.lane is lane:
            lane.ticket.lane = None
        lane.slot.last_used = anyio.current_time()
        lane.slot.changed.set()
        self._decide(lane.slot)

    def close(self) -> None:
        """Turn away who waits and take the workers from who has one."""
        self._closed = True
        self._turn_away(ClosedError("the client was left"))
        for slot in self._fleet:
            if slot.lanes:
                slot.lose(ClosedError("the client was left"))
            elif slot.worker is None:
                slot.scope.cancel()
            else:
                slot.retired = True
                slot.changed.set()

    async def given_back(self) -> None:
        """Close, and wait until every task is stopped and, for a while, seen to have stopped."""
        self.close()
        while len(self._fleet):
            await self._changed.wait()
        await self.settled()

    # Decisions: nothing below this line awaits, up to the next one.

    def _decide(self, changed: Slot | None = None) -> None:
        if changed is not None:
            changed.grant()
            self._fleet.refresh(changed)
        if not self._closed:
            self._budget.begin()
            while len(self._queue) and self._place_one():
                pass
            self._start_workers()
            self._move_waiting()
            self._cancel_starts()
        self._changed.set()
        self._changed = anyio.Event()

    def _place_one(self) -> bool:
        """Give a waiting scene to the worker that can do it first."""
        # Else those about to be ready will take them.
        surplus = len(self._queue) > self._fleet.encoders_starting
        for ahead in (False, True) if surplus else (False,):
            for slot in self._fleet.by_load(ahead=ahead):
                if self._place_on(slot):
                    return True
        return False

    def _place_on(self, slot: Slot) -> bool:
        ticket = self._queue.take(
            lambda ticket: self._may_use(ticket, slot) and self._pays(slot, ticket.seconds)
        )
        if ticket is None:
            return False
        self._give_lane(ticket, slot)
        return True

    def _give_lane(self, ticket: Ticket, slot: Slot) -> None:
        assert slot.worker is not None, "only ready workers have room"
        ticket.lane = Lane(ticket=ticket, slot=slot, worker=slot.worker, on_change=self._decide)
        slot.lanes.append(ticket.lane)
        self._fleet.refresh(slot)
        ticket.call()

    def _may_use(self, ticket: Ticket, slot: Slot) -> bool:
        """A worker on which the scene failed is used again only if there is no other."""
        if slot.record.task not in ticket.avoid:
            return True
        others = any(
            not (s.retired or s.draining) and s.record.task not in ticket.avoid for s in self._fleet
        )
        return not others and self._next_backend() is None

    def _pays(self, slot: Slot, sound: float) -> bool:
        return self._budget.allows(self._fleet, slot, sound)

    def _start_workers(self) -> None:
        while len(self._queue) > self._fleet.encoders_starting and self._asking < LAUNCHES:
            backend = self._next_backend()
            if backend is None:
                break
            slot = self._new_slot(backend)
            if not self._pays(slot, slot.expected):
                break
            self._fleet.add(slot)
            self._asking += 1
            self._tasks.start_soon(self._keep, slot, name=f"cloudburst {backend.name} worker")
        if len(self._queue) and not any(slot.lanes or slot.starting for slot in self._fleet):
            self._give_up()

    def _new_slot(self, backend: Backend) -> Slot:
        first = self._queue.first()
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
        if self._fleet.alive() >= self._limits.workers:
            return None
        for backend in self._backends:
            has_room = backend.capacity is None or self._fleet.alive(backend) < backend.capacity
            if has_room and backend.name not in self._refused:
                return backend
        return None

    def _give_up(self) -> None:
        """Nothing is done or about to be: whoever still waits learns why it stays so."""
        if error := self._budget.refusal():
            self._turn_away(error)
        if not len(self._fleet):  # the next call starts afresh
            for refused in self._refused.values():
                self._turn_away(refused)
            self._refused.clear()
            self._failures.clear()

    def _turn_away(self, error: CloudburstError) -> None:
        while ticket := self._queue.take(lambda _: True):
            ticket.error = error
            ticket.call()

    def _move_waiting(self) -> None:
        """Bring a scene that waits behind an encode to a worker that has nothing to do."""
        if len(self._queue) or not self._fleet.waits_behind:
            return
        for free in self._fleet.by_load(ahead=False):
            while free.has_room(ahead=False) and (lane := self._fleet.longest_wait(free)):
                self._take_off(lane)
                self._give_lane(lane.ticket, free)
                lane.scope.cancel()

    def _take_off(self, lane: Lane) -> None:
        lane.slot.lanes.remove(lane)
        lane.ticket.lane = None
        self._fleet.refresh(lane.slot)

    def _drain(self, slot: Slot) -> None:
        """Others will stop this worker: what does not encode yet there goes back in the queue."""
        slot.draining = True
        for lane in tuple(slot.lanes):
            if lane.stage in {Stage.UPLOADING, Stage.WAITING}:
                self._take_off(lane)
                self._queue.put(lane.ticket)
                lane.scope.cancel()
        self._decide(slot)

    def _cancel_starts(self) -> None:
        """A worker that is not ready yet, and that no scene waits for any more, is given up."""
        if self._limits.idle or len(self._queue) or self._fleet.waits_behind:
            return
        for slot in self._fleet.starting():
            slot.retired = True
            slot.scope.cancel()
            self._fleet.refresh(slot)

    # The life of a slot.

    async def _keep(self, slot: Slot) -> None:
        """See one slot through, from launch to stop, whatever happens."""
        record = slot.record
        try:
            with slot.scope:
                await self._open_and_tend(slot)
        except CloudburstError as exc:
            slot.lose(exc)
            if record.ready is None:
                self._count_failure(slot.backend.name, exc)
        finally:
            self._fleet.remove(slot)
            self._answered(slot)
            self._budget.closed(record)
            record.stopped = anyio.current_time()
            if (error := record.error) is not None:
                self._tell(WorkerFailed, record, kind=type(error).__name__, message=str(error))
            if record.task:
                self._unsettled[record] = None
                self._tell(WorkerStopped, record, reason=str(error or "done"))
            self._decide()
        await self._settle(slot)

    async def _settle(self, slot: Slot) -> None:
        """Watch a task that was given back until it is seen to have stopped."""
        record = slot.record
        if not record.task:
            return
        try:
            with anyio.move_on_after(self._timeouts.settle):
                await until_stopped(slot.backend, TaskId(record.task), self._backoff, record.saw)
        finally:
            del self._unsettled[record]
            self._decide()

    def _answered(self, slot: Slot) -> None:
        """A launch was accepted or given up: others may ask."""
        if slot.asking:
            slot.asking = False
            self._asking -= 1
            self._decide(slot)

    async def _open_and_tend(self, slot: Slot) -> None:
        record = slot.record

        def on_launch(task: TaskId) -> None:
            record.task, record.launched = task, anyio.current_time()
            self._tell(WorkerLaunched, record)
            self._answered(slot)

        async with open_worker(
            slot.backend,
            slot.spec,
            timeouts=self._timeouts,
            backoff=self._backoff,
            on_launch=on_launch,
            on_status=record.saw,
        ) as worker:
            slot.worker = worker
            record.ready = slot.last_used = anyio.current_time()
            self._failures.pop(slot.backend.name, None)
            self._budget.ready(record)
            self._tell(WorkerReady, record)
            self._decide(slot)
            try:
                await self._tend(slot, worker)
            finally:
                slot.retired = True  # from here on it stops, which takes a while
                self._fleet.refresh(slot)
                if slot.lanes:
                    slot.lose(WorkerStoppedError("the worker is given back", task=worker.task))

    async def _tend(self, slot: Slot, worker: Worker) -> None:
        """Return when the worker has been idle for too long; raise when it has ended."""
        while not slot.retired:
            left = slot.idle_left(0.0 if slot.draining else self._limits.idle)
            if left <= 0:
                return
            slot.changed = anyio.Event()
            with anyio.move_on_after(min(left, WATCH)) as pause:
                await slot.changed.wait()
            if pause.cancelled_caught and await worker.leaving() and not slot.draining:
                self._drain(slot)

    def _count_failure(self, backend: str, error: CloudburstError) -> None:
        self._failures[backend] += 1
        if not error.retryable or self._failures[backend] >= self._limits.attempts:
            self._refused[backend] = error

    def _tell(self, event: type[Any], record: WorkerRecord, **facts: Any) -> None:
        for observer in self._observers:
            observer(record, event, _facts(record) | facts)


def _facts(record: WorkerRecord) -> dict[str, Any]:
    return {"task": record.task, "backend": record.backend}
