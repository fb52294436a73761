"""Each worker, from its launch to its stop, whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import anyio
from anyio.abc import TaskGroup

from cloudburst.engine.dispatch import Dispatcher
from cloudburst.engine.launch import taken_over
from cloudburst.engine.postmortem import PostMortems
from cloudburst.engine.scribe import Scribe, Scribes
from cloudburst.engine.slot import Slot, WorkerRecord
from cloudburst.engine.worker import Worker, open_worker, until_stopped
from cloudburst.errors import CloudburstError, KeyRefusedError, WorkerError, WorkerStoppedError
from cloudburst.models.events import WorkerFailed, WorkerLaunched, WorkerReady, WorkerStopped
from cloudburst.models.policy import Backoff, Limits, Timeouts
from cloudburst.models.task import TaskId, TaskStatus
from cloudburst.ports import Journal

logger = logging.getLogger(__name__)

WATCH = 2.0
"""Seconds between two looks at whether a worker in use still lives."""

Observer: TypeAlias = Callable[[WorkerRecord, type[Any], Mapping[str, Any]], None]
"""Called with a worker, the class of an event and its facts."""


class Keeper:
    """Sees workers through, tells of what happens to them, and has it written down."""

    def __init__(
        self,
        tasks: TaskGroup,
        dispatcher: Dispatcher,
        *,
        timeouts: Timeouts,
        limits: Limits,
        backoff: Backoff,
    ) -> None:
        self._tasks = tasks
        self._dispatcher = dispatcher
        self._timeouts = timeouts
        self._limits = limits
        self._backoff = backoff
        self.post_mortems = PostMortems(tasks)
        self.scribes = Scribes(tasks, self._none_left, within=timeouts.call)
        self._unsettled: dict[WorkerRecord, None] = {}
        self._observers: list[Observer] = []

    # What others learn.

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

    def journaled(self, run: str, journal: Journal) -> AbstractContextManager[Scribe]:
        """Write down what happens to the workers of a run, also after the block."""
        return self.scribes.writing(run, journal)

    async def _none_left(self, run: str) -> None:
        while self.still_billed(run) or self._dispatcher.fleet.asking(run):
            await self._dispatcher.changed.wait()
        await self.post_mortems.done(run)

    def records(self) -> tuple[WorkerRecord, ...]:
        """Of the workers that are there, and of those that may not have stopped yet."""
        return (*(slot.record for slot in self._dispatcher.fleet), *self._unsettled)

    def still_billed(self, run: str) -> bool:
        """Whether tasks of a run were given back and not seen to stop: their bill is not final.

        Those that are kept warm do not count. They may live for hours, and a journal that is
        written to is in the way of who wants to remove its folder.
        """
        ending = [slot.record for slot in self._dispatcher.fleet if slot.retired]
        return any(r.run == run and r.usage is not None for r in (*ending, *self._unsettled))

    def is_unsettled(self, run: str | None) -> bool:
        """Whether a task of a run, or of any, was given back and not seen to stop."""
        return any(run in {None, record.run} for record in self._unsettled)

    # The life of one worker.

    def begin(self, slot: Slot) -> None:
        """A worker shall be."""
        self._tasks.start_soon(self._keep, slot, name=f"cloudburst {slot.backend.name} worker")

    async def _keep(self, slot: Slot) -> None:
        """See one slot through, from launch to the end of its bill, whatever happens."""
        try:
            await self._until_given_back(slot)
            await self._until_settled(slot)
        finally:
            if slot.record in self._unsettled:
                self.scribes.note(slot.record)
                del self._unsettled[slot.record]
                self._dispatcher.decide()

    async def _until_given_back(self, slot: Slot) -> None:
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
                self._dispatcher.standing.key_refused(slot, record.error)
            self._dispatcher.ended(slot)
            record.stopped = anyio.current_time()
            if (error := record.error) is not None:
                self._tell(WorkerFailed, record, kind=type(error).__name__, message=str(error))
            if record.task:
                self._unsettled[record] = None
                self._tell(WorkerStopped, record, reason=str(error or "done"))
            scribe = self.scribes.note(record)
            journal = None if scribe is None else scribe.journal
            self.post_mortems.begin(slot.backend, record, journal)
            self._dispatcher.decide()
            if scribe is not None:
                await scribe.flush(within=self._timeouts.call)

    async def _until_settled(self, slot: Slot) -> None:
        """Watch a task that was given back until it is seen to have stopped."""
        record = slot.record
        if not record.task or record.may_run:  # that may take as long as its lifetime
            return
        with anyio.move_on_after(self._timeouts.settle):
            await until_stopped(slot.backend, TaskId(record.task), self._backoff, record.saw)
        self._dispatcher.settled(slot)

    async def _open_and_tend(self, slot: Slot) -> None:
        record = slot.record

        async def before(token: str) -> None:
            record.token = token
            await self.scribes.launching(record)

        def on_launch(task: TaskId) -> None:
            record.task, record.launched = task, anyio.current_time()
            self.scribes.note(record)
            self._tell(WorkerLaunched, record)
            self._dispatcher.answered(slot)

        def on_status(status: TaskStatus) -> None:
            record.saw(status)
            self.scribes.note(record, lazily=True)

        if slot.found is not None:
            slot.held = True
            self.scribes.note(record)
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
            others=lambda: self._dispatcher.standing.with_task(slot.backend) > 0,
        ) as worker:
            slot.worker, slot.last_used = worker, anyio.current_time()
            if record.ready is None:
                record.ready = slot.last_used
            self.scribes.note(record)
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
