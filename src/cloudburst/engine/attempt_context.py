"""Shared objects of all attempts at the scenes of a run: their contexts, and writes of videos."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from cloudburst.engine.journal_writer import JournalWriter
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.records import Attempt, PhaseSpan, SceneRecord
from cloudburst.engine.scheduler.queue import PausedRuns
from cloudburst.errors import CloudburstError, CredentialsError, OutputWriteError, UploadError
from cloudburst.models.file_versions import CHANGED
from cloudburst.models.fingerprint import HashInputs
from cloudburst.models.journal_entries import ErrorEntry, SceneFailureEntry
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import OutputLocation
from cloudburst.models.scene import CheckedScene, Video
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import DownloadedVideo, Renderer, Turn, UploadedScene

logger = logging.getLogger(__name__)

# Seconds without a written video after which the run is aborted. The value is a choice: enough
# time to free space or to remount a disk, but not more than the minimum billed time of a task.
WRITE_TIMEOUT = 60.0
# Delays between two tries to write a video. They are long because each try downloads the video
# again.
WRITE_BACKOFF = Backoff(first=1.0, factor=2.0, cap=10.0)


class VideoWrites:
    """Writes of the videos of a run, which is paused while they fail.

    Encoded videos stay on their workers and are downloaded again, one at a time. The run is aborted
    if none can be written for `WRITE_TIMEOUT`, or at once if S3 refuses the credentials.
    """

    def __init__(self, run: str, runs: PausedRuns) -> None:
        self._run = run
        self._runs = runs
        self._lock = anyio.Lock()
        self._waiting = 0  # videos that could not be written yet
        self._last_error: OutputWriteError | None = None  # of the last write, if it failed
        self._deadline = 0.0  # on anyio's clock: when the run is aborted
        self._aborted: CloudburstError | None = None

    async def fetch(self, download: Callable[[], Awaitable[DownloadedVideo]]) -> DownloadedVideo:
        """Download a video, and return it when it has its final name.

        Raises:
            OutputWriteError: No video of the run could be written for `WRITE_TIMEOUT`.
            CredentialsError: S3 does not accept the credentials.
        """
        if not self._waiting and (file := await self._try(download)):
            return file
        self._waiting += 1
        if self._waiting == 1 and self._aborted is None:
            self._pause()
        try:
            async with self._lock:
                return await self._retry(download)
        finally:
            self._waiting -= 1
            if not self._waiting and self._aborted is None:
                logger.info("run %s: videos can be written again; the run is resumed", self._run)
                self._runs.resume(self._run)

    async def _retry(self, download: Callable[[], Awaitable[DownloadedVideo]]) -> DownloadedVideo:
        for delay in WRITE_BACKOFF.delays():
            if self._aborted is not None:
                raise self._aborted
            if self._last_error is not None:
                left = self._deadline - anyio.current_time()
                if left <= 0:
                    raise self._abort(self._last_error)
                await anyio.sleep(min(delay, left))
            if file := await self._try(download):
                return file
        raise AssertionError("unreachable: delays() never ends")

    async def _try(
        self, download: Callable[[], Awaitable[DownloadedVideo]]
    ) -> DownloadedVideo | None:
        if self._aborted is not None:
            raise self._aborted
        try:
            file = await download()
        except OutputWriteError as exc:
            self._last_error = exc
            return None
        except CredentialsError as exc:
            if self._aborted is None:
                self._aborted = exc
                self._runs.abort(self._run, exc)
            raise
        self._last_error, self._deadline = None, anyio.current_time() + WRITE_TIMEOUT
        return file

    def _pause(self) -> None:
        self._deadline = anyio.current_time() + WRITE_TIMEOUT
        logger.warning(
            "run %s: %s; no scene starts until videos can be written again, for %g s at most",
            *(self._run, self._last_error, WRITE_TIMEOUT),
        )
        self._runs.pause(self._run)

    def _abort(self, cause: OutputWriteError) -> OutputWriteError:
        self._aborted = OutputWriteError(
            f"{cause}; no video could be written for {WRITE_TIMEOUT:g} s: "
            "make room, restore the folder or the permission to write to it, then resume the run"
        )
        self._aborted.__cause__ = cause
        self._runs.abort(self._run, self._aborted)
        return self._aborted


# Function that emits an event of one scene; called with the event's class and fields.
Emit: TypeAlias = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext(ABC):
    """Settings and shared objects that all attempts at one scene or film use."""

    ticket: Ticket
    to: OutputLocation
    """Final location of the video."""
    record: SceneRecord
    emit: Emit
    max_audio_seconds: float
    """Length of the audio, or the limit for it."""
    known_seconds: float = 0.0
    """Length of the audio by its header, or 0."""
    cue_starts: Sequence[int] = ()
    """Times at which cues of the scene begin, sorted, in milliseconds."""
    writes: VideoWrites
    remote: RemoteFiles | None = None

    @abstractmethod
    async def upload(
        self, renderer: Renderer, on_file: Callable[[], None], turn: Turn
    ) -> UploadedScene:
        """Give a worker the files, those of this machine in turn."""

    @abstractmethod
    def write_failure(self, error: CloudburstError, *, final: bool = False) -> None:
        """Add a failed attempt to the journal, without waiting until it is written."""

    @abstractmethod
    async def write_result(self, video: Video, attempt: Attempt, *, download_began: float) -> None:
        """Write the result of an attempt to the journal, before the video gets its final name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneContext(AttemptContext):
    """Inputs, settings and shared objects that all attempts at one scene use."""

    scene: CheckedScene
    writer: JournalWriter | None = None
    hash_inputs: HashInputs | None = None

    async def upload(
        self,
        renderer: Renderer,
        on_file: Callable[[], None],  # noqa: ARG002
        turn: Turn,
    ) -> UploadedScene:
        """Give a worker the files of the scene, those of this machine in turn."""
        if self.hash_inputs is not None:
            self.record.inputs = await self.hash_inputs(self.scene)
        uploaded = await renderer.upload(self.scene, remote=self.remote, turn=turn)
        known = self.record.inputs.hashes
        for field, sent in uploaded.input_hashes.items():
            if known.get(field, sent) != sent:  # the file was replaced after it was hashed
                renderer.discard(uploaded)
                raise UploadError(f"{field}: {CHANGED}", scene=self.record.name, field=field)
        return uploaded

    def write_failure(self, error: CloudburstError, *, final: bool = False) -> None:
        """Add a failed attempt to the journal, without waiting until it is written."""
        if self.writer is not None:
            # Not awaited: the scene must be back in the queue before the next scheduling decision.
            self.writer.add(
                SceneFailureEntry(
                    scene=self.record.name,
                    failures=self.record.failures,
                    worker_failures=self.record.worker_failures,
                    worker_losses=self.record.worker_losses,
                    attempts=self.record.attempts,
                    error=ErrorEntry.of(error),
                    given_up=final,
                    fingerprint=self.record.inputs.fingerprint,
                )
            )

    async def write_result(self, video: Video, attempt: Attempt, *, download_began: float) -> None:
        """Write the result to the journal, and note the fingerprint for the object in S3."""
        record = self.record
        if self.remote is not None:
            self.remote.note_fingerprint(record.name, record.inputs.fingerprint)
        if self.writer is not None:
            download = PhaseSpan("download", download_began, anyio.current_time())
            spans = [*attempt.spans, download]
            await self.writer.result(video, record.inputs, record.attempts, spans)
