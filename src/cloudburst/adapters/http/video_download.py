"""Download of a video from a worker to its final path, resumed when the connection breaks."""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

import anyio
import httpx

from cloudburst.adapters.http.connection import HttpConnection
from cloudburst.adapters.http.download_file import DownloadFile
from cloudburst.adapters.http.mp4 import find_playback_problem
from cloudburst.adapters.http.response import (
    REQUEST_ERRORS,
    ErrorBody,
    UnavailableError,
    WorkerResponse,
    iter_chunks,
)
from cloudburst.errors import DownloadError, RenderFailedError
from cloudburst.models import failures
from cloudburst.models.scene import max_video_bytes
from cloudburst.ports.renderer import DownloadedVideo, EncodedVideo, OnVerified, UploadedScene
from cloudburst.text import describe_error, printable_line

WRITE_BLOCK_BYTES = 256 * 1024
"""Bytes that one call in a thread writes. The overhead of such a call is about the time in which
100 kB are written."""
_STRONG_ETAG = re.compile(r'"[!#-~]{0,200}"')
MIN_BYTES_PER_SECOND = 1000
"""Minimum rate of a download, averaged over ``Timeouts.silence``, in bytes per second. A slower
download fails; any usable connection is much faster."""
MAX_ANSWERS_WITHOUT_PROGRESS = 5
"""Number of responses in a row without new bytes after which a download fails."""


class FileSource(Protocol):
    """File on a worker, and the URL path from which it is downloaded."""

    @property
    def scene(self) -> str:
        """Name of the scene."""
        ...

    @property
    def path(self) -> str:
        """Path of the URL."""
        ...

    @property
    def size(self) -> int:
        """Size of the file, in bytes."""
        ...

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the file, in hexadecimal; ``None`` if the worker does not report it."""
        ...

    def fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raise a `DownloadError` that names the scene and the problem."""
        ...

    def find_problem(self, file: BinaryIO, size: int) -> str | None:
        """Return why the content of the file is not valid; ``None`` if it is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSource:
    """Video on a worker; a `FileSource`."""

    video: EncodedVideo
    path: str
    fast_start: bool = True
    """True if the video must be playable before it has arrived completely."""

    @property
    def scene(self) -> str:
        """Name of the scene."""
        return self.video.scene

    @property
    def size(self) -> int:
        """Size of the video, in bytes."""
        return self.video.size

    @property
    def sha256(self) -> str | None:
        """SHA-256 of the video, in hexadecimal; ``None`` if the worker does not report it."""
        return self.video.sha256

    def fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raise a `DownloadError` that names the scene and the problem."""
        raise DownloadError(f"the video of {self.scene} {problem}", scene=self.scene) from cause

    def find_problem(self, file: BinaryIO, size: int) -> str | None:
        """Return why the video cannot be played; ``None`` if it can."""
        problem = find_playback_problem(file, size, fast_start=self.fast_start)
        return f"cannot be played: {problem}" if problem else None


def check_video_size(size: int, upload: UploadedScene) -> None:
    """Check the size that a worker reports for a video against the length of the scene's audio.

    Raises:
        RenderFailedError: The video is larger than any video with audio of this length.
    """
    if size > (max_bytes := max_video_bytes(upload.audio_seconds)):
        msg = (
            f"the worker reports a video of {size} bytes; at most {max_bytes:.0f} are possible "
            f"for {upload.audio_seconds:g} s of audio"
        )
        raise RenderFailedError(msg, scene=upload.scene)


async def download_video(
    connection: HttpConnection,
    source: VideoSource,
    to: Path,
    *,
    on_verified: OnVerified | None = None,
    companion: DownloadFile | None = None,
) -> DownloadedVideo:
    """Download a video to a temporary file, verify it, and rename it to its final path.

    ``on_verified`` is awaited after the verification and before the rename. ``companion`` is a
    verified file that is renamed together with the video.

    Raises:
        DownloadError: The video is incomplete, or is not the one that the worker announced.
        OutputWriteError: This machine cannot write the video.
        WorkerError: The worker has stopped or refuses the key.
    """
    file = DownloadFile(source.scene, to)
    try:
        await receive_verified(connection, source, file)
        return await file.commit(on_verified, companion=companion)
    except BaseException:
        await file.discard()
        raise


async def receive_verified(
    connection: HttpConnection, source: FileSource, file: DownloadFile
) -> None:
    """Download a file of a worker to a temporary file, and verify it.

    Raises:
        DownloadError: The file is incomplete, or is not the one that the worker announced.
        OutputWriteError: This machine cannot write the file.
        WorkerError: The worker has stopped or refuses the key.
    """
    # A damaged download is repeated once, which is cheaper than another render.
    if await _receive(connection, source, file) and (
        problem := await _receive(connection, source, file)
    ):
        source.fail(problem)


