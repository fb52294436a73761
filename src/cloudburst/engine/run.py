"""Many scenes at once, told as one stream of events and summed up in one report."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from cloudburst.engine import accounts
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.scene import SceneJob, SceneRecord, render_scene
from cloudburst.engine.slot import Ticket, WorkerRecord
from cloudburst.engine.stream import EventStream
from cloudburst.errors import CloudburstError
from cloudburst.models.events import Event, SceneCompleted, SceneFailed
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Limits, Timeouts
from cloudburst.models.report import Report
from cloudburst.models.scene import CheckedScene, Scene


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

    def __aiter__(self) -> AsyncIterator[Event]:
        return self._events

    async def until_done(self) -> Report:
        """Drop the events and wait for the end. Never raises for a scene."""
        async for _ in self:
            pass
        return self.report

    @property
    def report(self) -> Report:
        """What is known now: readable while the run goes on and after it was cut off."""
        report = accounts.report(
            self.name,
            self._scenes,
            tuple(self._workers),
            began=self._began,
            seconds=self._now() if self._ended is None else self._ended,
        )
        report._settle = self.settled  # noqa: SLF001
        return report

    async def settled(self) -> Report:
        """The report once every task of the run was seen to have stopped: see `Report.settled`."""
        await self._pool.settled(self.name)
        return self.report

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
) -> AsyncGenerator[Run]:
    """Start all scenes; leaving the block early cancels what is not done.

    ``to`` has the final path of every scene's video, by the scene's name. Raises `BusyError`
    before anything starts when the queue has no room for all scenes.
    """
    records = [SceneRecord(name=scene.scene.name) for scene in scenes]
    run = Run(name, records, pool)
    tickets = [
        Ticket(run=name, scene=scene.scene.name, language=options.language, seconds=scene.seconds)
        for scene in scenes
    ]

    async def one(scene: Scene, record: SceneRecord, ticket: Ticket) -> None:
        job = SceneJob(
            scene=scene,
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

    async def all_scenes() -> None:
        async with anyio.create_task_group() as tasks:
            for scene, record, ticket in zip(scenes, records, tickets, strict=True):
                tasks.start_soon(one, scene.scene, record, ticket, name=f"scene {record.name}")
        await pool.drained(name)
        run.end()

    with unwrapped(), pool.observed(run.saw):
        try:
            with pool.queued(tickets):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(all_scenes)
                    yield run
                    tasks.cancel_scope.cancel()
            await pool.drained(name)
        finally:
            run.end()
