"""Remote files that this process gets and writes itself, for workers that cannot.

The public image gets files in the body of a request, and returns a video as the body of a
response. So each remote input is first written to a temporary file, and so is each video for S3.
No file is held in memory.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread

from cloudburst.adapters.http.fetched_files import RemoteSceneFile
from cloudburst.adapters.http.s3_delivery import VIDEO_TYPE, write_object
from cloudburst.adapters.http.transfer_retries import TransferFailedError, TransferRetries
from cloudburst.adapters.temporary_folders import temporary_folder
from cloudburst.concurrency import finish_despite_cancel, opened_in_thread
from cloudburst.errors import OutputWriteError, UploadError
from cloudburst.models.locations import AnyLocation, RemoteLocation, S3Object
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.models.transfers import FetchRequest, PutPart
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import DownloadedVideo
from cloudburst.text import describe_error
from cloudburst.transfers.client import open_transfer_client
from cloudburst.transfers.errors import TransferError
from cloudburst.transfers.fetch import fetch
from cloudburst.transfers.put import put_part

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

REMOVE_TIMEOUT = 10.0
"""Maximum number of seconds for the removal of temporary files; a disk may be slow."""
_ADVICE = "make room there, or set TMPDIR to another folder"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,15}\Z")
"""Pattern of the file name extensions that temporary files keep. The name in a URL may have any
character, such as a NUL, with which no file can be opened."""

T = TypeVar("T")


@dataclass(slots=True)
class _StagedFile:
    """Temporary file that scenes share."""

    path: Path
    complete: bool = False
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class StagedScene:
    """Scene whose remote files are temporary files, until `remove` is called."""

    def __init__(self, staged: StagedFiles, scene: Scene, options: RenderOptions) -> None:
        self.scene = scene
        """Scene whose files are all on this machine."""
        self.options = options
        """Options whose files are all on this machine."""
        self._staged = staged
        self._files: list[_StagedFile] = []

    async def remove(self) -> None:
        """Remove the temporary files that no other scene uses."""
        files, self._files = self._files, []
        await self._staged.release(files)

    async def fetch_all(self, remote: RemoteFiles | None) -> None:
        """Get the remote files of the scene, and put temporary files in their place.

        Raises:
            UploadError: A file cannot be got, or cannot be written to the temporary folder.
        """
        paths = dict[str, Path]()
        for name, location in (self.scene.files() | self.options.files()).items():
            if not isinstance(location, Path):
                assert remote is not None, "a run with remote files has access to them"
                file = RemoteSceneFile(scene=self.scene.name, field=name, location=location)
                paths[name] = await self._staged.fetch(file, remote, self._files)
        of_scene = {name: path for name, path in paths.items() if name in Scene.model_fields}
        of_options = {name: path for name, path in paths.items() if name not in of_scene}
        if of_scene:
            self.scene = self.scene.model_copy(update=of_scene)
        if of_options:
            self.options = self.options.with_files(of_options)


class StagedFiles:
    """Temporary files of one worker. A remote file is got once for scenes that use it together."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._opening = anyio.Lock()
        self._folder: Path | None = None
        self._clients: dict[bool, httpx.AsyncClient] = {}
        self._files: dict[tuple[RemoteLocation, str], _StagedFile] = {}
        self._users: Counter[Path] = Counter()
        self._number = 0

    async def stage(
        self, scene: Scene, options: RenderOptions, remote: RemoteFiles | None
    ) -> StagedScene:
        """Return the scene with temporary files in the place of its remote files.

        Raises:
            UploadError: A file cannot be got, or cannot be written to the temporary folder.
        """
        staged = StagedScene(self, scene, options)
        try:
            await staged.fetch_all(remote)
        except BaseException:
            await staged.remove()
            raise
        return staged

    async def fetch(
        self, file: RemoteSceneFile, remote: RemoteFiles, used: list[_StagedFile]
    ) -> Path:
        """Return the path of a temporary file with the content of a remote file.

        Args:
            file: The remote file.
            remote: Access to it.
            used: List to which the temporary file is added, for `release`.

        Raises:
            UploadError: The file cannot be got, or cannot be written.
        """
        try:
            folder = await self._open_folder()
        except OSError as exc:
            raise _no_room(file, exc) from exc
        key = file.location, remote.version(file.location)
        if (staged := self._files.get(key)) is None:
            self._number += 1
            found = _SUFFIX.search(file.location.name)
            name = f"{self._number}{found.group() if found else ''}"
            staged = self._files[key] = _StagedFile(folder / name)
        self._users[staged.path] += 1
        used.append(staged)
        async with staged.lock:
            if not staged.complete:
                await self._fetch_to(staged.path, file, remote)
                staged.complete = True
        return staged.path

    async def release(self, files: Sequence[_StagedFile]) -> None:
        """Remove temporary files that no scene uses any more, also if the caller is cancelled."""
        self._users.subtract(staged.path for staged in files)
        unused = {staged.path for staged in files if not self._users[staged.path]}
        for path in unused:
            del self._users[path]
        self._files = {key: one for key, one in self._files.items() if one.path not in unused}
        if unused:
            await finish_despite_cancel(
                lambda: to_thread.run_sync(_unlink_all, unused), seconds=REMOVE_TIMEOUT
            )

    async def _open_folder(self) -> Path:
        async with self._opening:
            if self._folder is None:
                self._folder = await self._stack.enter_async_context(temporary_folder())
            return self._folder

    async def _client(self, *, public_only: bool) -> httpx.AsyncClient:
        async with self._opening:
            if public_only not in self._clients:
                self._clients[public_only] = await self._stack.enter_async_context(
                    open_transfer_client(public_only=public_only)
                )
            return self._clients[public_only]

    async def _fetch_to(self, path: Path, file: RemoteSceneFile, remote: RemoteFiles) -> None:
        async def attempt(retries: TransferRetries) -> None:
            request = await remote.fetch_request(file.location)
            client = await self._client(public_only=request.public_only)
            await _fetch(path, request, retries, client)

        try:
            await _repeat(attempt)
        except TransferFailedError as exc:
            raise file.error(exc.failure) from exc
        except UploadError as exc:
            raise file.error_because(str(exc)) from exc
        except OSError as exc:
            raise _no_room(file, exc) from exc

    async def deliver(
        self, path: Path, video: DownloadedVideo, scene: str, to: S3Object, remote: RemoteFiles
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
            OutputWriteError: The bucket does not accept objects at present, or the file cannot be
                read.
        """
        client = await self._client(public_only=False)
        async with remote.delivery(
            scene, to, size=video.size, sha256=video.sha256, content_type=VIDEO_TYPE
        ) as delivery:

            async def write() -> Sequence[str]:
                async def attempt(retries: TransferRetries) -> Sequence[str]:
                    parts = await delivery.parts()
                    try:
                        return await _put(path, parts, retries, client)
                    except OSError as exc:
                        msg = (
                            f"the temporary file of the video cannot be read: {describe_error(exc)}"
                        )
                        msg += "; check the disk, or set TMPDIR to another folder"
                        raise OutputWriteError(msg, scene=scene) from exc

                return await _repeat(attempt)

            await write_object(delivery, write, scene=scene, file="video")


@asynccontextmanager
async def open_staged_files() -> AsyncGenerator[StagedFiles]:
    """Yield the temporary files of one worker; at the end, remove them all."""
    async with AsyncExitStack() as stack:
        yield StagedFiles(stack)


@asynccontextmanager
async def video_folder(scene: str) -> AsyncGenerator[Path]:
    """Yield a new temporary folder for a scene's video, and remove it with its files at the end.

    Raises:
        OutputWriteError: The folder cannot be made.
    """
    async with AsyncExitStack() as stack:
        try:
            folder = await stack.enter_async_context(temporary_folder())
        except OSError as exc:
            msg = f"no temporary folder can be made: {describe_error(exc)}; {_ADVICE}"
            raise OutputWriteError(msg, scene=scene) from exc
        yield folder


def remote_versions(
    scene: Scene, options: RenderOptions, remote: RemoteFiles | None
) -> Mapping[str, str]:
    """Return the version of each remote file of a scene, by the role of the file."""
    locations: dict[str, AnyLocation] = {**scene.files(), **options.files()}
    return {
        name: remote.version(location)
        for name, location in locations.items()
        if remote is not None and not isinstance(location, Path)
    }


def _no_room(file: RemoteSceneFile, exc: OSError) -> UploadError:
    reason = f"cannot be written to a temporary file: {describe_error(exc)}; {_ADVICE}"
    return file.error_because(reason)


async def _fetch(
    path: Path, request: FetchRequest, retries: TransferRetries, client: httpx.AsyncClient
) -> None:
    size = 0
    async with opened_in_thread(lambda: path.open("wb"), lambda file: file.close()) as target:

        async def write(block: bytes) -> None:
            nonlocal size
            await to_thread.run_sync(target.write, block)
            size += len(block)
            retries.progressed(size)

        await fetch(request, write, client=client)


async def _put(
    path: Path, parts: Sequence[PutPart], retries: TransferRetries, client: httpx.AsyncClient
) -> Sequence[str]:
    async with opened_in_thread(lambda: path.open("rb"), lambda file: file.close()) as source:

        async def read_block(offset: int, size: int) -> bytes:
            return await to_thread.run_sync(_read_at, source, offset, size)

        async def put(part: PutPart) -> str:
            def progressed(sent: int) -> None:
                retries.progressed(part.offset + sent)

            return await put_part(part, read_block, client=client, progress=progressed)

        return [await put(part) for part in parts]


def _read_at(source: IO[bytes], offset: int, size: int) -> bytes:
    source.seek(offset, os.SEEK_SET)
    return source.read(size)


def _unlink_all(paths: set[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


async def _repeat(attempt: Callable[[TransferRetries], Awaitable[T]]) -> T:
    """Repeat a transfer while its server is busy or cannot be reached, and return its result."""
    retries = TransferRetries()
    while True:
        try:
            return await attempt(retries)
        except TransferError as exc:
            logger.info("a transfer failed: %s", exc)
            await retries.wait(exc.failure)
