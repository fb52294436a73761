"""Download of a video and its cover to their final paths, resumed when the connection breaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import httpx

from cloudburst.errors import DownloadError, RenderFailedError
from cloudburst.models import failures
from cloudburst.models.failures.connections import VIDEO_CHANGED
from cloudburst.models.scene import cover_path, max_video_bytes
from cloudburst.net.session import iter_pieces
from cloudburst.ports.renderer import (
    DownloadedVideo,
    EncodedFile,
    EncodedVideo,
    OnVerified,
    UploadedScene,
)
from cloudburst.text import describe_error, printable_line
from cloudburst.workers.http.connection import HttpConnection
from cloudburst.workers.http.download_file import DownloadFile
from cloudburst.workers.http.mp4 import find_playback_problem
from cloudburst.workers.http.response import (
    REQUEST_ERRORS,
    ErrorBody,
    UnavailableError,
    WorkerResponse,
)

# Bytes that one call in a thread writes. The overhead of such a call is about the time in which 100
# kB are written.
WRITE_BLOCK_BYTES = 256 * 1024
# Number of responses in a row without new bytes after which a download fails.
MAX_ANSWERS_WITHOUT_PROGRESS = 5
_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFile:
    """File on a worker, and the URL path from which it is downloaded."""

    name: str
    """Name of the file in errors, such as "the video of scene_1"."""
    scene: str
    path: str
    """Path of the URL."""
    size: int
    """Size of the file, in bytes."""
    sha256: str | None
    """SHA-256 of the file, in hexadecimal; ``None`` if the worker does not report it."""
    check: Callable[[BinaryIO, int], str | None]
    """Function that returns why a file of a size in bytes is not valid; ``None`` if it is."""

    def fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raise a `DownloadError` that names the file and the problem."""
        raise DownloadError(f"{self.name} {problem}", scene=self.scene) from cause


def video_file(video: EncodedVideo, path: str, *, fast_start: bool = True) -> WorkerFile:
    """Return a video on a worker.

    With ``fast_start``, it must be playable before it has arrived completely.
    """

    def check(file: BinaryIO, size: int) -> str | None:
        problem = find_playback_problem(file, size, fast_start=fast_start)
        return f"cannot be played: {problem}" if problem else None

    return WorkerFile(
        name=f"the video of {video.scene}",
        scene=video.scene,
        path=path,
        size=video.size,
        sha256=video.sha256,
        check=check,
    )


def cover_file(scene: str, cover: EncodedFile, path: str) -> WorkerFile:
    """Return the cover of a scene on a worker."""
    return WorkerFile(
        name=f"the cover of {scene}",
        scene=scene,
        path=path,
        size=cover.size,
        sha256=cover.sha256,
        check=_find_jpeg_problem,
    )


def _find_jpeg_problem(file: BinaryIO, size: int) -> str | None:
    """Return why the file is not a JPEG; ``None`` if it begins and ends like one."""
    file.seek(0)
    start = file.read(len(_JPEG_START))
    file.seek(max(0, size - len(_JPEG_END)))
    end = file.read(len(_JPEG_END))
    return None if (start, end) == (_JPEG_START, _JPEG_END) else "is not a JPEG"


def check_result(video: EncodedVideo, upload: UploadedScene) -> None:
    """Check what a worker reports of a video against its scene.

    Raises:
        RenderFailedError: The video is larger than any video with audio of this length, or lacks
            the cover that was requested.
    """
    if upload.needs_cover and video.cover is None:
        msg = "the worker reports a video without the cover that was requested"
        raise RenderFailedError(msg, scene=upload.scene)
    if video.size > (max_bytes := max_video_bytes(upload.audio_seconds)):
        msg = (
            f"the worker reports a video of {video.size} bytes; at most {max_bytes:.0f} are "
            f"possible for {upload.audio_seconds:g} s of audio"
        )
        raise RenderFailedError(msg, scene=upload.scene)


