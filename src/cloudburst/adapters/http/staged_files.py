"""Remote files that this process gets and writes itself, for workers that cannot.

The public image gets files in the body of a request, and returns a video as the body of a
response. So each remote input is first written to a temporary file, and so is each video for S3.
No file is held in memory.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TypeVar

from anyio import to_thread

from cloudburst.adapters.http.fetched_files import RemoteSceneFile
from cloudburst.adapters.http.s3_delivery import delivery_error
from cloudburst.adapters.http.transfer_retries import TransferFailedError, TransferRetries
from cloudburst.concurrency import finish_despite_cancel
from cloudburst.errors import UploadError
from cloudburst.models.locations import AnyLocation, S3Object
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.models.transfers import FetchRequest, PutPart, TransferProblem
from cloudburst.ports import DownloadedVideo, RemoteFiles
from cloudburst.text import describe_error
from cloudburst.transfers.client import open_transfer_client
from cloudburst.transfers.errors import TransferError
from cloudburst.transfers.fetch import fetch
from cloudburst.transfers.put import put_part

logger = logging.getLogger(__name__)

REMOVE_TIMEOUT = 10.0
"""Maximum number of seconds for the removal of temporary files; a disk may be slow."""
VIDEO_TYPE = "video/mp4"

T = TypeVar("T")


@asynccontextmanager
async def temporary_folder() -> AsyncGenerator[Path]:
    """Yield a new temporary folder, and remove it with its files at the end."""
    folder = Path(await to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="cloudburst-")))
    try:
        yield folder
    finally:
        await remove_folder(folder)


async def remove_folder(folder: Path) -> None:
    """Remove a folder with its files, also if the caller is being cancelled."""
    await finish_despite_cancel(
        lambda: to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True)),
        seconds=REMOVE_TIMEOUT,
    )


class StagedScene:
    """Scene whose remote files are in a temporary folder, until `remove` is called."""

    def __init__(self, scene: Scene, options: RenderOptions, folder: Path | None) -> None:
        self.scene = scene
        """Scene whose files are all on this machine."""
        self.options = options
        """Options whose files are all on this machine."""
        self._folder = folder

    async def remove(self) -> None:
        """Remove the temporary files of the scene."""
        folder, self._folder = self._folder, None
        if folder is not None:
            await remove_folder(folder)


async def stage_scene(
    scene: Scene, options: RenderOptions, remote: RemoteFiles | None
) -> StagedScene:
    """Get the remote files of a scene, and return the scene with temporary files in their place.

    Raises:
        UploadError: A file cannot be got, or cannot be written to the temporary folder.
    """
    locations: dict[str, AnyLocation] = {**scene.files(), **options.files()}
    wanted = {
        field: location for field, location in locations.items() if not isinstance(location, Path)
    }
    if not wanted:
        return StagedScene(scene, options, None)
    assert remote is not None, "a run with remote files has access to them"
    folder = Path(await to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="cloudburst-")))
    try:
        paths = dict[str, Path]()
        for field, location in wanted.items():
            paths[field] = folder / f"{field}{Path(location.name).suffix[:16]}"
            file = RemoteSceneFile(scene=scene.name, field=field, location=location)
            await _fetch_to(paths[field], file, remote)
    except BaseException:
        await remove_folder(folder)
        raise
    of_scene = {field: path for field, path in paths.items() if field in Scene.model_fields}
    of_options = {field: path for field, path in paths.items() if field not in of_scene}
    return StagedScene(scene.model_copy(update=of_scene), options.with_files(of_options), folder)


def remote_versions(
    scene: Scene, options: RenderOptions, remote: RemoteFiles | None
) -> Mapping[str, str]:
    """Return the version of each remote file of a scene, by the role of the file."""
    locations: dict[str, AnyLocation] = {**scene.files(), **options.files()}
    return {
        field: remote.version(location)
        for field, location in locations.items()
        if remote is not None and not isinstance(location, Path)
    }


async def _fetch_to(path: Path, file: RemoteSceneFile, remote: RemoteFiles) -> None:
    async def attempt(retries: TransferRetries) -> None:
        request = await remote.fetch_request(file.location)
        await _fetch(path, request, retries)

    try:
        await _repeat(attempt)
    except TransferFailedError as exc:
        raise file.error(exc.failure) from exc
    except OSError as exc:
        msg = f"{file.field}: {path} cannot be written: {describe_error(exc)}"
        raise UploadError(msg, scene=file.scene, field=file.field) from exc


async def _fetch(path: Path, request: FetchRequest, retries: TransferRetries) -> None:
    size = 0
    with await to_thread.run_sync(path.open, "wb") as target:

        async def write(block: bytes) -> None:
            nonlocal size
            await to_thread.run_sync(target.write, block)
            size += len(block)
            retries.progressed(size)

        async with open_transfer_client(public_only=request.public_only) as client:
            await fetch(request, write, client=client)


async def deliver_file(
    path: Path, video: DownloadedVideo, scene: str, to: S3Object, remote: RemoteFiles
) -> None:
    """Write a video of this machine to S3, and verify it there.

    Args:
        path: File of the video.
        video: The video, with its size and hash.
        scene: Name of the scene.
        to: Object to write.
        remote: Access to S3.

    Raises:
        DownloadError: The object cannot be written, or is not what was sent.
        OutputWriteError: The bucket does not accept objects at present.
    """
    async with remote.delivery(
        scene, to, size=video.size, sha256=video.sha256, content_type=VIDEO_TYPE
    ) as delivery:

        async def attempt(retries: TransferRetries) -> tuple[str, ...]:
            return await _put(path, await delivery.parts(), retries)

        try:
            etags = await _repeat(attempt)
        except TransferFailedError as exc:
            if exc.failure.problem is not TransferProblem.EXISTS:
                raise delivery_error(scene, "video", exc.failure) from exc
            etags = ()  # perhaps the answer to an earlier request was lost
        await delivery.finish(etags)


async def _put(path: Path, parts: Sequence[PutPart], retries: TransferRetries) -> tuple[str, ...]:
    with await to_thread.run_sync(path.open, "rb") as source:

        async def read_block(offset: int, size: int) -> bytes:
            return await to_thread.run_sync(_read_at, source, offset, size)

        async def put(part: PutPart) -> str:
            def progressed(sent: int) -> None:
                retries.progressed(part.offset + sent)

            return await put_part(part, read_block, client=client, progress=progressed)

        async with open_transfer_client(public_only=False) as client:
            return tuple([await put(part) for part in parts])
    raise AssertionError("unreachable: the block does not suppress exceptions")


def _read_at(source: IO[bytes], offset: int, size: int) -> bytes:
    source.seek(offset, os.SEEK_SET)
    return source.read(size)


async def _repeat(attempt: Callable[[TransferRetries], Awaitable[T]]) -> T:
    """Repeat a transfer while its server is busy or cannot be reached, and return its result."""
    retries = TransferRetries()
    while True:
        try:
            return await attempt(retries)
        except TransferError as exc:
            logger.info("a transfer failed: %s", exc)
            await retries.wait(exc.failure)
