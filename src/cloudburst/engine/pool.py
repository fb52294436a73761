"""Workers shared by all scenes of one client."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.dispatch import Dispatcher
from cloudburst.engine.figures import Figures
from cloudburst.engine.launch import taken_over
from cloudburst.engine.postmortem import PostMortems
from cloudburst.engine.scribe import Scribe, Scribes
from cloudburst.engine.slot import Lane, MovedError, Slot, Ticket, Visit, WorkerRecord
from cloudburst.engine.worker import Worker, open_worker, until_stopped
from cloudburst.errors import (
    BusyError,
    ClosedError,
    CloudburstError,
    KeyRefusedError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.events import WorkerFailed, WorkerLaunched, WorkerReady, WorkerStopped
from cloudburst.models.options import Language
from cloudburst.models.pace import Sample
from cloudburst.models.policy import Backoff, Limits, Timeouts
from cloudburst.models.report import Prediction
from cloudburst.models.task import FoundTask, TaskId, TaskSpec, TaskStatus
from cloudburst.ports import Backend, Journal

logger = logging.getLogger(__name__)

WATCH = 2.0
"""Seconds between two looks at whether a worker in use still lives."""

Observer: TypeAlias = Callable[[WorkerRecord, type[Any], Mapping[str, Any]], None]
"""Called with a worker, the class of an event and its facts."""


class WorkerPool:
    """One queue over one or more backends. ``Limits.workers`` bounds the tasks alive at once.

    Scenes come here for a worker, and each worker is seen through from its launch to its stop. Who
    goes where is decided by the `Dispatcher`.
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
        figures: Figures | None = None,
    ) -> None:
        self._tasks = tasks
        self._backends = backends
        self._timeouts = timeouts
        self._limits = limits
        self._backoff = backoff
        self._dispatcher = Dispatcher(
            backends,
            spec=spec,
            limits=limits,
            figures=figures or Figures(),
            start=self._begin,
        )
        self._unsettled: dict[WorkerRecord, None] = {}
        self._observers: list[Observer] = []
        self._scribes = Scribes(tasks, self._none_left, within=timeouts.call)
        self._post_mortems = PostMortems(tasks)

    @property
    def backends(self) -> Sequence[Backend]:
        """In the order of preference."""
        return self._backends

    def spec(self, run: str, scene: str, language: Language) -> TaskSpec:
        """Of a task for a run."""
        return self._dispatcher.spec(run, scene, language)

    @contextmanager
    def journaled(self, run: str, journal: Journal | None) -> Generator[Scribe | None]:
        """Write down what happens to the workers of a run, also after the block."""
        if journal is None:
            yield None
            return
        with self._scribes.writing(run, journal) as scribe:
            yield scribe

    async def _none_left(self, run: str) -> None:
        """Wait until nothing more will happen to the workers of a run."""
        while any(record.run == run for record in self.records()):
            await self._dispatcher.changed.wait()
        await self._post_mortems.done(run)

    def records(self) -> tuple[WorkerRecord, ...]:
        """Of the workers that are there, and of those that may not have stopped yet."""
        return (*(slot.record for slot in self._dispatcher.fleet), *self._unsettled)

    def adopt(
        self,
        backend: Backend,
        found: FoundTask,
        record: WorkerRecord,
        *,
        wanted: bool,
        spec: TaskSpec,
    ) -> Slot:
        """Take over a task that another process has started: to work on, or else only to stop it.

        Its slot is ``held`` once its stop is certain.
        """
        slot = Slot(
            backend=backend,
            number=0,
            spec=spec,
            record=record,
            most_lanes=self._limits.lanes or 3 * backend.encoders,
            expected=0.0,
            asking=False,
            found=found,
            retired=not wanted,
        )
        self._dispatcher.adopt(slot)
        return slot

    def asking(self, run: str) -> bool:
        """Whether there may be tasks for a run whose launch was not answered yet."""
        return any(slot.asking and slot.record.run == run for slot in self._dispatcher.fleet)

    def tasks(self, run: str) -> set[str]:
        """Those of a run that are there, or may not have stopped yet."""
        return {record.task for record in self.records() if record.run == run}

    def room(self, backend: Backend) -> int:
        """How many more tasks there may be."""
        return self._dispatcher.room(backend)

    def ended(self, record: WorkerRecord) -> None:
        """A task of an earlier life has ended: it is on the bill as well."""
        self._dispatcher.budget.closed(record)
        self._scribes.note(record)

    @contextmanager
    def observed(self, observer: Observer) -> Generator[None]:
        """Tell of what happens to workers, beginning with those that are ready already."""
        for slot in self._dispatcher.fleet:
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

        while any(map(ending, self._dispatcher.fleet)):
            await self._dispatcher.changed.wait()
        await self._post_mortems.done(run)

    async def settled(self, run: str | None = None) -> None:
        """Wait until every task that was given back is seen to have stopped, for a while."""
        with anyio.move_on_after(self._timeouts.settle):
            while any(run in {None, record.run} for record in self._unsettled):
                await self._dispatcher.changed.wait()

    @contextmanager
    def room_for(self, tickets: Sequence[Ticket]) -> Generator[Callable[[], None]]:
        """What queues a run's scenes, all at once, so that the longest of them comes first.

        When the block is left they are in the queue no more. Raises `BusyError` when they are more
        than may wait.
        """
        waiting, most = len(self._dispatcher.queue), self._limits.waiting
        if most is not None and waiting + len(tickets) > most:
            msg = f"{waiting} scenes wait; {len(tickets)} more would pass Limits.waiting={most}"
            raise BusyError(msg)

        def queue() -> None:
            self._dispatcher.queued(*tickets)

        try:
            with self._dispatcher.run():
                yield queue
        finally:
            for ticket in tickets:
                self._dispatcher.queue.remove(ticket)
                if ticket.lane is not None:  # reserved, and never used
                    self._dispatcher.release(ticket.lane)
            self._dispatcher.decide()

    def foresee(self, works: Iterable[float]) -> Prediction:
        """What a run of scenes with so much work will take and cost: see `Report.predicted`."""
        return self._dispatcher.foresee(works).prediction

    def take_samples(self) -> tuple[Sample, ...]:
        """What was measured since this was last asked."""
        learned = self._dispatcher.outlook.learned
        samples = tuple(learned)
        learned.clear()
        return samples

    @asynccontextmanager
    async def lease(self, ticket: Ticket, lane: Lane | None = None) -> AsyncGenerator[Lane]:
        """A lane on a ready worker, launched if need be, or the ``lane`` that it has already.

        Raises when none can be had. `MovedError` means that the lane is not the scene's any more:
        it is wanted elsewhere, or was encoded there first.
        """
        try:
            lane = lane or await self._lane_for(ticket)
            with lane.scope:
                yield lane
            if lane.scope.cancelled_caught:
                raise lane.slot.record.error or MovedError
        except WorkerError as exc:
            if lane is None or lane.slot.record.error is exc:
                raise
            lane.slot.doubted = True
            self._dispatcher.fleet.refresh(lane.slot)
            error = await lane.worker.explain(exc, within=self._timeouts.call)
            lane.slot.lose(error)
            raise error from exc
        finally:
            if lane is not None:
                if lane.worker.renderer.abandoned:
                    msg = "it still encodes a scene that nobody waits for"
                    lane.slot.lose(WorkerStoppedError(msg, task=lane.worker.task), ours=True)
                self._dispatcher.release(lane)

    async def _lane_for(self, ticket: Ticket) -> Lane:
        if self._dispatcher.closed:
            raise ClosedError("the client was left")
        if not (ticket.waiting or ticket.lane or ticket.error):  # an attempt used up its lane
            self._dispatcher.queued(ticket)
        if ticket.waiting:
            ticket.called = anyio.Event()
            await ticket.called.wait()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.lane is not None, "called with an error or a lane"
        return ticket.lane

    def finished(self, visit: Visit, lane: Lane) -> None:
        """A scene has its video."""
        self._dispatcher.finished(visit, lane.ticket, lane.slot)

    def close(self) -> None:
        """Turn away who waits and take the workers from who has one."""
        self._dispatcher.closed = True
        self._dispatcher.turn_away(ClosedError("the client was left"))
        for slot in self._dispatcher.fleet:
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
        while len(self._dispatcher.fleet):
            await self._dispatcher.changed.wait()
        await self.settled()
        await self._scribes.done()

    # The life of one worker.

    def _begin(self, slot: Slot) -> None:
        self._tasks.start_soon(self._keep, slot, name=f"cloudburst {slot.backend.name} worker")

    async def _keep(self, slot: Slot) -> None:
        """See one slot through, from launch to stop, whatever happens."""
        record = slot.record
        try:
            with slot.scope:
                await self._open_and_tend(slot)
        except CloudburstError as exc:
            slot.lose(exc)
            if record.ready is None and slot.found is None:
                self._dispatcher.failed_to_start(slot, exc)
        finally:
            if isinstance(record.error, KeyRefusedError):
                self._dispatcher.key_refused(slot, record.error)
            self._dispatcher.ended(slot)
            record.stopped = anyio.current_time()
            if (error := record.error) is not None:
                self._tell(WorkerFailed, record, kind=type(error).__name__, message=str(error))
            if record.task:
                self._unsettled[record] = None
                self._tell(WorkerStopped, record, reason=str(error or "done"))
            scribe = self._scribes.note(record)
            journal = None if scribe is None else scribe.journal
            self._post_mortems.begin(slot.backend, record, journal)
            self._dispatcher.decide()
            if scribe is not None:
                await scribe.flush(within=self._timeouts.call)
        await self._settle(slot)

    async def _settle(self, slot: Slot) -> None:
        """Watch a task that was given back until it is seen to have stopped."""
        record = slot.record
        if not record.task:
            return
        if record.may_run:  # that may take as long as its lifetime
            del self._unsettled[record]
            return
        try:
            with anyio.move_on_after(self._timeouts.settle):
                await until_stopped(slot.backend, TaskId(record.task), self._backoff, record.saw)
            self._dispatcher.settled(slot)
        finally:
            self._scribes.note(record)
            del self._unsettled[record]
            self._dispatcher.decide()

    async def _open_and_tend(self, slot: Slot) -> None:
        record = slot.record

        async def before(token: str) -> None:
            record.token = token
            await self._scribes.launching(record)

        def on_launch(task: TaskId) -> None:
            record.task, record.launched = task, anyio.current_time()
            self._scribes.note(record)
            self._tell(WorkerLaunched, record)
            self._dispatcher.answered(slot)

        def on_status(status: TaskStatus) -> None:
            record.saw(status)
            self._scribes.note(record, lazily=True)

        if slot.found is not None:
            slot.held = True
            self._scribes.note(record)
            self._tell(WorkerLaunched, record)
            if slot.retired:  # nobody needs it
                async with taken_over(slot.backend, slot.found, self._timeouts, record.gave_back):
                    return

        async with open_worker(
            slot.backend,
            slot.spec,
            timeouts=self._timeouts,
            backoff=self._backoff,
            found=slot.found,
            before=before,
            on_launch=on_launch,
            on_stop=record.gave_back,
            on_status=on_status,
            others=lambda: self._dispatcher.with_task(slot.backend) > 0,
        ) as worker:
            slot.worker, slot.last_used = worker, anyio.current_time()
            if record.ready is None:
                record.ready = slot.last_used
            self._scribes.note(record)
            self._tell(WorkerReady, record)
            self._dispatcher.started(slot)
            try:
                await self._tend(slot, worker)
            except WorkerError as exc:
                slot.lose(exc)
                raise
            finally:
                slot.retired = True  # from here on it stops, which takes a while
                self._dispatcher.fleet.refresh(slot)
                if slot.lanes:
                    error = WorkerStoppedError("the worker is given back", task=worker.task)
                    slot.lose(error, ours=True)

    async def _tend(self, slot: Slot, worker: Worker) -> None:
        """Return when the worker has been idle for too long; raise when it has ended."""
        while not slot.retired:
            left = slot.idle_left(0.0 if slot.draining else self._limits.idle)
            if left <= 0:
                return
            slot.changed = anyio.Event()
            with anyio.move_on_after(min(left, WATCH)) as pause:
                await slot.changed.wait()
            self._dispatcher.tick()
            if pause.cancelled_caught and await _leaving(worker) and not slot.draining:
                self._dispatcher.drain(slot)

    def _tell(self, event: type[Any], record: WorkerRecord, **facts: Any) -> None:
        for observer in self._observers:
            observer(record, event, _facts(record) | facts)


async def _leaving(worker: Worker) -> bool:
    """As `Worker.leaving`; where nobody can tell, the line to the worker notices its end."""
    try:
        return await worker.leaving()
    except WorkerError:
        raise
    except CloudburstError as exc:
        logger.debug("%s: its state is not known: %s", worker.task, exc)
        return False


def _facts(record: WorkerRecord) -> dict[str, Any]:
    return {"task": record.task, "backend": record.backend}
