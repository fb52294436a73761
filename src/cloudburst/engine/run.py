"""Many scenes at once, told as one stream of events and summed up in one report."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from cloudburst.engine import accounts
from cloudburst.engine.earlier import Earlier, restore
from cloudburst.engine.figures import work
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.scene import SceneJob, SceneRecord, render_scene
from cloudburst.engine.scribe import Scribe
from cloudburst.engine.slot import Ticket, WorkerRecord
from cloudburst.engine.stream import EventStream
from cloudburst.engine.takeover import Takeover, taking_over
from cloudburst.errors import ClosedError, CloudburstError
from cloudburst.models.entries import Entry
from cloudburst.models.events import Event, SceneCompleted, SceneFailed, SceneQueued
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits, Timeouts
from cloudburst.models.report import Prediction, Report, Status
from cloudburst.models.scene import CheckedScene
from cloudburst.ports import Journal

SOME = 100
"""Scenes that are told of without a pause: some milliseconds."""


class Run:
    """Iterate for events as they happen; `report` sums them up at any time."""

    def __init__(self, name: str, scenes: Sequence[SceneRecord], pool: WorkerPool) -> None:
        self.name = name
        """Identifier of the run: in tags, reports and file names."""
        self._pool = pool
        self._began = anyio.current_time()
        self._ended: float | None = None
        self._scenes = scenes
        self._workers: dict[WorkerRecord, None] = {}
        self._expected: tuple[WorkerRecord, ...] = ()
        self._events = EventStream()
        self.scribe: Scribe | None = None
        """Writes down what happens."""
        self.predicted: Prediction | None = None
        """What was expected of it when it began."""

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def until_done(self) -> Report:
        """Drop the events and wait for the end. Never raises for a scene."""
        async for _ in self:
            pass
        return await self._summed_up()

    @property
    def report(self) -> Report:
        """What is known now: readable while the run goes on and after it was cut off."""
        making = self._making()
        while True:
            try:
                next(making)
            except StopIteration as end:
                return self._signed(end.value)

    async def _summed_up(self) -> Report:
        """As `report`, in several goes: a thousand scenes must not hold up the loop."""
        making = self._making()
        while True:
            await anyio.lowlevel.checkpoint()
            try:
                next(making)
            except StopIteration as end:
                return self._signed(end.value)

    def _making(self) -> Generator[None, None, Report]:
        return accounts.report(
            self.name,
            self._scenes,
            (*self._workers, *(worker for worker in self._expected if worker.task)),
            began=self._began,
            seconds=self._now() if self._ended is None else self._ended,
            predicted=self.predicted,
        )

    def _signed(self, report: Report) -> Report:
        report._settle = self.settled  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return report

    async def settled(self) -> Report:
        """The report once every task of the run was seen to have stopped: see `Report.settled`."""
        await self._pool.settled(self.name)
        return await self._summed_up()

    async def written(self) -> None:
        """Wait until nothing more will happen to the run's workers, and all is written down."""
        if self.scribe is not None:
            await self.scribe.done.wait()

    def _now(self) -> float:
        return anyio.current_time() - self._began

    def tell(self, event: type[Any], **facts: Any) -> None:
        """Write an event of this class into the stream, stamped with the run's own clock."""
        self._events.write(event(at=self._now(), **facts))

    def saw(self, worker: WorkerRecord, event: type[Any], facts: Mapping[str, Any]) -> None:
        """Take note of a worker of the pool."""
        self._workers[worker] = None
        self.tell(event, **facts)

    def tasks(self) -> set[str]:
        """Of all its workers so far."""
        return self._pool.tasks(self.name) | {worker.task for worker in self._workers}

    def knew(self, workers: Sequence[WorkerRecord]) -> None:
        """Take note of tasks of the run's earlier lives."""
        self._workers |= dict.fromkeys(workers)

    def expect(self, workers: Iterable[WorkerRecord]) -> None:
        """Nobody is told of them any more, and what their launches have started is on the bill."""
        self._expected = tuple(worker for worker in workers if worker not in self._workers)

    @property
    def status(self) -> Status:
        """How it stands."""
        return accounts.status(self._scenes)

    def end(self) -> None:
        """Nothing more will happen."""
        self._ended = self._now()
        self._events.close()


