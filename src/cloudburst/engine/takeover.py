"""The tasks that earlier lives of a run have left: found, and then taken over or stopped."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio

from cloudburst.engine.earlier import Earlier, workers
from cloudburst.engine.launch import Stop
from cloudburst.engine.polling import insist, poll
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.slot import Slot, WorkerRecord
from cloudburst.errors import CloudburstError, NoAnswerError, ThrottledError
from cloudburst.models.policy import PATIENT, Timeouts
from cloudburst.models.task import FoundTask, TaskId, TaskSpec, TaskState, TaskStatus
from cloudburst.ports import Backend

logger = logging.getLogger(__name__)

GRACE = 16.0
"""Seconds after a launch was asked for within which its task may be there and not be listed yet:
reads lag behind writes ("eventual consistency" in the page of RunTask, ECS API reference,
2026-11). As long as ``cloudburst cleanup`` looks."""
PAUSE = 2.0
"""Seconds between two looks for such a task."""


class Takeover:
    """Sees to it that each task of the run's earlier lives is used or stopped, and on the bill.

    ``ours`` tells the tasks of this life; ``ahead`` is the journal's clock less anyio's.
    """

    def __init__(
        self,
        spec: TaskSpec,
        earlier: Earlier,
        pool: WorkerPool,
        timeouts: Timeouts,
        *,
        ours: Callable[[], Collection[str]],
        ahead: float,
    ) -> None:
        self._run = spec.run
        self._spec = spec
        self._earlier = earlier
        self._pool = pool
        self._timeouts = timeouts
        self._ahead = ahead
        self._ours = ours
        # A life of this very client may not be through with its workers.
        there = pool.tasks(spec.run)
        self._records = {
            task: record
            for task, record in workers(spec.run, earlier, ahead=ahead).items()
            if task not in there
        }
        self._found: dict[TaskId, tuple[Backend, FoundTask]] = {}
        self._slots: dict[TaskId, Slot] = {}
        self._looked_at = -math.inf  # on anyio's clock; not yet
        self._began = anyio.current_time()

    @property
    def records(self) -> tuple[WorkerRecord, ...]:
        """All tasks of the earlier lives that are known so far."""
        return tuple(self._records.values())

    async def look(self) -> None:
        """Find the tasks. Where that is not allowed, those that are known must do."""
        began = anyio.current_time()
        for backend in self._pool.backends:
            found = await self._find(backend)
            found = [*found, *await self._young(backend, {one.task for one in found})]
            if self._pool.asking(self._run):
                return  # what is not known may be what this life asks for
            self._note(backend, found)
        self._looked_at = began
        for task, record in self._records.items():
            if task not in self._found:
                self._pool.spent(record)
        self._warn_of_others()

    def _warn_of_others(self) -> None:
        """Tell of tasks that this client has no way to."""
        names = {backend.name for backend in self._pool.backends}
        for record in self._records.values():
            if record.backend not in names and record.usage is not None and not record.settled:
                record.may_run = True
                msg = "%s was started on %s, which this client has not: it may run on"
                logger.warning(msg, record.task, record.backend)

    async def _find(self, backend: Backend) -> Sequence[FoundTask]:
        async def found() -> Sequence[FoundTask] | None:
            try:
                return await backend.launcher.find(self._run)
            except (NoAnswerError, ThrottledError) as exc:
                logger.info("tasks of run %s are not listed yet: %s", self._run, exc)
                return None

        try:
            with anyio.move_on_after(self._timeouts.launch):
                return await poll(found, backoff=PATIENT)
            logger.warning("the tasks of run %s cannot be listed: no answer", self._run)
        except CloudburstError as exc:
            logger.warning("the tasks of run %s cannot be listed: %s", self._run, exc)
        status = TaskStatus(state=TaskState.STARTING)
        return [
            FoundTask(task=TaskId(record.task), status=status)
            for record in self._records.values()
            if record.backend == backend.name and not record.settled
        ]

    async def _young(self, backend: Backend, listed: Collection[TaskId]) -> list[FoundTask]:
        """Tasks that are known, and so young that they need not be listed yet.

        Also those whose stop was accepted: their bill is not final.
        """
        found = list[FoundTask]()
        for entry in self._earlier.tasks:
            task = TaskId(entry.task)
            launched = entry.launched - self._ahead
            if entry.backend != backend.name or entry.settled:
                continue
            if task in listed or task in self._found or launched + GRACE < anyio.current_time():
                continue
            try:
                found.append(FoundTask(task=task, status=await backend.launcher.describe(task)))
            except CloudburstError as exc:
                logger.warning("%s: its state is not known: %s", task, exc)
                found.append(FoundTask(task=task, status=TaskStatus(state=TaskState.STARTING)))
        return found

    def _note(self, backend: Backend, found: Sequence[FoundTask]) -> None:
        for one in found:
            if one.task in self._found:
                continue
            if one.task not in self._records and one.task in self._ours():
                continue
            self._found[one.task] = backend, one
            record = self._records.get(one.task)
            if record is None:  # its launch was not answered, or not written down
                record = self._records[one.task] = self._unknown(backend, one)
            record.saw(one.status)
            if one.status.state is TaskState.STOPPED:
                self._pool.ended(record)
            else:
                record.stopped = None

    def _unknown(self, backend: Backend, found: FoundTask) -> WorkerRecord:
        usage = found.status.usage
        launched = anyio.current_time() if usage is None else usage.created - self._ahead
        stopped = None if usage is None or usage.stopped is None else usage.stopped - self._ahead
        return WorkerRecord(
            backend=backend.name, run=self._run, task=found.task, launched=launched, stopped=stopped
        )

    def adopt(self, scenes: int) -> None:
        """Take over as many workers as so many scenes need and may have; have the rest stopped.

        Each is taken care of once. Does not wait for anything.
        """
        alive = [pair for task, pair in self._found.items() if task not in self._slots]
        alive = [pair for pair in alive if pair[1].status.state is not TaskState.STOPPED]
        alive.sort(key=lambda pair: pair[1].status.state is not TaskState.RUNNING)
        for backend, found in alive:
            usable = found.secrets is not None and not found.status.leaving
            wanted = usable and scenes > 0 and self._pool.room(backend) > 0
            scenes -= backend.encoders if wanted else 0
            record = self._records[found.task]
            record.error = None
            self._slots[found.task] = self._pool.adopt(
                backend, found, record, wanted=wanted, spec=self._spec
            )

    async def look_again(self) -> bool:
        """Look once more in a while; returns false, at once, when nothing can come to light.

        A task may not be listed yet, be it known or one that a launch without an answer has
        started.
        """
        missing = len(self._earlier.unanswered)
        since = max((entry.asked for entry in self._earlier.unanswered), default=-math.inf)
        known = {entry.task for entry in self._earlier.tasks}
        # None was asked for after the begin of this life, whatever the clocks say.
        late = self._looked_at >= min(since - self._ahead, self._began) + GRACE
        found = len(self._found.keys() - known) >= missing
        if (late or found) and not self._unlisted():
            return False
        await anyio.sleep(PAUSE)
        await self.look()
        return True

    def _unlisted(self) -> list[tuple[Backend, WorkerRecord]]:
        """Tasks that we know of, and that may be there although they were not listed."""
        backends = {backend.name: backend for backend in self._pool.backends}
        return [
            (backends[record.backend], record)
            for task, record in self._records.items()
            if task not in self._found
            and record.backend in backends
            and not record.settled
            and record.launched is not None
            and self._looked_at < record.launched + GRACE
        ]

    async def finish(self) -> None:
        """Stop what nobody holds. May be repeated."""
        if self._looked_at == -math.inf:
            await self.look()
        stops = [
            (Stop(backend, found.task, self._timeouts), self._records[found.task])
            for task, (backend, found) in self._found.items()
            if found.status.state is not TaskState.STOPPED
            and not (task in self._slots and self._slots[task].held)
        ]
        stops += [
            (Stop(backend, TaskId(record.task), self._timeouts), record)
            for backend, record in self._unlisted()
        ]
        async with anyio.create_task_group() as tasks:
            for stop, record in stops:
                tasks.start_soon(partial(_stop, stop, record))


async def _stop(stop: Stop, record: WorkerRecord) -> None:
    await stop.insist()
    record.gave_back(stop.accepted)


@asynccontextmanager
async def taking_over(takeover: Takeover | None, timeouts: Timeouts) -> AsyncGenerator[None]:
    """Leave nothing running that was there before, however the block ends."""
    try:
        yield
    finally:
        if takeover is not None:
            try:
                await insist(takeover.finish, seconds=timeouts.stop)
            except TimeoutError:
                logger.exception("tasks of earlier lives may run on")
