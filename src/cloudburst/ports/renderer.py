"""Connection to one worker, and what it uploads, encodes and downloads."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cloudburst.models.film import WorkerFilm
from cloudburst.models.locations import OutputLocation
from cloudburst.models.scene import CheckedScene
from cloudburst.models.task import Secrets
from cloudburst.ports.remote_files import RemoteFiles


class Sending(Protocol):
    """File that is being sent to a worker, as the uplink sees it."""

    async def wait(self, sent: int) -> None:
        """Wait until the next block of the file may be sent."""
        ...

    def arrived(self) -> None:
        """Note that the worker has received the whole file."""
        ...


# Function that returns a context manager in which a file of this many bytes is sent to a worker.
# The context manager first waits until it is the file's turn.
Turn: TypeAlias = Callable[[int], AbstractAsyncContextManager[Sending]]


class _SendingAtOnce:
    async def wait(self, sent: int) -> None:
        """Return at once."""

    def arrived(self) -> None:
        """Do nothing."""


# File that waits for no other file.
SENDING_AT_ONCE: Sending = _SendingAtOnce()


def at_once(size: int) -> AbstractAsyncContextManager[Sending]:  # noqa: ARG001
    """Let a file be sent at once: the `Turn` of workers on this machine."""
    return nullcontext(SENDING_AT_ONCE)


# Function that is called with the finished share of an encode, from 0 to 1. The first call means
# that the encode has begun. The function must not block or raise.
OnProgress: TypeAlias = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedScene:
    """Scene whose files are on a worker."""

    scene: str
    reference: str
    """Identifier of the uploaded scene on the worker."""
    sent: int
    """Number of bytes sent to the worker."""
    fetched: int = 0
    """Number of bytes that the worker got from S3 and web servers."""
    input_hashes: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of each input file, or version of a remote file, by its role, such as ``image``;
    empty if the hashes are not known."""
    audio_seconds: float = math.inf
    """Length of the audio, in seconds, for the largest accepted size of the video."""
    needs_cover: bool = False
    is_film: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFile:
    """Cover of a video, or subtitles of a film, that are ready on a worker."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedVideo:
    """Video that is ready on a worker."""

    scene: str
    reference: str
    """Identifier of the video on the worker."""
    size: int
    sha256: str | None
    """SHA-256 in hexadecimal; ``None`` if the worker does not report it."""
    seconds: float
    """Length of the video; 0 if the worker does not report it."""
    warnings: tuple[str, ...] = ()
    """Differences between video and inputs, according to the worker."""
    shared_seconds: float = 0.0
    """Seconds that all other encoder slots of the worker together have spent on the video."""
    cover: EncodedFile | None = None
    subtitles: EncodedFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedVideo:
    """Video that was verified and has its final name: on this machine, or in S3."""

    path: OutputLocation
    size: int
    sha256: str
    seconds: float = 0.0
    """Length of the video according to the index in its file; 0 if the index lacks it."""
    cover: OutputLocation | None = None
    cover_sha256: str | None = None
    by_worker: bool = False
    """True if the worker wrote the video to S3, so that it did not pass through this machine."""


# Function that is awaited with a received and verified video before the video gets its final
# name.
OnVerified: TypeAlias = Callable[[DownloadedVideo], Awaitable[None]]


class Renderer(Protocol):
    """Connection to one worker: uploads and encodes scenes, and downloads their videos.

    A cancelled call leaves nothing running on the worker, unless `has_abandoned_encode` is true.
    """

    @property
    def has_abandoned_encode(self) -> bool:
        """True if the worker still encodes a cancelled scene because it cannot stop an encode."""
        ...

    @property
    def health_failure(self) -> str:
        """Reason why the last health check failed; empty if it succeeded."""
        ...

    async def is_healthy(self) -> bool:
        """Return whether the worker passes its health check; false while it does not answer yet.

        Raises:
            KeyRefusedError: The worker does not accept the key.
            WorkerUnfitError: The worker answers that it cannot render.
        """
        ...

    async def discard_jobs(self) -> None:
        """Discard the jobs that an earlier process has left on the adopted worker."""
        ...

    async def upload(
        self,
        scene: CheckedScene,
        *,
        remote: RemoteFiles | None = None,
        turn: Turn = at_once,
    ) -> UploadedScene:
        """Send a scene's files to the worker, or let the worker get them."""
        ...

    async def upload_film(
        self, film: WorkerFilm, *, remote: RemoteFiles, on_file: Callable[[], None]
    ) -> UploadedScene:
        """Let the worker get the files of a film; `encode` and `download` then make and write it.

        Args:
            film: The film.
            remote: Access to the files of the film.
            on_file: Function that is called after each file.
        """
        ...

    def discard(self, upload: UploadedScene) -> None:
        """Discard an uploaded scene that will not be encoded. It does not wait or raise."""
        ...

    async def encode(self, upload: UploadedScene, *, progress: OnProgress) -> EncodedVideo:
        """Encode an uploaded scene or film, and return when the video is ready on the worker.

        Raises `WorkerStoppedError` with ``draining`` if the worker is stopping and has not begun
        it.
        """
        ...

    async def download(
        self,
        output: EncodedVideo,
        to: OutputLocation,
        *,
        on_verified: OnVerified | None = None,
        remote: RemoteFiles | None = None,
    ) -> DownloadedVideo:
        """Download a video or let the worker write it to S3, verify it, and name it.

        It may be called again for the same video after an `OutputWriteError`. ``on_verified`` is
        awaited before the video gets its final name.
        """
        ...


class Connect(Protocol):
    """Function that opens connections to workers."""

    def __call__(self, address: str, *, secrets: Secrets) -> AbstractAsyncContextManager[Renderer]:
        """Open a connection to the worker at a base URL."""
        ...
