"""Many scenes at once, told as one stream of events and summed up in one report."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from cloudburst.engine import accounts
from cloudburst.engine.figures import work
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.scene import SceneJob, SceneRecord, render_scene
from cloudburst.engine.slot import Ticket, WorkerRecord
from cloudburst.engine.stream import EventStream
from cloudburst.errors import CloudburstError
from cloudburst.models.events import Event, SceneCompleted, SceneFailed, SceneQueued
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits, Timeouts
from cloudburst.models.report import Prediction, Report
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
        self._events = EventStream()
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
            tuple(self._workers),
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

    def _now(self) -> float:
        return anyio.current_time() - self._began

    def tell(self, event: type[Any], **facts: Any) -> None:
        """Write an event of this class into the stream, stamped with the run's own clock."""
        self._events.write(event(at=self._now(), **facts))

    def saw(self, worker: WorkerRecord, event: type[Any], facts: Mapping[str, Any]) -> None:
        """Take note of a worker of the pool."""
        self._workers[worker] = None
        self.tell(event, **facts)

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
) -> AsyncGenerator[Run]:
    """Start all scenes; leaving the block early cancels what is not done.

    What happens is written into the ``journal``. ``to`` has the final path of every scene's video,
    by the scene's name. Raises `BusyError` before anything starts when the queue has no room for
    all scenes.
    """
    records = [SceneRecord(name=scene.scene.name) for scene in scenes]
    run = Run(name, records, pool)
    left = dict(zip([scene.scene.name for scene in scenes], range(len(scenes)), strict=True))
    done = anyio.Event()

    async def one(ticket: Ticket) -> None:
        number = left[ticket.scene]
        record = records[number]
        job = SceneJob(
            scene=scenes[number].scene,
            ticket=ticket,
            to=to[record.name],
            options=options,
            record=record,
            tell=partial(run.tell, scene=record.name),
            seconds=timeouts.scene,
            attempts=limits.attempts,
        )
        try:
            record.video = await render_scene(job, pool)
        except CloudburstError as exc:
            record.error = exc
            kind, retryable = type(exc).__name__, exc.retryable
            job.tell(SceneFailed, kind=kind, message=str(exc), retryable=retryable)
        else:
            job.tell(SceneCompleted, video=record.video)
        del left[ticket.scene]
        if not left:
            done.set()

    async def all_scenes(queue: Callable[[], None]) -> None:
        for number, record in enumerate(records, 1):
            run.tell(SceneQueued, scene=record.name, attempt=1)
            if not number % SOME:
                await anyio.lowlevel.checkpoint()
        queue()
        if left:
            await done.wait()
        await pool.drained(name)
        run.end()

    def begin(ticket: Ticket) -> None:
        tasks.start_soon(one, ticket, name=f"scene {ticket.scene}")

    due = None if limits.deadline is None else anyio.current_time() + limits.deadline
    tickets = [
        Ticket(
            run=name,
            scene=scene.scene.name,
            language=options.language,
            seconds=scene.seconds,
            work=work(scene, options),
            due=due,
            begin=begin,
        )
        for scene in scenes
    ]
    run.predicted = pool.foresee(ticket.work for ticket in tickets)
    with unwrapped(), pool.journaled(name, journal), pool.observed(run.saw):
        try:
            with pool.room_for(tickets) as queue:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(all_scenes, queue)
                    yield run
                    tasks.cancel_scope.cancel()
            await pool.drained(name)
        finally:
            run.end()
