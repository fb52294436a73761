"""Connection to one worker, and what it uploads, encodes and downloads."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from cloudburst.models.film import WorkerFilm
from cloudburst.models.locations import OutputLocation
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.ports.remote_files import RemoteFiles


class Sending(Protocol):
    """File that is being sent to a worker, as the uplink sees it."""

    async def wait(self, sent: int) -> None:
        """Wait until the next block of the file may be sent.

        ``sent`` is the number of bytes of the file that were passed to the system so far.
        """
        ...

    def arrived(self) -> None:
        """Note that the worker has received the whole file."""
        ...


Turn: TypeAlias = Callable[[int], AbstractAsyncContextManager[Sending]]
"""Function that returns a context manager in which a file of this many bytes is sent to a worker.
The context manager first waits until it is the file's turn."""


class _SendingAtOnce:
    """File that waits for no other file."""

    async def wait(self, sent: int) -> None:
        """Return at once."""

    def arrived(self) -> None:
        """Do nothing."""


SENDING_AT_ONCE: Sending = _SendingAtOnce()
"""File that waits for no other file."""


def at_once(size: int) -> AbstractAsyncContextManager[Sending]:  # noqa: ARG001
    """Let a file be sent at once: the `Turn` of workers on this machine."""
    return nullcontext(SENDING_AT_ONCE)


OnProgress: TypeAlias = Callable[[float], None]
"""Function that is called with the finished share of an encode, from 0 to 1. The first call means
that the encode has begun. The function must not block or raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedScene:
    """Scene whose files are on a worker."""

    scene: str
    reference: str
    """Identifier of the uploaded scene on the worker."""
    sent: int
    """Number of bytes sent to the worker; files that the worker already had are not sent again, and
    files that the worker gets from a URL do not count."""
    fetched: int = 0
    """Number of bytes that the worker got from S3 and web servers; files that it already had are
    not fetched again."""
    input_hashes: Mapping[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of each input file of the video, by the role of the file: ``image``, ``audio``,
    ``subtitle``, ``watermark``, ``music`` or ``font``; of a remote file, the version that
    `RemoteFiles.version` returns. Empty if the hashes are not known."""
    audio_seconds: float = math.inf
    """Length of the audio, in seconds, from which the largest accepted size of the video is
    computed; infinite if it is not known."""
    needs_cover: bool = False
    """True if the worker must make a cover of the video."""
    is_film: bool = False
    """True for the files of a film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedFile:
    """Cover of a video, or subtitles of a film, that are ready on a worker."""

    size: int
    """Size of the file, in bytes."""
    sha256: str
    """SHA-256 of the file, in hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedVideo:
    """Video that is ready on a worker."""

    scene: str
    reference: str
    """Identifier of the video on the worker."""
    size: int
    """Size of the video, in bytes."""
    sha256: str | None
    """SHA-256 of the video, in hexadecimal; ``None`` if the worker does not report it."""
    seconds: float
    """Length of the video, in seconds; 0 if the worker does not report it."""
    warnings: tuple[str, ...] = ()
    """What differs from the inputs in the video, according to the worker."""
    shared_seconds: float = 0.0
    """Seconds for which other encoder slots of the worker have encoded parts of the video, over all
    of these slots."""
    cover: EncodedFile | None = None
    """Cover of the video; ``None`` if none was requested."""
    subtitles: EncodedFile | None = None
    """Subtitles of the film; ``None`` if it has none, and for the video of a scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedVideo:
    """Video that was verified and has its final name: on this machine, or in S3."""

    path: OutputLocation
    size: int
    """Size of the video, in bytes."""
    sha256: str
    seconds: float = 0.0
    """Length of the video according to the index in its file, in seconds; 0 if the index lacks
    it."""
    cover: OutputLocation | None = None
    """Location of the cover, which was verified as well; ``None`` if there is none."""
    cover_sha256: str | None = None
    """SHA-256 of the cover, in hexadecimal; ``None`` if there is no cover."""
    by_worker: bool = False
    """True if the worker wrote the video to S3, so that it did not pass through this machine."""


OnVerified: TypeAlias = Callable[[DownloadedVideo], Awaitable[None]]
"""Function that is awaited with a received and verified video before the video gets its final
name."""


class Renderer(Protocol):
    """Connection to one worker: uploads and encodes scenes, and downloads their videos.

    A cancelled call leaves nothing running on the worker, unless `has_abandoned_encode` is true
    afterwards.
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
        scene: Scene,
        options: RenderOptions,
        *,
        remote: RemoteFiles | None = None,
        turn: Turn = at_once,
    ) -> UploadedScene:
        """Send a scene's files to the worker, or let the worker get them.

        Args:
            scene: The scene.
            options: Options of its video.
            remote: Access to the remote files of the scene; ``None`` if it has none.
            turn: Function with which each file is sent in turn.
        """
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
        the encode.
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

        It may be called again for the same video after an `OutputWriteError`.

        Args:
            output: The video on the worker.
            to: Final location; a video on this machine is first written to another file beside it.
            on_verified: Function that is awaited before the video gets its final name.
            remote: Access to S3; ``None`` if ``to`` is on this machine.
        """
        ...


class Connect(Protocol):
    """Function that opens connections to workers."""

    def __call__(self, address: str, *, secrets: Secrets) -> AbstractAsyncContextManager[Renderer]:
        """Return a context manager that opens a connection to the worker at a base URL.

        ``secrets`` are those with which the worker was launched.
        """
        ...
