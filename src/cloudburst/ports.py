"""Ports of the engine: interfaces through which it uses backends, workers and journals."""

from __future__ import annotations

import math
import secrets as random_secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeAlias

from cloudburst.errors import SceneFault
from cloudburst.models.film import WorkerFilm
from cloudburst.models.journal_entries import Entry
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import OutputLocation, RemoteLocation, S3Object, S3Prefix
from cloudburst.models.options import RenderOptions
from cloudburst.models.performance import UNKNOWN_PERFORMANCE, Performance
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import CheckedScene, Scene, Video
from cloudburst.models.task import FoundTask, LaunchRequest, Secrets, TaskId, TaskStatus
from cloudburst.models.tier import Tier
from cloudburst.models.transfers import FetchRequest, PutPart

OnProgress: TypeAlias = Callable[[float], None]
"""Function that is called with the finished share of an encode, from 0 to 1. The first call means
that the encode has begun. The function must not block or raise."""


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


class OnWorker(Protocol):
    """Function that makes a film on a worker of the run."""

    async def __call__(
        self, film: WorkerFilm, remote: RemoteFiles, on_progress: OnProgress, /
    ) -> None:
        """Make a film on a worker, which gets its videos and writes it to S3.

        ``remote`` is the access to the files of the film. Raises `FilmError` if the film cannot be
        made.
        """
        ...


class FilmMaker(Protocol):
    """Maker of the film of a run."""

    @property
    def needs_worker(self) -> bool:
        """True if a worker makes the film, so that the last worker of the run is kept for it."""
        ...

    async def make(
        self, videos: Sequence[Video], on_progress: OnProgress, on_worker: OnWorker
    ) -> tuple[OutputLocation, bool]:
        """Make the film of the finished videos, in their order.

        Return its location, and true if it was made earlier from the same videos.

        Args:
            videos: Finished videos.
            on_progress: Function that is called with the finished share of the film.
            on_worker: Function that makes the film if a worker makes it.

        Raises:
            FilmError: No film can be made of the videos.
        """
        ...