async def _receive(
    connection: HttpConnection, source: FileSource, file: DownloadFile
) -> str | None:
    """Download the file, over several connections if needed; return its problem, or ``None``."""
    retries, attempts_left = connection.new_retries(), MAX_ANSWERS_WITHOUT_PROGRESS
    etag = f'"{source.sha256}"' if source.sha256 else None
    await file.open(source.size)
    while file.size < source.size:
        previous_size, answered = file.size, False
        try:
            async with connection.stream(
                source.path,
                read_timeout=connection.timeouts.silence,
                headers=_range_headers(etag, previous_size),
            ) as (response, failed):
                answered = True
                if source.sha256 is None and response.status_code == 200:
                    etag = _strong_etag(response.headers.get("ETag"))
                if failed is None:
                    await _write_body(response, source, file, _TransferRate(connection, source))
                else:
                    await _handle_failure(failed, source, file)
            error: Exception = UnavailableError("the answer ended early")
        except REQUEST_ERRORS as exc:
            error = exc
        if file.size >= source.size:
            break
        if answered:
            retries.reset()
            progressed = file.size > previous_size
            attempts_left = MAX_ANSWERS_WITHOUT_PROGRESS if progressed else attempts_left - 1
        if not attempts_left:
            reason = describe_error(error)
            source.fail(f"cannot be downloaded beyond byte {file.size}: {reason}", error)
        await retries.wait(error)
    return await file.find_problem(
        size=source.size, sha256=source.sha256, check=source.find_problem
    )


def _range_headers(etag: str | None, offset: int) -> dict[str, str]:
    return {"Range": f"bytes={offset}-", "If-Range": etag} if etag and offset else {}


def _strong_etag(etag: str | None) -> str | None:
    """Return the ETag if it is strong, which means that it identifies exact bytes; else ``None``.

    The header ``If-Range`` requires a strong ETag. The ETag must also be short and printable ASCII,
    because it is sent back to the worker in this header.
    """
    return etag if etag and _STRONG_ETAG.fullmatch(etag) else None


async def _handle_failure(response: WorkerResponse, source: FileSource, file: DownloadFile) -> None:
    """Empty the file if status 416 shows that it has changed; else raise `DownloadError`."""
    failure = failures.classify_http_status(response.status, context="video")
    if failure is None or not failure.video_changed:
        source.fail(f"is not available: {ErrorBody.from_response(response)}")
    await file.open()


class _TransferRate:
    """Check of a download's rate. Without it, a few bytes now and then would prevent a timeout."""

    def __init__(self, connection: HttpConnection, source: FileSource) -> None:
        self._connection = connection
        self._source = source
        self._restart()

    def _restart(self) -> None:
        self._since, self._bytes = anyio.current_time(), 0

    def add(self, size: int) -> None:
        """Count bytes that arrived; raise `DownloadError` if the download is too slow."""
        if self._connection.pause_detector.running_since > self._since:
            self._restart()  # this process was paused, not the worker
        self._bytes += size
        elapsed = anyio.current_time() - self._since
        if elapsed >= self._connection.timeouts.silence:
            if self._bytes < MIN_BYTES_PER_SECOND * elapsed:
                self._source.fail(f"arrives at less than {MIN_BYTES_PER_SECOND} bytes a second")
            self._restart()


async def _write_body(
    response: httpx.Response, source: FileSource, file: DownloadFile, rate: _TransferRate
) -> None:
    """Write the body of a response to the file, including the part that arrived before an error."""
    _check_etag(response, source)
    if file.size and not _continues(response, file.size):
        await file.open()
    block = bytearray()
    try:
        async with aclosing(iter_chunks(response)) as body:
            async for chunk in body:
                block += chunk
                rate.add(len(chunk))
                if file.size + len(block) > source.size:
                    source.fail(f"has more than the {source.size} bytes announced")
                if len(block) >= WRITE_BLOCK_BYTES:
                    await file.write(block)
                    block = bytearray()
    except REQUEST_ERRORS:
        await file.write(block)
        raise
    await file.write(block)


def _check_etag(response: httpx.Response, source: FileSource) -> None:
    sha256, etag = source.sha256, response.headers.get("ETag")
    if sha256 and etag and etag != f'"{sha256}"':
        source.fail(f"was replaced on its worker: {printable_line(etag)}")


def _continues(response: httpx.Response, offset: int) -> bool:
    content_range: str = response.headers.get("Content-Range", "")
    return response.status_code == 206 and content_range.startswith(f"bytes {offset}-")
