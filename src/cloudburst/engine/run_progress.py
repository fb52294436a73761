"""Concurrent work of a run: its recovery, its scenes and its film."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import anyio
from anyio.abc import TaskGroup

from cloudburst.concurrency import Steps
from cloudburst.engine.attempt import render_scene
from cloudburst.engine.attempt_context import SceneContext
from cloudburst.engine.defects import scene_defect
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.records import SceneRecord
from cloudburst.engine.recovery import TaskRecovery
from cloudburst.engine.run import Run
from cloudburst.errors import ClosedError, CloudburstError
from cloudburst.events import SceneCompleted, SceneFailed, SceneQueued


class RunProgress:
    """Concurrent work of a run: its recovery, and an anyio task for each scene with a worker."""

    def __init__(
        self,
        run: Run,
        pool: WorkerPool,
        *,
        records: Mapping[str, SceneRecord],
        context: Callable[[Ticket], SceneContext],
        recovery: TaskRecovery | None,
    ) -> None:
        self._run = run
        self._pool = pool
        self._records = records
        self._context = context
        self._recovery = recovery
        self._tasks: TaskGroup | None = None
        self.unfinished = {
            name
            for name, record in records.items()
            if record.video is None and record.error is None
        }
        """Names of the scenes that have neither video nor error."""
        self._finished = anyio.Event()
        self._recovered = anyio.Event()

    async def run(
        self, tasks: TaskGroup, queued: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Recover earlier tasks, render all scenes, make the film, and end the run.

        Args:
            tasks: Task group in which the scenes are rendered.
            queued: Function that queues the scenes: see `WorkerPool.admit`.
        """
        self._tasks = tasks
        needs_worker = self._run.film is not None and self._run.film.needs_worker
        with self._pool.scheduler.kept_workers.expecting_film() if needs_worker else nullcontext():
            await self._make_videos(tasks, queued)
            await self._run.make_film()
        await self._pool.wait_drained(self._run.name)
        self._run.end()

    async def _make_videos(
        self, tasks: TaskGroup, queued: Callable[[], AbstractContextManager[None]]
    ) -> None:
        async for record in Steps(self._records.values()):
            self._emit_start(record)
        if self._recovery is not None:
            await self._recovery.look()
            self._adopt(self._recovery, len(self.unfinished))
            tasks.start_soon(self._keep_looking, self._recovery)
        with queued():  # without a pause, or the adopted workers would be given up as needless
            if self.unfinished:
                await self._finished.wait()
        if self._recovery is not None:
            await self._recovered.wait()

    async def _keep_looking(self, recovery: TaskRecovery) -> None:
        while await recovery.look_again():
            self._adopt(recovery, 0)
        self._recovered.set()

    def _adopt(self, recovery: TaskRecovery, scenes: int) -> None:
        recovery.adopt(scenes)
        self._run.add_workers(recovery.records)

    def start_scene(self, ticket: Ticket) -> None:
        """Start the anyio task of a scene that has its first assignment or an error."""
        assert self._tasks is not None, "no ticket is notified before it is queued"
        self._tasks.start_soon(self._render, ticket, name=f"scene {ticket.scene}")

    async def _render(self, ticket: Ticket) -> None:
        record, context = self._records[ticket.scene], self._context(ticket)
        try:
            record.video = await render_scene(context, self._pool)
        except CloudburstError as exc:
            record.error = exc
        except Exception as exc:  # noqa: BLE001 - the other scenes go on
            record.error = scene_defect(exc, record.name)
        if (error := record.error) is None:
            context.emit(SceneCompleted, video=record.video)
        else:
            if not isinstance(error, ClosedError):  # which is no failure of the scene
                context.write_failure(error, final=True)
            self._emit_failed(record, error)
        self.unfinished.remove(ticket.scene)
        if not self.unfinished:
            self._finished.set()

    def _emit_start(self, record: SceneRecord) -> None:
        """Emit the first event of a scene: queued, or finished or failed in an earlier process."""
        run = self._run
        if record.video is not None:
            run.emit(SceneCompleted, scene=record.name, video=record.video, skipped=True)
        elif record.error is not None:
            self._emit_failed(record, record.error)
        else:
            run.emit(SceneQueued, scene=record.name, attempt=record.attempts + 1)

    def _emit_failed(self, record: SceneRecord, error: CloudburstError) -> None:
        kind, message, retryable = type(error).__name__, str(error), error.retryable
        facts = {"kind": kind, "message": message, "retryable": retryable}
        self._run.emit(SceneFailed, scene=record.name, **facts)
