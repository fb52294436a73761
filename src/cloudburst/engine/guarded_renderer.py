"""Wrapper of a renderer that converts unexpected exceptions into `WorkerProtocolError`.

It also hides secrets in texts of workers: these know the URLs of the files that they fetch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace

from cloudburst.engine.defects import log_defect
from cloudburst.errors import CloudburstError, SceneError, WorkerProtocolError
from cloudburst.models.film import WorkerFilm
from cloudburst.models.locations import OutputLocation
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import (
    DownloadedVideo,
    EncodedVideo,
    OnProgress,
    OnVerified,
    Renderer,
    UploadedScene,
)
from cloudburst.ports.sending import Turn, at_once
from cloudburst.redaction import redact


@asynccontextmanager
async def guarded(connection: AbstractAsyncContextManager[Renderer]) -> AsyncGenerator[Renderer]:
    """Open a connection to a worker, and yield a renderer that raises only `CloudburstError`.

    Raises:
        CloudburstError: Error of the renderer or of the connection. Their unexpected exceptions
            become `WorkerProtocolError`; exceptions of the ``with`` block are not converted.
    """
    of_block: BaseException | None = None
    try:
        async with connection as renderer:
            try:
                yield _GuardedRenderer(renderer)
            except BaseException as exc:
                of_block = exc
                raise
    except CloudburstError:
        raise
    except Exception as exc:
        if exc is of_block:
            raise
        raise _unexpected(exc) from exc


class _GuardedRenderer:
    """Renderer that converts unexpected exceptions of another one into `WorkerProtocolError`.

    Exceptions of the caller's ``on_verified`` function are not converted.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    @property
    def has_abandoned_encode(self) -> bool:
        return self._renderer.has_abandoned_encode

    @property
    def health_failure(self) -> str:
        return redact(self._renderer.health_failure)

    async def is_healthy(self) -> bool:
        with _translated():
            return await self._renderer.is_healthy()

    async def discard_jobs(self) -> None:
        with _translated():
            await self._renderer.discard_jobs()

    async def upload(
        self,
        scene: Scene,
        options: RenderOptions,
        *,
        remote: RemoteFiles | None = None,
        turn: Turn = at_once,
    ) -> UploadedScene:
        with _translated():
            return await self._renderer.upload(scene, options, remote=remote, turn=turn)

    async def upload_film(
        self, film: WorkerFilm, *, remote: RemoteFiles, on_file: Callable[[], None]
    ) -> UploadedScene:
        with _translated():
            return await self._renderer.upload_film(film, remote=remote, on_file=on_file)

    def discard(self, upload: UploadedScene) -> None:
        try:
            self._renderer.discard(upload)
        except Exception as exc:  # noqa: BLE001 - it would replace a cancellation
            log_defect(exc, "a worker")

    async def encode(self, upload: UploadedScene, *, progress: OnProgress) -> EncodedVideo:
        with _translated():
            video = await self._renderer.encode(upload, progress=progress)
            return replace(video, warnings=tuple(map(redact, video.warnings)))

    async def download(
        self,
        output: EncodedVideo,
        to: OutputLocation,
        *,
        on_verified: OnVerified | None = None,
        remote: RemoteFiles | None = None,
    ) -> DownloadedVideo:
        of_caller: list[Exception] = []

        async def call(file: DownloadedVideo) -> None:
            try:
                if on_verified is not None:
                    await on_verified(file)
            except Exception as exc:
                of_caller.append(exc)
                raise

        try:
            return await self._renderer.download(output, to, on_verified=call, remote=remote)
        except CloudburstError as exc:
            _redact(exc)
            raise
        except Exception as exc:
            if any(exc is one for one in of_caller):
                raise
            raise _unexpected(exc) from exc


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except CloudburstError as exc:
        _redact(exc)
        raise
    except Exception as exc:
        raise _unexpected(exc) from exc


def _redact(error: CloudburstError) -> None:
    """Hide secrets in the message of an error, and in the field that a worker names."""
    error.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in error.args)
    if isinstance(error, SceneError):
        error.field = redact(error.field)


def _unexpected(exc: Exception) -> WorkerProtocolError:
    reason = redact(log_defect(exc, "a worker"))
    return WorkerProtocolError(f"talking to the worker failed: {reason:.250}")
