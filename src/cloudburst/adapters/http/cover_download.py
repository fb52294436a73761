"""Download of a video together with its cover, the picture beside it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from cloudburst.adapters.http.connection import HttpConnection
from cloudburst.adapters.http.download_file import DownloadFile
from cloudburst.adapters.http.video_download import VideoSource, download_video, receive_verified
from cloudburst.errors import DownloadError, RenderFailedError
from cloudburst.models.scene import cover_path
from cloudburst.ports.renderer import (
    DownloadedVideo,
    EncodedFile,
    EncodedVideo,
    OnVerified,
    UploadedScene,
)

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverSource:
    """Cover on a worker, and the URL path from which it is downloaded; a `FileSource`."""

    scene: str
    cover: EncodedFile
    path: str

    @property
    def size(self) -> int:
        """Size of the cover, in bytes."""
        return self.cover.size

    @property
    def sha256(self) -> str:
        """SHA-256 of the cover, in hexadecimal."""
        return self.cover.sha256

    def fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        """Raise a `DownloadError` that names the scene and the problem."""
        raise DownloadError(f"the cover of {self.scene} {problem}", scene=self.scene) from cause

    def find_problem(self, file: BinaryIO, size: int) -> str | None:
        """Return why the file is not a JPEG; ``None`` if it begins and ends like one."""
        file.seek(0)
        start = file.read(len(_JPEG_START))
        file.seek(max(0, size - len(_JPEG_END)), os.SEEK_SET)
        end = file.read(len(_JPEG_END))
        return None if (start, end) == (_JPEG_START, _JPEG_END) else "is not a JPEG"


def check_cover(video: EncodedVideo, upload: UploadedScene) -> None:
    """Check that a worker reports a cover if one is needed.

    Raises:
        RenderFailedError: The worker reports no cover.
    """
    if upload.needs_cover and video.cover is None:
        msg = "the worker reports a video without the cover that was requested"
        raise RenderFailedError(msg, scene=upload.scene)


async def download_with_cover(
    connection: HttpConnection,
    source: VideoSource,
    cover: CoverSource,
    to: Path,
    *,
    on_verified: OnVerified | None = None,
) -> DownloadedVideo:
    """Download a cover and its video, verify both, and rename both to their final paths.

    ``on_verified`` is awaited after both are verified and before either is renamed.

    Raises:
        DownloadError: A file is incomplete, or is not the one that the worker announced.
        OutputWriteError: This machine cannot write a file.
        WorkerError: The worker has stopped or refuses the key.
    """
    path = cover_path(to)

    def with_cover(video: DownloadedVideo) -> DownloadedVideo:
        return replace(video, cover=path, cover_sha256=cover.sha256)

    async with _received(connection, cover, path) as file:

        async def call(video: DownloadedVideo) -> None:
            if on_verified is not None:
                await on_verified(with_cover(video))

        return with_cover(
            await download_video(connection, source, to, on_verified=call, companion=file)
        )
    raise AssertionError("unreachable: the block does not suppress exceptions")


@asynccontextmanager
async def _received(
    connection: HttpConnection, cover: CoverSource, to: Path
) -> AsyncGenerator[DownloadFile]:
    """Yield the temporary file of a verified cover; remove it if the block has not renamed it."""
    file = DownloadFile(cover.scene, to)
    try:
        await receive_verified(connection, cover, file)
        await file.sync()
        yield file
    finally:
        await file.discard()
