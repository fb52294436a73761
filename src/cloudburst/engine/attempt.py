"""Attempts at one scene or film: upload, encode and download, with retries and copies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from cloudburst.concurrency import collapse_single
from cloudburst.engine.attempt_context import AttemptContext
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.pool_state import Assignment, AssignmentState, Ticket
from cloudburst.engine.progress_timeout import ProgressTimeout, progress_timeout
from cloudburst.engine.scene_record import SceneRecord
from cloudburst.engine.uplink import Uplink
from cloudburst.errors import CloudburstError
from cloudburst.models.events import (
    SceneCopied,
    SceneEncoded,
    SceneEncoding,
    SceneProgress,
    SceneQueued,
    SceneRetried,
    SceneStarted,
    SceneUploaded,
)
from cloudburst.models.scene import Video
from cloudburst.ports import DownloadedVideo, EncodedVideo, OnSent, UploadedScene, at_once


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
            if not record.may_retry(exc, context.max_attempts):
                raise
            context.write_failure(exc)
            ticket.suspect = record.worker_losses > 0
            ticket.avoided_tasks.add(record.task)
            kind, message = type(exc).__name__, str(exc)
            context.emit(SceneRetried, task=record.task, kind=kind, message=message)
        else:
            if video is not None:
                return video
            record.attempts -= 1  # the scheduler took the scene off its worker: not a failure


async def _attempt(context: AttemptContext, pool: WorkerPool) -> Video | None:
    """Make one attempt, and a speculative copy of it if the scheduler starts one.

    Returns:
        The video; ``None`` if the scheduler took the scene off its worker before the scene was
        encoded.
    """
    record = context.record
    record.start_attempt()
    if not record.queued_event_emitted:
        context.emit(SceneQueued, attempt=record.attempts)
    record.queued_event_emitted = False
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
    waiting_since, queued_before = context.ticket.take_waiting_since(), record.queued_seconds
    try:
        async with pool.lease(context.ticket) as assignment:
            record.queued_seconds += anyio.current_time() - waiting_since
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
    """Make a speculative copy of an attempt: render the scene on a second worker.

    Until the copy has encoded the scene, the record of the scene describes the first attempt.

    Returns:
        The video; ``None`` if the first attempt has encoded the scene earlier, or if the scheduler
        took the copy off its worker.
    """
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
        """Wait for the end of the copy and return its video, or ``None`` if it made no video.

        Return ``None`` at once if the copy was not started.
        """
        if self._started:
            await self._ended.wait()
        return self._video


@asynccontextmanager
async def _speculative_copy(
    ticket: Ticket, render: Callable[[Assignment], Awaitable[Video | None]]
) -> AsyncGenerator[SpeculativeCopy]:
    """Allow the scheduler to start a copy of the attempt during the ``with`` block.

    A copy that still runs at the end of the block is cancelled.
    """
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
    """Upload, encode and download a scene on one worker, and return its video.

    Return ``None`` if the other attempt at the scene, the original or its speculative copy, has
    encoded the scene earlier.
    """
    with progress_timeout(
        assignment.worker.backend,
        context.timeout,
        audio_seconds=context.max_audio_seconds,
        scene=context.record.name,
    ) as timeout:
        phases = _Phases(assignment, context, timeout, pool.uplink)
        uploaded = await phases.upload()
        encoded = await phases.encode(uploaded)
        if not assignment.finish_first():
            return None
        phases.note_encoded()
        video = await phases.download(encoded, uploaded.input_hashes)
        pool.finished(phases.attempt, assignment)
        return video
    raise AssertionError("unreachable: a deadline that has passed raises")


class _Phases:
    """The three phases of one attempt on one worker."""

    def __init__(
        self,
        assignment: Assignment,
        context: AttemptContext,
        timeout: ProgressTimeout,
        uplink: Uplink,
    ) -> None:
        self._assignment = assignment
        self._context = context
        self._record = context.record
        self._timeout = timeout
        self._uplink = uplink
        self._task = assignment.connection.task
        self._renderer = assignment.connection.renderer
        self._waiting_since = 0.0
        self._encode_span = ExitStack()
        self.attempt = assignment.new_attempt()

    async def upload(self) -> UploadedScene:
        """Send the scene's files to the worker."""
        context, record = self._context, self._record
        context.emit(SceneStarted, task=self._task, attempt=record.attempts)
        with record.measure("upload", self.attempt):
            turn = self._turn if self._assignment.worker.backend.shares_uplink else at_once
            uploaded = await context.upload(self._renderer, self._timeout.renew, turn)
        record.bytes_sent += uploaded.sent
        record.bytes_fetched += uploaded.fetched
        context.emit(SceneUploaded, task=self._task, bytes_sent=uploaded.sent)
        return replace(uploaded, audio_seconds=context.max_audio_seconds)

    @asynccontextmanager
    async def _turn(self, size: int) -> AsyncGenerator[OnSent]:
        """Wait for a place on the line for a file, and hold it until the ``with`` block ends."""
        self._timeout.suspend()  # files of other scenes are sent
        needed_at = self._assignment.slot_expected_at
        async with self._uplink.place(size, needed_at=needed_at) as sent:
            self._timeout.renew()
            yield sent

    async def encode(self, uploaded: UploadedScene) -> EncodedVideo:
        """Wait for an encoder slot, here or in the worker's queue, and make the video there."""
        self._waiting_since = anyio.current_time()
        self._assignment.on_slot_change = self._note_slot
        self._timeout.suspend()  # other scenes hold the encoder slots
        requested = False
        try:
            async with self._assignment.encoder_slot():
                requested = True
                with self._encode_span:
                    if self._assignment.state is AssignmentState.ENCODING:
                        self._note_start()
                    else:
                        self._note_slot()
                    video = await self._renderer.encode(uploaded, progress=self._note_progress)
        finally:
            if not requested:
                self._renderer.discard(uploaded)
        self.attempt.shared_seconds = video.shared_seconds
        return video

    def _note_start(self) -> None:
        """Record that the encode begins."""
        self._record.slot_wait_seconds = anyio.current_time() - self._waiting_since
        self._timeout.renew()
        self._context.emit(SceneEncoding, task=self._task)
        self._record.encode_unfinished = True
        self._encode_span.enter_context(self._record.measure("encode", self.attempt))

    def _note_slot(self) -> None:
        """Start the timeout of the queued scene if an encoder slot is free, else suspend it."""
        if self._assignment.has_slot:
            self._timeout.renew()
        else:
            self._timeout.suspend()

    def _note_progress(self, share: float) -> None:
        if self._assignment.start_encode():
            self._note_start()
        self._assignment.progress = share
        self._timeout.note_progress(share)
        self._context.emit(SceneProgress, task=self._task, progress=share)

    def note_encoded(self) -> None:
        """Record that this attempt was the first one that encoded the scene."""
        self._record.encode_unfinished = False
        self._context.emit(SceneEncoded, task=self._task)

    async def download(self, encoded: EncodedVideo, inputs: Mapping[str, str]) -> Video:
        """Download the video, and write it to the journal before it gets its final name."""
        context = self._context
        began = 0.0

        async def write_result(file: DownloadedVideo) -> None:
            # A video under its final name without a journal entry would count as another program's.
            video = self._video(file, encoded)
            await context.write_result(video, self.attempt, inputs, download_began=began)

        async def download() -> DownloadedVideo:
            nonlocal began
            began = anyio.current_time()
            self._timeout.renew()
            try:
                with self._record.measure("download", self.attempt):
                    return await self._renderer.download(
                        encoded, context.to, on_verified=write_result, remote=context.remote
                    )
            finally:
                self._timeout.suspend()

        self._timeout.suspend()  # the output folder may not be writable for a while
        file = await context.output.fetch(download)
        self._record.written_by_worker = file.by_worker
        return self._video(file, encoded)

    def _video(self, file: DownloadedVideo, encoded: EncodedVideo) -> Video:
        return Video(
            scene=self._record.name,
            path=file.path,
            task=self._task,
            size=file.size,
            sha256=file.sha256,
            seconds=encoded.seconds or file.seconds,
            warnings=encoded.warnings,
            cover=file.cover,
            cover_sha256=file.cover_sha256,
        )
