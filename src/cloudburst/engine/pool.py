"""Workers shared by all scenes of one client, and the decisions who goes where."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.queue import TurnQueue
from cloudburst.engine.slot import Lane, MovedError, Slot, Stage, Ticket, WorkerRecord
from cloudburst.engine.worker import Worker, open_worker
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
        self._slots: list[Slot] = []
        self._failures: Counter[str] = Counter()  # starts in a row, by backend
        self._refused: dict[str, CloudburstError] = {}  # backends that will start nothing more
        self._closed = False
        self._observers: list[Observer] = []
        self._changed = anyio.Event()  # set, and replaced, after every decision

    @contextmanager
    def observed(self, observer: Observer) -> Generator[None]:
        """Tell of what happens to workers, beginning with those that are ready already."""
        for slot in self._slots:
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

        while any(map(ending, self._slots)):
            await self._changed.wait()

    @contextmanager
    def queued(self, tickets: Sequence[Ticket]) -> Generator[None]:
        """Queue a run's scenes, all at once, so that the longest of them comes first.

        Raises `BusyError` when that is more than may wait.
        """
        waiting, most = len(self._queue), self._limits.waiting
        if most is not None and waiting + len(tickets) > most:
            msg = f"{waiting} scenes wait; {len(tickets)} more would pass Limits.waiting={most}"
            raise BusyError(msg)
        try:
            for ticket in tickets:
                self._queue.put(ticket)
            self._decide()
            yield
        finally:
            for ticket in tickets:
                self._queue.remove(ticket)
                if ticket.lane is not None:  # reserved, and never used
                    self._release(ticket.lane)
            self._decide()

    @asynccontextmanager
    async def lease(self, ticket: Ticket) -> AsyncGenerator[Lane]:
        """A lane on a ready worker, launched if need be. Raises when none can be had.

        `MovedError` means that the scene shall lease again: a lane elsewhere is reserved.
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
            error = await lane.worker.explain(exc, within=self._timeouts.call)
            lane.slot.lose(error)
            raise error from exc
        finally:
            if lane is not None:
                self._release(lane)

    async def _lane_for(self, ticket: Ticket) -> Lane:
        if self._closed:
            raise ClosedError("the client was left")
        if not (ticket.waiting or ticket.lane or ticket.error):  # an attempt used up its lane
            self._queue.put(ticket)
            self._decide()
        await ticket.called.wait()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.lane is not None, "called with an error or a lane"
        return ticket.lane

    def _release(self, lane: Lane) -> None:
        if lane in lane.slot.lanes:
            lane.slot.lanes.remove(lane)
        if lane.ticket.lane is lane:
            lane.ticket.lane = None
        lane.slot.last_used = anyio.current_time()
        lane.slot.changed.set()
        self._decide()

    def close(self) -> None:
        """Turn away who waits and take the workers from who has one."""
        self._closed = True
        self._turn_away(ClosedError("the client was left"))
        for slot in self._slots:
            if slot.lanes:
                slot.lose(ClosedError("the client was left"))

    # Decisions: nothing below this line awaits, up to the next one.

    def _decide(self) -> None:
        if not self._closed:
            for slot in self._slots:
                slot.grant()
            while self._place_one():
                pass
            self._start_workers()
            self._move_waiting()
            self._cancel_starts()
        self._changed.set()
        self._changed = anyio.Event()

    def _place_one(self) -> bool:
        """Give a waiting scene to the worker that can do it first."""
        starting = sum(slot.backend.encoders for slot in self._slots if slot.starting)
        surplus = len(self._queue) > starting  # else those about to be ready will take them
        by_load = sorted(self._slots, key=lambda slot: (-slot.unclaimed, len(slot.lanes)))
        for ahead in (False, True) if surplus else (False,):
            for slot in by_load:
                if slot.has_room(ahead=ahead) and self._place_on(slot):
                    return True
        return False

    def _place_on(self, slot: Slot) -> bool:
        ticket = self._queue.take(lambda ticket: self._may_use(ticket, slot))
        if ticket is None:
            return False
        self._give_lane(ticket, slot)
        return True

    def _give_lane(self, ticket: Ticket, slot: Slot) -> None:
        assert slot.worker is not None, "only ready slots have room"
        ticket.lane = Lane(ticket=ticket, slot=slot, worker=slot.worker, on_change=self._decide)
        slot.lanes.append(ticket.lane)
        ticket.called.set()

    def _may_use(self, ticket: Ticket, slot: Slot) -> bool:
        """A worker on which the scene failed is used again only if there is no other."""
        if slot.record.task not in ticket.avoid:
            return True
        others = any(not s.retired and s.record.task not in ticket.avoid for s in self._slots)
        return not others and self._next_backend() is None

    def _start_workers(self) -> None:
        starting = sum(slot.backend.encoders for slot in self._slots if slot.starting)
        while len(self._queue) > starting and (backend := self._next_backend()):
            first = self._queue.first()
            record = WorkerRecord(backend=backend.name, run=first.run)
            spec = replace(self._spec, run=first.run, scene=first.scene, language=first.language)
            most_lanes = self._limits.lanes or 3 * backend.encoders
            slot = Slot(backend=backend, spec=spec, record=record, most_lanes=most_lanes)
            self._slots.append(slot)
            self._tasks.start_soon(self._keep, slot, name=f"cloudburst {backend.name} worker")
            starting += backend.encoders
        if not self._slots:
            self._give_up()

    def _next_backend(self) -> Backend | None:
        """The first backend that has room for one more task."""
        if len(self._slots) >= self._limits.workers:
            return None
        alive = Counter(slot.backend.name for slot in self._slots)
        for backend in self._backends:
            has_room = backend.capacity is None or alive[backend.name] < backend.capacity
            if has_room and backend.name not in self._refused:
                return backend
        return None

    def _give_up(self) -> None:
        """No worker lives: whoever still waits learns why; the next call starts afresh."""
        for error in self._refused.values():
            self._turn_away(error)
        self._refused.clear()
        self._failures.clear()

    def _turn_away(self, error: CloudburstError) -> None:
        while ticket := self._queue.take(lambda _: True):
            ticket.error = error
            ticket.called.set()

    def _move_waiting(self) -> None:
        """Bring a scene that waits behind an encode to a worker that has nothing to do."""
        if len(self._queue):
            return
        for free in self._slots:
            while free.has_room(ahead=False) and (lane := self._longest_wait(free)):
                lane.slot.lanes.remove(lane)
                self._give_lane(lane.ticket, free)
                lane.scope.cancel()

    def _longest_wait(self, free: Slot) -> Lane | None:
        waiting = [
            lane
            for slot in self._slots
            if slot.unclaimed < 0 and not slot.retired
            for lane in slot.lanes
            if lane.stage in {Stage.UPLOADING, Stage.WAITING}
            and free.record.task not in lane.ticket.avoid
        ]
        return max(waiting, key=lambda lane: lane.ticket.seconds, default=None)

    def _cancel_starts(self) -> None:
        """A worker that is not ready yet, and that no scene waits for any more, is given up."""
        behind = sum(max(0, -slot.unclaimed) for slot in self._slots)
        if not self._limits.idle and not len(self._queue) and not behind:
            for slot in self._slots:
                if slot.starting:
                    slot.retired = True
                    slot.scope.cancel()

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
            self._slots.remove(slot)
            record.stopped = anyio.current_time()
            if (error := record.error) is not None:
                self._tell(WorkerFailed, record, kind=type(error).__name__, message=str(error))
            if record.task:
                self._tell(WorkerStopped, record, reason=str(error or "done"))
            self._decide()

    async def _open_and_tend(self, slot: Slot) -> None:
        record = slot.record

        def on_launch(task: TaskId) -> None:
            record.task, record.launched = task, anyio.current_time()
            self._tell(WorkerLaunched, record)

        async with open_worker(
            slot.backend,
            slot.spec,
            timeouts=self._timeouts,
            backoff=self._backoff,
            on_launch=on_launch,
        ) as worker:
            slot.worker = worker
            record.ready = slot.last_used = anyio.current_time()
            self._failures.pop(slot.backend.name, None)
            self._tell(WorkerReady, record)
            self._decide()
            try:
                await self._tend(slot, worker)
            finally:
                slot.retired = True  # from here on it stops, which takes a while
                if slot.lanes:
                    slot.lose(WorkerStoppedError("the worker is given back", task=worker.task))

    async def _tend(self, slot: Slot, worker: Worker) -> None:
        """Return when the worker has been idle for too long; raise when it has ended."""
        while not slot.retired:
            left = slot.idle_left(self._limits.idle)
            if left <= 0:
                return
            slot.changed = anyio.Event()
            with anyio.move_on_after(min(left, WATCH)) as pause:
                await slot.changed.wait()
            if pause.cancelled_caught:
                await worker.check()

    def _count_failure(self, backend: str, error: CloudburstError) -> None:
        self._failures[backend] += 1
        if not error.retryable or self._failures[backend] >= self._limits.attempts:
            self._refused[backend] = error

    def _tell(self, event: type[Any], record: WorkerRecord, **facts: Any) -> None:
        for observer in self._observers:
            observer(record, event, _facts(record) | facts)


def _facts(record: WorkerRecord) -> dict[str, Any]:
    return {"task": record.task, "backend": record.backend}
