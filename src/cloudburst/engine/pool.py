"""Workers shared by all scenes of one client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.dispatch import Dispatcher
from cloudburst.engine.figures import Figures
from cloudburst.engine.keeper import Keeper, Observer
from cloudburst.engine.scribe import Scribe
from cloudburst.engine.slot import Lane, MovedError, Slot, Ticket, Visit, WorkerRecord
from cloudburst.errors import (
    BusyError,
    ClosedError,
    WorkerError,
    WorkerStoppedError,
)
from cloudburst.models.options import Language
from cloudburst.models.pace import Sample
from cloudburst.models.policy import Backoff, Limits, Timeouts
from cloudburst.models.report import Prediction
from cloudburst.models.task import FoundTask, TaskSpec
from cloudburst.ports import Backend, Journal


class WorkerPool:
    """One queue over one or more backends. ``Limits.workers`` bounds the tasks alive at once.

    Scenes come here for a worker. Who goes where is decided by the `Dispatcher`, and each worker is
    seen through from its launch to its stop by the `Keeper`.
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
        # More scenes than may be on a worker cannot encode there.
        self._backends = [
            replace(each, encoders=min(each.encoders, limits.lanes or each.encoders))
            for each in backends
        ]
        self._timeouts = timeouts
        self._limits = limits
        self._dispatcher = Dispatcher(
            self._backends,
            spec=spec,
            limits=limits,
            figures=figures or Figures(),
            start=self._begin,
        )
        self._keeper = Keeper(
            tasks, self._dispatcher, timeouts=timeouts, limits=limits, backoff=backoff
        )

    def _begin(self, slot: Slot) -> None:
        self._keeper.begin(slot)

    @property
    def backends(self) -> Sequence[Backend]:
        """In the order of preference."""
        return self._backends

    def spec(self, run: str, scene: str, language: Language) -> TaskSpec:
        """Of a task for a run."""
        return self._dispatcher.starts.spec(run, scene, language)

    def journaled(self, run: str, journal: Journal | None) -> AbstractContextManager[Scribe | None]:
        """Write down what happens to the workers of a run, also after the block."""
        return nullcontext() if journal is None else self._keeper.journaled(run, journal)

    def observed(self, observer: Observer) -> AbstractContextManager[None]:
        """Tell of what happens to workers, beginning with those that are ready already."""
        return self._keeper.observed(observer)

    def still_billed(self, run: str) -> bool:
        """Whether tasks of a run were given back and not seen to stop: their bill is not final."""
        return self._keeper.still_billed(run)

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
        self._dispatcher.starts.adopt(slot)
        return slot

    def asking(self, run: str) -> bool:
        """Whether there may be tasks for a run whose launch was not answered yet."""
        return self._dispatcher.fleet.asking(run)

    def records(self, run: str) -> tuple[WorkerRecord, ...]:
        """Of a run's workers that are there, or may not have stopped yet."""
        return tuple(record for record in self._keeper.records() if record.run == run)

    def tasks(self, run: str) -> set[str]:
        """Those of a run that are there, or may not have stopped yet."""
        return {record.task for record in self.records(run)}

    def room(self, backend: Backend) -> int:
        """How many more tasks there may be."""
        return self._dispatcher.standing.room(backend)

    def ended(self, record: WorkerRecord) -> None:
        """A task of an earlier life has ended: it is on the bill as well."""
        self.spent(record)
        self._keeper.scribes.note(record)

    def spent(self, record: WorkerRecord) -> None:
        """The same of one that the backend has forgotten: nothing is new about it."""
        self._dispatcher.budget.closed(record)

    async def drained(self, run: str) -> None:
        """Wait until every worker that nobody will use is stopped; those kept warm stay.

        What other runs give back from now on is not waited for: where they come and go, there is
        always some.
        """
        ended = {slot for slot in self._dispatcher.fleet if slot.retired}

        def ending(slot: Slot) -> bool:
            if slot.record.run != run:
                return slot in ended
            if slot.starting:  # others want it, or it would have been given up
                return False
            return slot.retired or not (slot.lanes or self._limits.idle)

        while any(map(ending, self._dispatcher.fleet)):
            await self._dispatcher.changed.wait()
        await self._keeper.post_mortems.done(run)

    async def settled(self, run: str | None = None) -> None:
        """Wait until every task that was given back is seen to have stopped, for a while."""
        with anyio.move_on_after(self._timeouts.settle):
            while self._keeper.is_unsettled(run):
                await self._dispatcher.changed.wait()

    @contextmanager
    def room_for(
        self, tickets: Sequence[Ticket]
    ) -> Generator[Callable[[], AbstractContextManager[None]]]:
        """What queues a run's scenes, all at once, so that the longest of them comes first.

        They wait there for as long as its block lasts, within which they may begin. When the
        outer block is left, none has a worker any more. Raises `BusyError` when they are more
        than may wait.
        """
        waiting, most = len(self._dispatcher.queue), self._limits.waiting
        if most is not None and waiting + len(tickets) > most:
            msg = f"{waiting} scenes wait; {len(tickets)} more would pass Limits.waiting={most}"
            raise BusyError(msg)

        @contextmanager
        def queued() -> Generator[None]:
            self._dispatcher.queued(*tickets)
            try:
                yield
            finally:
                self._withdraw(tickets)

        try:
            with self._dispatcher.run():
                yield queued
        finally:
            self._withdraw(tickets)
            for ticket in tickets:
                if ticket.lane is not None:  # reserved, and never used
                    self._dispatcher.release(ticket.lane)

    def _withdraw(self, tickets: Iterable[Ticket]) -> None:
        for ticket in tickets:
            self._dispatcher.queue.remove(ticket)
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
            error = exc
            try:
                error = await lane.worker.explain(exc, within=self._timeouts.call)
            finally:  # also when the scene is cut off here: others may be on that worker
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
        while ticket.waiting:  # again, if the lane was taken away before this went on
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
        await self._keeper.scribes.done()