async def download_video(
    connection: HttpConnection,
    video: WorkerFile,
    to: Path,
    *,
    cover: WorkerFile | None = None,
    on_verified: OnVerified | None = None,
) -> DownloadedVideo:
    """Download a video and its cover, verify both, and rename both to their final paths.

    ``on_verified`` is awaited after both are verified and before either is renamed.
    """
    async with AsyncExitStack() as stack:
        picture: DownloadFile | None = None
        if cover is not None:
            received = _received(connection, cover, cover_path(to))
            picture = await stack.enter_async_context(received)
        file = await stack.enter_async_context(_received(connection, video, to))
        downloaded = DownloadedVideo(
            path=to,
            size=file.size,
            sha256=file.sha256,
            seconds=await file.in_thread(file.video_seconds),
            cover=None if cover is None else cover_path(to),
            cover_sha256=None if cover is None else cover.sha256,
        )
        if on_verified is not None:
            await on_verified(downloaded)
        await file.in_thread(file.rename, picture)
        return downloaded
    raise AssertionError("unreachable: the block does not suppress exceptions")


@asynccontextmanager
async def _received(
    connection: HttpConnection, source: WorkerFile, to: Path
) -> AsyncGenerator[DownloadFile]:
    """Yield the temporary file of a verified download; remove it if the block does not rename it.

    A damaged download is repeated once, which is cheaper than another render.
    """
    file = DownloadFile(source.scene, to)
    try:
        if await _receive(connection, source, file) and (
            problem := await _receive(connection, source, file)
        ):
            source.fail(problem)
        await file.in_thread(file.sync)
        yield file
    finally:
        await file.discard()


async def _receive(
    connection: HttpConnection, source: WorkerFile, file: DownloadFile
) -> str | None:
    retries, attempts_left = connection.new_retries(), MAX_ANSWERS_WITHOUT_PROGRESS
    await file.in_thread(file.open, source.size)
    while file.size < source.size:
        previous_size, answered = file.size, False
        try:
            async with connection.stream(
                source.path,
                read_timeout=connection.timeouts.silence,
                headers=(
                    {"Range": f"bytes={file.size}-", "If-Range": f'"{source.sha256}"'}
                    if file.size and source.sha256
                    else None
                ),
            ) as (response, failed):
                answered = True
                if failed is None:
                    await _write_body(response, source, file)
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
    return await file.in_thread(
        file.find_problem, size=source.size, sha256=source.sha256, check=source.check
    )


async def _handle_failure(response: WorkerResponse, source: WorkerFile, file: DownloadFile) -> None:
    failure = failures.classify_http_status(response.status, context="video")
    if failure is not VIDEO_CHANGED:
        source.fail(f"is not available: {ErrorBody.from_response(response)}")
    await file.in_thread(file.open)


async def _write_body(response: httpx.Response, source: WorkerFile, file: DownloadFile) -> None:
    etag = response.headers.get("ETag")
    if source.sha256 and etag and etag != f'"{source.sha256}"':
        source.fail(f"was replaced on its worker: {printable_line(etag)}")
    if file.size and not _continues(response, file.size):
        await file.in_thread(file.open)
    block = bytearray()
    try:
        async with aclosing(iter_pieces(response)) as body:
            async for chunk in body:
                block += chunk
                if file.size + len(block) > source.size:
                    source.fail(f"has more than the {source.size} bytes announced")
                if len(block) >= WRITE_BLOCK_BYTES:
                    await file.in_thread(file.write, block)
                    block = bytearray()
    except REQUEST_ERRORS:
        await file.in_thread(file.write, block)
        raise
    await file.in_thread(file.write, block)


def _continues(response: httpx.Response, offset: int) -> bool:
    content_range: str = response.headers.get("Content-Range", "")
    return response.status_code == 206 and content_range.startswith(f"bytes {offset}-")
