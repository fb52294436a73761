"""Upload, encode and download of one attempt at a scene or film."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace

import anyio

from cloudburst.engine.attempt_context import AttemptContext
from cloudburst.engine.defects import scene_defect, worker_errors
from cloudburst.engine.pool_state import Assignment, AssignmentState
from cloudburst.engine.records import Attempt
from cloudburst.engine.scheduler.encoder_slots import slot_expected_at
from cloudburst.engine.uplink import Uplink
from cloudburst.errors import CloudburstError, SceneTimeoutError
from cloudburst.events import (
    SceneEncoded,
    SceneEncoding,
    SceneProgress,
    SceneStarted,
    SceneUploaded,
)
from cloudburst.media.subtitles import late_cues
from cloudburst.models.scene import Video
from cloudburst.ports.backend import Backend
from cloudburst.ports.renderer import DownloadedVideo, EncodedVideo, Sending, UploadedScene, at_once
from cloudburst.redaction import redact

# Constant part of the timeout of an encode on workers that report no progress, in seconds. A part
# for the length of the audio is added.
BASE_ENCODE_TIMEOUT = 60.0
# Share of the length according to the header below which audio is taken for cut off. The value
# is a choice.
_WHOLE_SHARE = 0.9


class ProgressTimeout:
    """Timeout of the current phase of an attempt.

    The timeout starts again with each phase and each increase of the progress. On workers that
    report no progress, the whole encode has one timeout, which grows with the length of the audio.
    """

    def __init__(
        self, scope: anyio.CancelScope, seconds: float | None, *, reports_progress: bool
    ) -> None:
        self._scope = scope
        self._seconds = math.inf if seconds is None else seconds
        self._reports_progress = reports_progress
        self._progress = 0.0
        self.renew()

    def renew(self) -> None:
        """Start the timeout again, because a phase begins or the scene has made progress."""
        self._scope.deadline = anyio.current_time() + self._seconds

    def suspend(self) -> None:
        """Suspend the timeout while the scene waits for an encoder slot or the output folder."""
        self._scope.deadline = math.inf

    def note_progress(self, share: float) -> None:
        """Start the timeout again if the progress of the encode has increased."""
        if share > self._progress:
            self._progress = share
            if self._reports_progress:
                self.renew()


@contextmanager
def progress_timeout(
    backend: Backend, seconds: float | None, *, audio_seconds: float, scene: str
) -> Generator[ProgressTimeout]:
    """Cancel the ``with`` block when an attempt makes no progress, and yield the timeout.

    Raises:
        SceneTimeoutError: The attempt made no progress for too long.
    """
    reports_progress = not backend.encode_timeout_factor
    if seconds is not None and not reports_progress:
        seconds = max(seconds, BASE_ENCODE_TIMEOUT + backend.encode_timeout_factor * audio_seconds)
    with anyio.CancelScope() as scope:
        yield ProgressTimeout(scope, seconds, reports_progress=reports_progress)
    if scope.cancelled_caught:
        how = f"no progress for {seconds} s" if reports_progress else f"not done within {seconds} s"
        raise SceneTimeoutError(how, scene=scene)


class AttemptPhases:
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
        self._waited_until = -math.inf
        self._encode_span = ExitStack()
        ticket = assignment.ticket
        self.attempt = Attempt(run=ticket.run, scene=ticket.scene, is_film=ticket.is_film)
        assignment.worker.record.attempts.append(self.attempt)

    async def upload(self) -> UploadedScene:
        """Send the scene's files to the worker."""
        context, record = self._context, self._record
        context.emit(SceneStarted, task=self._task, attempt=record.attempts)
        with record.measure("upload", self.attempt):
            turn = self._turn if self._assignment.worker.backend.shares_uplink else at_once
            with worker_errors():
                uploaded = await context.upload(self._renderer, self._timeout.renew, turn)
        record.bytes_sent += uploaded.sent
        record.bytes_fetched += uploaded.fetched
        context.emit(SceneUploaded, task=self._task, bytes_sent=uploaded.sent)
        return replace(uploaded, audio_seconds=context.max_audio_seconds)

    @asynccontextmanager
    async def _turn(self, size: int) -> AsyncGenerator[Sending]:
        needed_at, waiting = slot_expected_at(self._assignment), self._waiting_for_line
        async with self._uplink.place(size, needed_at=needed_at, waiting=waiting) as sending:
            self._assignment.sending = True
            try:
                yield sending
            finally:
                self._assignment.sending = False

    @contextmanager
    def _waiting_for_line(self) -> Generator[None]:
        """Suspend the timeout while a file waits for the line, and measure the time."""
        began = anyio.current_time()
        self._timeout.suspend()
        try:
            yield
        finally:
            self._timeout.renew()
            now = anyio.current_time()
            self.attempt.uplink_wait_seconds += now - max(began, self._waited_until)
            self._waited_until = now

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
                    with worker_errors():
                        video = await self._renderer.encode(uploaded, progress=self._note_progress)
        finally:
            if not requested:
                self._renderer.discard(uploaded)
        self.attempt.shared_seconds = video.shared_seconds
        return video

    def _note_start(self) -> None:
        self._record.slot_wait_seconds = anyio.current_time() - self._waiting_since
        self._timeout.renew()
        self._context.emit(SceneEncoding, task=self._task)
        self._record.encode_unfinished = True
        self._encode_span.enter_context(self._record.measure("encode", self.attempt))

    def _note_slot(self) -> None:
        if self._assignment.has_slot:
            self._timeout.renew()
        else:
            self._timeout.suspend()

    def _note_progress(self, share: float) -> None:
        if self._assignment.start_encode():
            self._note_start()
        self._assignment.note_progress(share)
        self._timeout.note_progress(share)
        self._context.emit(SceneProgress, task=self._task, progress=share)

    async def download(self, encoded: EncodedVideo) -> Video:
        """Download the video, and write it to the journal before it gets its final name."""
        context = self._context
        self._record.encode_unfinished = False
        context.emit(SceneEncoded, task=self._task)
        began = 0.0

        async def write_result(file: DownloadedVideo) -> None:
            # A video under its final name without a journal entry would count as another program's.
            video = self._video(file, encoded)
            try:
                await context.write_result(video, self.attempt, download_began=began)
            except CloudburstError:
                raise
            except Exception as exc:  # no fault of the worker
                raise scene_defect(exc, self._record.name) from exc

        async def download() -> DownloadedVideo:
            nonlocal began
            began = anyio.current_time()
            self._timeout.renew()
            try:
                with self._record.measure("download", self.attempt), worker_errors():
                    return await self._renderer.download(
                        encoded, context.to, on_verified=write_result, remote=context.remote
                    )
            finally:
                self._timeout.suspend()

        self._timeout.suspend()  # the output folder may not be writable for a while
        file = await context.writes.fetch(download)
        self._record.written_by_worker = file.by_worker
        return self._video(file, encoded)

    def _video(self, file: DownloadedVideo, encoded: EncodedVideo) -> Video:
        seconds, known = encoded.seconds or file.seconds, self._context.known_seconds
        warnings = list(map(redact, encoded.warnings))
        if 0 < seconds < _WHOLE_SHARE * known:
            warnings.append(f"audio: {seconds:.1f} s, {known:.1f} s by its header: check the file")
        if note := late_cues(self._context.cue_starts, seconds):
            warnings.append(f"subtitle: {note}")
        return Video(
            scene=self._record.name,
            path=file.path,
            task=self._task,
            size=file.size,
            sha256=file.sha256,
            seconds=seconds,
            warnings=tuple(warnings),
            cover=file.cover,
            cover_sha256=file.cover_sha256,
        )