@asynccontextmanager
async def open_run(
    name: str,
    scenes: Sequence[CheckedScene],
    pool: WorkerPool,
    *,
    to: Mapping[str, Path],
    options: RenderOptions,
    timeouts: Timeouts,
    limits: Limits,
    journal: Journal | None = None,
    first: Sequence[Entry] = (),
    earlier: Earlier | None = None,
) -> AsyncGenerator[Run]:
    """Start all scenes; leaving the block early cancels what is not done.

    What happens is written into the ``journal``, after the ``first`` entries. ``to`` has the final
    path of every scene's video, by the scene's name. ``earlier`` is what other lives of the run
    have left, if there were any: what they have finished is skipped, and their tasks are taken
    over or stopped. Raises `BusyError` before anything starts when the queue has no room for all
    scenes.
    """
    records = {scene.scene.name: SceneRecord(name=scene.scene.name) for scene in scenes}
    run = Run(name, tuple(records.values()), pool)
    takeover: Takeover | None = None
    if earlier is not None:
        for record in records.values():
            restore(record, earlier)
        ahead = journal.now() - anyio.current_time() if journal else 0.0
        spec = pool.spec(name, scenes[0].scene.name, options.language)
        takeover = Takeover(spec, earlier, pool, timeouts, ours=run.tasks, ahead=ahead)
        # What an earlier life in this very client has given back may be gone by the end.
        run.knew((*takeover.records, *pool.records(name)))
    course = _Course(
        run=run,
        pool=pool,
        scenes={scene.scene.name: scene for scene in scenes},
        records=records,
        to=to,
        options=options,
        timeouts=timeouts,
        limits=limits,
        takeover=takeover,
    )
    tickets = course.tickets()
    run.predicted = pool.foresee(ticket.work for ticket in tickets)
    with unwrapped(), pool.journaled(name, journal) as scribe, pool.observed(run.saw):
        run.scribe, began = scribe, False
        try:
            with pool.room_for(tickets) as queued:
                if scribe is not None:
                    await scribe.write(*first)
                began = True
                async with taking_over(takeover, timeouts), anyio.create_task_group() as tasks:
                    tasks.start_soon(course.through, tasks, queued)
                    yield run
                    tasks.cancel_scope.cancel()
            await pool.drained(name)
        finally:
            run.end()
            run.expect(pool.records(name))
            if began and scribe is not None:
                await scribe.end(run.status, within=timeouts.call)


class _Course:
    """What is done for a run while its block is open."""

    def __init__(
        self,
        *,
        run: Run,
        pool: WorkerPool,
        scenes: Mapping[str, CheckedScene],
        records: Mapping[str, SceneRecord],
        to: Mapping[str, Path],
        options: RenderOptions,
        timeouts: Timeouts,
        limits: Limits,
        takeover: Takeover | None,
    ) -> None:
        self._run = run
        self._pool = pool
        self._scenes = scenes
        self._records = records
        self._to = to
        self._options = options
        self._timeouts = timeouts
        self._limits = limits
        self._takeover = takeover
        self._tasks: TaskGroup | None = None
        self._left = {
            record.name
            for record in records.values()
            if record.video is None and record.error is None
        }
        self._done = anyio.Event()
        self._caught_up = anyio.Event()

    def tickets(self) -> list[Ticket]:
        """Of the scenes that are to be rendered."""
        deadline = self._limits.deadline
        due = None if deadline is None else anyio.current_time() + deadline
        return [
            Ticket(
                run=self._run.name,
                scene=name,
                language=self._options.language,
                seconds=self._scenes[name].seconds,
                work=work(self._scenes[name], self._options),
                due=due,
                suspect=self._records[name].kills > 0,
                begin=self._begin,
            )
            for name in self._records
            if name in self._left
        ]

    async def through(
        self, tasks: TaskGroup, queued: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """See all scenes through. None begins in ``tasks`` any more when this has ended."""
        self._tasks = tasks
        for number, record in enumerate(self._records.values(), 1):
            self._tell_begin(record)
            if not number % SOME:
                await anyio.lowlevel.checkpoint()
        if self._takeover is not None:
            await self._takeover.look()
            self._take_over(self._takeover, len(self._left))
            tasks.start_soon(self._catch_up, self._takeover)
        with queued():  # at once, or else nobody would want the workers that were taken over
            if self._left:
                await self._done.wait()
        if self._takeover is not None:
            await self._caught_up.wait()
        await self._pool.drained(self._run.name)
        self._run.end()

    async def _catch_up(self, takeover: Takeover) -> None:
        while await takeover.look_again():
            self._take_over(takeover, 0)
        self._caught_up.set()

    def _take_over(self, takeover: Takeover, scenes: int) -> None:
        takeover.adopt(scenes)
        self._run.knew(takeover.records)

    def _tell_begin(self, record: SceneRecord) -> None:
        """How the scene stands when this life of the run begins."""
        if record.video is not None:
            self._run.tell(SceneCompleted, scene=record.name, video=record.video, skipped=True)
        elif record.error is not None:
            self._tell_failed(record, record.error)
        else:
            self._run.tell(SceneQueued, scene=record.name, attempt=record.attempts + 1)

    def _tell_failed(self, record: SceneRecord, error: CloudburstError) -> None:
        kind, message = type(error).__name__, str(error)
        self._run.tell(
            SceneFailed,
            scene=record.name,
            kind=kind,
            message=message,
            retryable=error.retryable,
        )

    def _begin(self, ticket: Ticket) -> None:
        assert self._tasks is not None, "nobody is called before the tickets are queued"
        self._tasks.start_soon(self._one, ticket, name=f"scene {ticket.scene}")

    async def _one(self, ticket: Ticket) -> None:
        record, scene = self._records[ticket.scene], self._scenes[ticket.scene]
        job = SceneJob(
            scene=scene.scene,
            ticket=ticket,
            to=self._to[record.name],
            options=self._options,
            record=record,
            tell=partial(self._run.tell, scene=record.name),
            seconds=self._timeouts.scene,
            attempts=self._limits.attempts,
            fingerprint=scene.fingerprint,
            scribe=self._run.scribe,
        )
        try:
            record.video = await render_scene(job, self._pool)
        except CloudburstError as exc:
            record.error = exc
            if not isinstance(exc, ClosedError):  # which is no fault of the scene
                job.write_fault(exc, given_up=True)
            self._tell_failed(record, exc)
        else:
            job.tell(SceneCompleted, video=record.video)
        self._left.remove(ticket.scene)
        if not self._left:
            self._done.set()
