"""Contexts of attempts: what all attempts at one scene use."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from cloudburst.engine.journal_writer import JournalWriter
from cloudburst.engine.output_folder import OutputFolder
from cloudburst.engine.pool_state import Ticket
from cloudburst.engine.scene_record import SceneRecord
from cloudburst.engine.worker_record import Attempt, PhaseSpan
from cloudburst.errors import CloudburstError
from cloudburst.models.error_entry import ErrorEntry
from cloudburst.models.fingerprint import fingerprint
from cloudburst.models.journal_entries import SceneFailureEntry
from cloudburst.models.locations import OutputLocation
from cloudburst.models.scene import CheckedScene, Video
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import Renderer, UploadedScene
from cloudburst.ports.sending import Turn

logger = logging.getLogger(__name__)

Emit: TypeAlias = Callable[..., None]
"""Function that emits an event of one scene; called with the event's class and fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptContext(ABC):
    """Settings and shared objects that all attempts at one scene or film use."""

    ticket: Ticket
    to: OutputLocation
    """Final location of the video."""
    record: SceneRecord
    emit: Emit
    max_audio_seconds: float
    """Length of the audio in seconds, or the limit for it if the length is not known."""
    output: OutputFolder
    """Output folder of the run, through which videos are downloaded."""
    remote: RemoteFiles | None = None
    """Access to the remote files of the run; ``None`` if all files are on this machine."""

    @abstractmethod
    async def upload(
        self, renderer: Renderer, on_file: Callable[[], None], turn: Turn
    ) -> UploadedScene:
        """Give a worker the files, those of this machine in turn.

        ``on_file`` is called when a file is done and others follow.
        """

    @abstractmethod
    def write_failure(self, error: CloudburstError, *, final: bool = False) -> None:
        """Add a failed attempt to the journal, without waiting until it is written.

        Args:
            error: Error of the attempt.
            final: True if no other attempt follows.
        """

    @abstractmethod
    async def write_result(
        self, video: Video, attempt: Attempt, inputs: Mapping[str, str], *, download_began: float
    ) -> None:
        """Write the result of an attempt to the journal, before the video gets its final name.

        Args:
            video: The video, with its final path.
            attempt: Attempt that made the video.
            inputs: Hashes of the files of which the video is made, by role, such as image or
                audio.
            download_began: Time at which the download began, on anyio's clock.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneContext(AttemptContext):
    """Inputs, settings and shared objects that all attempts at one scene use."""

    scene: CheckedScene
    writer: JournalWriter | None = None

    async def upload(
        self,
        renderer: Renderer,
        on_file: Callable[[], None],  # noqa: ARG002
        turn: Turn,
    ) -> UploadedScene:
        """Give a worker the files of the scene, those of this machine in turn."""
        return await renderer.upload(
            self.scene.scene, self.scene.options, remote=self.remote, turn=turn
        )

    def write_failure(self, error: CloudburstError, *, final: bool = False) -> None:
        """Add a failed attempt to the journal, without waiting until it is written.

        Args:
            error: Error of the attempt.
            final: True if no other attempt follows.
        """
        if self.writer is not None:
            # Not awaited: the scene must be back in the queue before the next scheduling decision.
            self.writer.add(
                SceneFailureEntry(
                    scene=self.record.name,
                    failures=self.record.failures,
                    worker_failures=self.record.worker_failures,
                    worker_losses=self.record.worker_losses,
                    error=ErrorEntry.of(error),
                    given_up=final,
                )
            )

    async def write_result(
        self, video: Video, attempt: Attempt, inputs: Mapping[str, str], *, download_began: float
    ) -> None:
        """Write the result of an attempt to the journal, before the video gets its final name.

        Args:
            video: The video, with its final path.
            attempt: Attempt that made the video.
            inputs: Hashes of the files of which the video is made, by role, such as image or
                audio. If a file has changed since the run began, the journal and the object in S3
                get the fingerprint of the changed files, and a warning is logged.
            download_began: Time at which the download began, on anyio's clock.
        """
        name, made_of = self.record.name, self.scene.fingerprint
        if inputs and made_of:
            made_of = fingerprint(
                name, self.scene.options, inputs, duration=self.scene.scene.duration
            )
        if made_of != self.scene.fingerprint:
            logger.warning(
                "scene %s: its files have changed since the run began; its video is made of what "
                "they were when they were sent",
                name,
            )
        if self.remote is not None:
            self.remote.note_fingerprint(name, made_of)
        if self.writer is not None:
            download = PhaseSpan("download", download_began, anyio.current_time())
            spans = [*attempt.spans, download]
            await self.writer.result(video, made_of, self.record.attempts, spans)