class Launcher(Protocol):
    """Part of a backend that starts and stops tasks. Every call can safely be repeated."""

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Start a task and return its identifier.

        A repeated request with the same token returns the task that the first request started.
        """
        ...

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:
        """Return the status of a task.

        Args:
            task: Identifier of the task.
            refresh: True to ask the backend again instead of using its last answer.
        """
        ...

    async def stop(self, task: TaskId, *, reason: str) -> None:
        """Request the stop of a task, and return when the request is accepted.

        A task that has already stopped is not an error.
        """
        ...

    async def find(self, run: str) -> Sequence[FoundTask]:
        """Return the tasks that were started for a run, by this process or an earlier one.

        Stopped tasks are included for as long as the backend remembers them. The returned tasks can
        be passed to `describe` and `stop`.
        """
        ...

    async def post_mortem(self, task: TaskId) -> str | None:
        """Return a text without secrets that explains why a task failed.

        Return ``None`` if nothing is known about the failure.
        """
        ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeAnswer:
    """Part of a remote file, and what the server says about the file."""

    data: bytes
    """Bytes of the requested range; fewer if the file ends within it, none if the server does not
    send parts of files other than the first."""
    file: RemoteFile
    """The file at the time of the answer."""


class RangeReader(Protocol):
    """Access to parts of remote files, for the check before a run."""

    async def read(self, location: RemoteLocation, start: int, end: int) -> RangeAnswer:
        """Return the bytes of a file from ``start`` up to, but not including, ``end``.

        ``start`` is 0, or within the file.

        Raises:
            InvalidInputError: The file cannot be read. Its ``expected`` may be empty: then a file
                of the right kind is expected.
            CloudburstError: No file can be read, for example because there are no credentials.
        """
        ...


class FolderReader(RangeReader, Protocol):
    """Access to folders in S3 and to their files, for reading scenes."""

    async def list_names(self, folder: S3Prefix) -> Sequence[str]:
        """Return the names of the files directly in a folder; there are none if it is missing.

        Raises:
            InvalidInputError: The folder cannot be listed.
            CloudburstError: No folder can be listed, for example because there are no credentials.
        """
        ...


class Delivery(Protocol):
    """Delivery of one file to S3. The object appears whole or not at all."""

    async def parts(self) -> Sequence[PutPart]:
        """Return the requests that write the file, with freshly signed URLs.

        It is called again when the URLs have expired.
        """
        ...

    async def check_accepted(self) -> None:
        """Check that S3 accepts an object from this machine, although it refuses those of a worker.

        Raises:
            OutputWriteError: S3 refuses it as well.
        """
        ...

    async def is_written(self) -> bool:
        """Return whether an object that was in the way of the file is the file itself, verified.

        That is so if the answer to an earlier request was lost. If an earlier attempt at the scene
        in this run has written another video, return false: `parts` then returns requests that
        replace the object.

        Raises:
            DownloadError: Another program has written the object.
            OutputWriteError: The bucket cannot be read at present.
            CredentialsError: The credentials have expired, and there are no newer ones.
        """
        ...

    async def finish(self, etags: Sequence[str]) -> None:
        """Complete the object of its written parts, and verify its size and checksum.

        Args:
            etags: ETag of each part.

        Raises:
            DownloadError: The object is not the file that was sent, or another program has written
                an object of the same key.
            OutputWriteError: The bucket does not accept the object at present.
            CredentialsError: The credentials have expired, and there are no newer ones.
        """
        ...


class RemoteFiles(Protocol):
    """Files of one run that are in S3 or on web servers: its inputs, and its videos."""

    def version(self, location: RemoteLocation) -> str:
        """Return the version of an input that was checked before the run.

        It stands for the content of the file in fingerprints.
        """
        ...

    async def fetch_request(self, location: RemoteLocation) -> FetchRequest:
        """Return a request that gets the checked version of an input, with a freshly signed URL.

        Raises:
            CredentialsError: The credentials have expired, and there are no newer ones.
            UploadError: The URL cannot be signed for another reason.
        """
        ...

    def delivery(
        self, scene: str, to: S3Object, *, size: int, sha256: str, content_type: str
    ) -> AbstractAsyncContextManager[Delivery]:
        """Return a context manager of the delivery of a scene's video or cover.

        A delivery that is not finished leaves nothing in the bucket.

        Args:
            scene: Name of the scene.
            to: Object to write.
            size: Size of the file, in bytes.
            sha256: SHA-256 of the file, in hexadecimal.
            content_type: Media type of the file.
        """
        ...


class Renderer(Protocol):
    """Connection to one worker: uploads and encodes scenes, and downloads their videos.

    A cancelled call leaves nothing running on the worker, unless `has_abandoned_encode` is true
    afterwards.
    """

    @property
    def has_abandoned_encode(self) -> bool:
        """True if the worker still encodes a cancelled scene because it cannot stop an encode."""
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


def new_key() -> Secrets:
    """Return secrets with a random key but no certificate, for a worker on plain HTTP."""
    return Secrets(key=random_secrets.token_urlsafe(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Place where tasks run, with the functions that start them and connect to their workers."""

    name: str
    """Name of the backend in reports and events: ``local``, ``fargate``…"""
    launcher: Launcher
    connect: Connect
    capacity: int | None = None
    """Maximum number of tasks that the backend can run at once; ``None``: only the client's limit
    counts."""
    encoder_slots: int = 1
    """Number of scenes that one task encodes at once."""
    shares_uplink: bool = False
    """True if files are sent to the workers over this machine's line, which all of them share."""
    new_secrets: Callable[[], Secrets] = new_key
    """Function that creates the secrets of a new launch request; it must not block."""
    kind: str = ""
    """Name under which measured times of the backend's workers are kept for later runs on this
    machine: place, size and protocol, as in ``fargate STANDARD native``. Empty: they are not
    kept."""
    performance: Performance = UNKNOWN_PERFORMANCE
    """Times of start-up, encode, transfer and stop that are assumed until they are measured."""
    architecture: str | None = None
    """Processor architecture that was chosen for the tasks and the reason, for the report; ``None``
    if there was no choice."""
    eager: bool = False
    """True if a worker is started for every waiting scene, up to ``Limits.workers``, even if it is
    not worth its price: for callers that have planned the number of workers."""
    cancels_encodes: bool = False
    """True if a worker can stop an encode on request."""
    queues_jobs: bool = False
    """True if a worker queues scenes that it is asked to encode while all its encoder slots are in
    use."""
    usd_per_second: Decimal = Decimal()
    """Expected price of one task, in USD per second; 0 if nothing is billed."""
    max_usd_per_second: Decimal = Decimal()
    """Price of the most expensive task that may be started in place of the usual one if AWS lacks
    capacity, in USD per second; 0 if there are no such fallbacks."""
    lifetime: float | None = None
    """Seconds from the first successful health check of a worker until its task ends by itself;
    ``None``: the task does not end by itself."""
    find_unsupported: Callable[[CheckedScene], Sequence[SceneFault]] | None = None
    """Function that returns a fault for each option of a scene that the workers cannot render;
    ``None``: they can render everything."""
    encode_timeout_factor: float = 0.0
    """Encode timeout of workers that report no progress, in seconds per second of audio; one
    minute is added. If ``Timeouts.scene`` is longer, it is used instead of this timeout. 0: the
    workers report progress."""


class Journal(Protocol):
    """Journal of a run, from which another process can resume the run."""

    def now(self) -> float:
        """Return the time of the journal's clock, in seconds since the epoch."""
        ...

    async def write(self, *entries: Entry) -> None:
        """Write entries, and return when they would survive a power failure."""
        ...

    async def save_file(self, name: str, text: str) -> Path:
        """Write a text file to the run's folder beside its journal, and return its path."""
        ...


OpenBackend: TypeAlias = Callable[[Timeouts, Tier], AbstractAsyncContextManager[Backend]]
"""Function that gets the client's timeouts and tier and returns a context manager of a backend. The
backend is opened and closed with the client."""
