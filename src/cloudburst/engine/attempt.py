"""Attempts at one scene or film, with retries and speculative copies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from cloudburst.concurrency import collapse_single
from cloudburst.engine.attempt_context import AttemptContext
from cloudburst.engine.attempt_phases import AttemptPhases, progress_timeout
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Assignment, Ticket
from cloudburst.engine.records import SceneRecord
from cloudburst.errors import CloudburstError
from cloudburst.events import SceneCopied, SceneEncoded, SceneQueued, SceneRetried
from cloudburst.models.scene import Video

# Number of attempts at a scene that Spot may interrupt before the scene gets a task on demand.
MAX_SPOT_INTERRUPTIONS = 2


async def render_scene(context: AttemptContext, pool: WorkerPool) -> Video:
    """Make attempts at a scene until one of them succeeds, and return the video.

    Raises:
        CloudburstError: Error of the last attempt, if another one is not allowed or cannot help.
        PoisonedSceneError: Too many workers ended while they encoded the scene.
    """
    record, ticket = context.record, context.ticket
    while True:
        try:
            video = await _attempt(context, pool)
        except CloudburstError as exc:
            if poisoned := record.poisoned_error():
                raise poisoned from exc
            if not exc.retryable or record.task is None:
                raise
            if not record.may_retry(exc, pool.limits.attempts):
                raise
            context.write_failure(exc)
            ticket.suspect = record.worker_losses > 0
            ticket.avoided_tasks.add(record.task)
            if record.spot_interruptions >= MAX_SPOT_INTERRUPTIONS:
                # The backend starts new tasks on demand by now, as two were taken back.
                spot = (each.record for each in pool.scheduler.workers if each.record.spot)
                ticket.avoided_tasks |= {record.task for record in spot}
            kind, message = type(exc).__name__, str(exc)
            context.emit(SceneRetried, task=record.task, kind=kind, message=message)
        else:
            if video is not None:
                return video
            record.attempts -= 1  # the scheduler took the scene off its worker: not a failure
        context.emit(SceneQueued, attempt=record.attempts + 1)


async def _attempt(context: AttemptContext, pool: WorkerPool) -> Video | None:
    record = context.record
    record.start_attempt()
    render_copy = partial(_attempt_copy, context=context, pool=pool)
    async with _speculative_copy(context.ticket, render_copy) as copy:
        try:
            if video := await _attempt_first(context, pool):
                return video
        except CloudburstError:
            if video := await copy.wait():
                return video
            raise
        # The scene was taken off its worker, be it because the copy has encoded first.
        video = await copy.wait()
        if video is None and copy.error is not None:
            raise copy.error
        return video
    raise AssertionError("unreachable: that scope is cancelled after its last await")


async def _attempt_first(context: AttemptContext, pool: WorkerPool) -> Video | None:
    record, video = context.record, None
    ticket, queued_before = context.ticket, record.queued_seconds
    waiting_since = anyio.current_time() if ticket.waiting_since is None else ticket.waiting_since
    ticket.waiting_since = None
    try:
        async with pool.lease(ticket) as assignment:
            now = anyio.current_time()
            record.queued_seconds += now - waiting_since
            record.started_at = now if record.started_at is None else record.started_at
            record.task = assignment.connection.task
            video = await _attempt_on(assignment, context, pool)
    except CloudburstError as exc:
        if record.encode_unfinished:
            record.note_encode_failure(exc)
        raise
    if video is None and not record.encode_unfinished:  # its time on the worker was waiting as well
        record.queued_seconds = queued_before + anyio.current_time() - waiting_since
    return video


async def _attempt_copy(
    assignment: Assignment, *, context: AttemptContext, pool: WorkerPool
) -> Video | None:
    # Until the copy has encoded the scene, the record of the scene describes the first attempt.
    task, video = assignment.connection.task, None
    record = SceneRecord(name=context.record.name, task=task, attempts=context.record.attempts)

    def emit(event: type[Any], **fields: Any) -> None:
        if event is SceneEncoded:
            context.emit(event, **fields)

    try:
        async with pool.lease(context.ticket, assignment):
            context.emit(SceneCopied, task=task)
            video = await _attempt_on(assignment, replace(context, record=record, emit=emit), pool)
    except CloudburstError as exc:
        context.ticket.avoided_tasks.add(task)
        if record.encode_unfinished:
            context.record.note_encode_failure(exc)
        raise
    finally:
        context.record.bytes_sent += record.bytes_sent
        context.record.bytes_fetched += record.bytes_fetched
        context.record.written_by_worker |= record.written_by_worker
        if assignment.encoding_since is not None and not record.encode_unfinished:
            context.record.copy_from(record)
    return video


class SpeculativeCopy:
    """Speculative copy of an attempt on another worker. It runs only if the scheduler starts it."""

    def __init__(
        self, tasks: TaskGroup, render: Callable[[Assignment], Awaitable[Video | None]]
    ) -> None:
        self._tasks = tasks
        self._render = render
        self._started = False
        self._ended = anyio.Event()
        self._video: Video | None = None
        self.error: CloudburstError | None = None
        """Error with which the copy failed; ``None`` if it did not fail."""

    def start(self, assignment: Assignment) -> None:
        """Start the copy on the worker that the scheduler has chosen."""
        self._started = True
        self._tasks.start_soon(self._run, assignment, name=f"copy of {assignment.ticket.scene}")

    async def _run(self, assignment: Assignment) -> None:
        try:
            self._video = await self._render(assignment)
        except CloudburstError as exc:
            self.error = exc
        finally:
            self._ended.set()

    async def wait(self) -> Video | None:
        """Wait for the end of the copy and return its video, or ``None`` if it made no video."""
        if self._started:
            await self._ended.wait()
        return self._video


@asynccontextmanager
async def _speculative_copy(
    ticket: Ticket, render: Callable[[Assignment], Awaitable[Video | None]]
) -> AsyncGenerator[SpeculativeCopy]:
    """Allow the scheduler to start a copy of the attempt during the ``with`` block."""
    with collapse_single():
        async with anyio.create_task_group() as tasks:
            copy = SpeculativeCopy(tasks, render)
            ticket.on_copy = None if ticket.is_film else copy.start
            try:
                yield copy
            finally:
                ticket.on_copy = None
            tasks.cancel_scope.cancel()


async def _attempt_on(
    assignment: Assignment, context: AttemptContext, pool: WorkerPool
) -> Video | None:
    with progress_timeout(
        assignment.worker.backend,
        pool.timeouts.scene,
        audio_seconds=context.max_audio_seconds,
        scene=context.record.name,
    ) as timeout:
        phases = AttemptPhases(assignment, context, timeout, pool.uplink)
        uploaded = await phases.upload()
        encoded = await phases.encode(uploaded)
        if not assignment.finish_first():
            return None
        video = await phases.download(encoded)
        pool.scheduler.on_scene_finished(phases.attempt, assignment, pool.uplink)
        return video
    raise AssertionError("unreachable: a deadline that has passed raises")
