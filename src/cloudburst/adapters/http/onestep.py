"""Client of a worker that runs the public image: one long POST request makes a video."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import anyio
import httpx
from anyio import create_task_group
from anyio.abc import TaskGroup

from cloudburst.adapters.http.connection import HttpConnection, open_connection
from cloudburst.adapters.http.held_request import VIDEO_PATH, HeldRequest, HoldTimeoutError
from cloudburst.adapters.http.onestep_response import parse_video
from cloudburst.adapters.http.request_body import OnestepBody
from cloudburst.adapters.http.response import (
    REQUEST_ERRORS,
    InvalidAnswerError,
    WorkerResponse,
    key_refused_error,
)
from cloudburst.adapters.http.staged_files import (
    StagedFiles,
    StagedScene,
    open_staged_files,
    remote_versions,
    video_folder,
)
from cloudburst.adapters.http.upload_files import FileHasher
from cloudburst.adapters.http.video_download import VideoSource, check_video_size, download_video
from cloudburst.concurrency import collapse_single
from cloudburst.errors import EncodeError, KeyRefusedError, WorkerProtocolError, WorkerStoppedError
from cloudburst.models import failures
from cloudburst.models.film import WorkerFilm
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import OutputLocation
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import (
    DownloadedVideo,
    EncodedVideo,
    OnProgress,
    OnVerified,
    UploadedScene,
)
from cloudburst.ports.sending import SENDING_AT_ONCE, Sending, Turn, at_once
from cloudburst.text import describe_error

logger = logging.getLogger(__name__)

MAX_ENCODE_SECONDS_PER_AUDIO_SECOND = 10.0
"""Seconds that the public image may need for each second of audio: it encodes a video up to four
times, and computes camera movements in Python."""


@asynccontextmanager
async def connect(
    address: str,
    *,
    secrets: Secrets,
    timeouts: Timeouts,
    hasher: FileHasher | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncGenerator[OnestepRenderer]:
    """Open a connection to the worker at a base URL.

    Args:
        address: ``http://host:port`` or ``https://``; the worker may still be starting.
        secrets: Secrets with which the worker was started; the key is empty if it requires none.
        timeouts: Only ``silence`` and ``call`` are used; the caller limits the time of an encode.
        hasher: Hasher of input files that the workers of a backend share.
        transport: Replacement for the network in tests.

    Raises:
        ConfigurationError: The address, the key or the certificate cannot be used for HTTP.
    """
    with collapse_single():
        async with (
            open_connection(
                address, secrets=secrets, timeouts=timeouts, transport=transport, reuse=False
            ) as connection,
            open_staged_files() as files,
            create_task_group() as tasks,
        ):
            renderer = OnestepRenderer(
                connection, tasks, hasher or FileHasher(), files, has_key=bool(secrets.key)
            )
            try:
                yield renderer
            finally:
                renderer.close()


class OnestepRenderer:
    """Client of a worker that runs the public image.

    While the worker encodes a scene, the request for the next scene is sent in advance, except for
    the last bytes of its body.
    """

    def __init__(
        self,
        connection: HttpConnection,
        tasks: TaskGroup,
        hasher: FileHasher,
        files: StagedFiles,
        *,
        has_key: bool,
    ) -> None:
        self._connection = connection
        self._tasks = tasks
        self._hasher = hasher
        self._files = files
        self._has_key = has_key
        self._bodies: dict[str, OnestepBody] = {}
        self._staged: dict[str, StagedScene] = {}
        self._requests: dict[str, HeldRequest] = {}
        self._key_check = anyio.Lock()
        self._key_accepted = False
        self._abandoned_encode = False
        self._closed = False

    @property
    def has_abandoned_encode(self) -> bool:
        """True if the worker may still encode a scene whose response is lost.

        The public image cannot cancel an encode.
        """
        return self._abandoned_encode

    @property
    def health_failure(self) -> str:
        """Reason why the last check of the worker or of the key failed; empty if it succeeded."""
        return self._connection.health_failure

    async def is_healthy(self) -> bool:
        """Return whether the worker answers that it can render; false if it does not answer.

        Raises:
            WorkerUnfitError: The worker answers that it cannot render.
        """
        health = await self._connection.check_health()
        if health and self._has_key and health.authentication.get("mode") == "default":
            logger.warning("the worker does not require the key it was given: it is open to all")
        return health is not None

    async def discard_jobs(self) -> None:
        """Do nothing: the public image cannot cancel an encode."""

    async def upload(
        self,
        scene: Scene,
        options: RenderOptions,
        *,
        remote: RemoteFiles | None = None,
        turn: Turn = at_once,
    ) -> UploadedScene:
        """Send the request for a scene in advance; `encode` sends the last bytes of its body.

        Remote files are first written to temporary files.

        If the worker has not accepted the key yet, `encode` sends the whole request.

        Raises:
            UploadError: A file cannot be read, or was changed.
            WorkerError: The worker refuses the key.
        """
        async with self._key_check:
            if not self._key_accepted:
                await self.check_key()
        reference = uuid4().hex
        staged = await self._files.stage(scene, options, remote)
        bytes_sent = 0
        request: HeldRequest | None = None
        try:
            body = await OnestepBody.create(staged.scene, staged.options, self._hasher)
            if self._key_accepted:
                async with turn(body.length) as sending:
                    request = self._start_request(body, sending)
                    bytes_sent = await request.wait_until_held()
                    if request.held:
                        sending.arrived()
        except BaseException:
            if request is not None:
                request.cancel()
            await staged.remove()
            raise
        self._staged[reference], self._bodies[reference] = staged, body
        if request is not None:
            self._requests[reference] = request
        return UploadedScene(
            scene=scene.name,
            reference=reference,
            sent=bytes_sent,
            input_hashes={**body.input_hashes, **remote_versions(scene, options, remote)},
        )

    async def check_key(self) -> bool:
        """Return whether the worker accepts the key and uses this protocol.

        The client asks for a video without naming any files. A worker that accepts the key
        answers 400; a worker that refuses the key answers 401 or 403.

        Raises:
            KeyRefusedError: The worker refuses the key.
        """
        try:
            response = await self._connection.request(
                "POST",
                VIDEO_PATH,
                content=b"{}",
                headers={"Content-Type": "application/json"},
                answer_timeout=self._connection.timeouts.call,
            )
        except REQUEST_ERRORS as exc:
            self._connection.health_failure = f"POST {VIDEO_PATH}: {describe_error(exc)}"
            return False
        failure = failures.classify_http_status(response.status, context="onestep")
        if failure is not None and failure.error is KeyRefusedError:
            raise key_refused_error(response.status)
        self._key_accepted = response.status == 400
        self._connection.health_failure = (
            "" if self._key_accepted else f"POST {VIDEO_PATH}: HTTP {response.status}"
        )
        return self._key_accepted

    async def upload_film(
        self,
        film: WorkerFilm,
        *,
        remote: RemoteFiles,  # noqa: ARG002
        on_file: Callable[[], None],  # noqa: ARG002
    ) -> UploadedScene:
        """Refuse a film.

        Raises:
            EncodeError: Always: the public image makes no films.
        """
        msg = "the public image makes no films: use the image of this package"
        raise EncodeError(msg, scene=film.name)

    async def encode(self, upload: UploadedScene, *, progress: OnProgress) -> EncodedVideo:
        """Make the video of an uploaded scene.

        If the call is cancelled after the whole request was sent, the worker continues to encode.

        Raises:
            EncodeError: Files or options are invalid; or, as the retryable `RenderFailedError`,
                the render service failed.
            UploadError: A file cannot be read, was changed or is too large.
            WorkerError: The worker has stopped, refuses the key, or sends invalid answers.
        """
        body = self._bodies.pop(upload.reference)
        request = self._requests.pop(upload.reference, None)
        progress(0.0)
        try:
            response = await self._complete_request(body, request)
        finally:
            await self._staged.pop(upload.reference).remove()
        video = parse_video(response, upload.scene)
        check_video_size(video.size, upload)
        self._key_accepted = True
        progress(1.0)
        return EncodedVideo(
            scene=upload.scene,
            reference=video.download_endpoint,
            size=video.size,
            sha256=None,
            seconds=0.0,
        )

    def discard(self, upload: UploadedScene) -> None:
        """Cancel the request for a scene that will not be encoded, and remove its files."""
        self._bodies.pop(upload.reference, None)
        if (request := self._requests.pop(upload.reference, None)) is not None:
            request.cancel()
        staged = self._staged.pop(upload.reference, None)
        if staged is not None and not self._closed:
            self._tasks.start_soon(staged.remove)

    async def _complete_request(
        self, body: OnestepBody, request: HeldRequest | None
    ) -> WorkerResponse:
        """Send the rest of a request and return the response; retry if it breaks before its end."""
        retries = self._connection.new_retries()
        while True:
            request = request or self._start_request(body)
            try:
                response = await request.finish()
            except REQUEST_ERRORS as exc:
                if request.complete and isinstance(exc, InvalidAnswerError):
                    msg = f"the worker's answers are invalid: {describe_error(exc)}"
                    raise WorkerProtocolError(msg) from exc
                if request.complete:
                    msg = f"the connection broke while the worker encoded ({describe_error(exc)})"
                    raise WorkerStoppedError(msg) from exc
                if not isinstance(exc, HoldTimeoutError):
                    await retries.wait(exc)
                request = None
            else:
                failure = failures.classify_http_status(response.status, context="onestep")
                if failure is not None and failure.encode_continues:
                    self._abandoned_encode = True
                return response
            finally:
                if request is not None and request.unanswered:
                    self._abandoned_encode = True

    def close(self) -> None:
        """Cancel all requests and refuse further ones."""
        self._closed = True
        self._tasks.cancel_scope.cancel()

    def _start_request(self, body: OnestepBody, sending: Sending = SENDING_AT_ONCE) -> HeldRequest:
        if self._closed:
            msg = "the worker is being stopped"
            raise WorkerStoppedError(msg)
        request = HeldRequest(self._connection, body, sending)
        self._tasks.start_soon(request.run, name=f"cloudburst request for {body.scene}")
        return request

    async def download(
        self,
        output: EncodedVideo,
        to: OutputLocation,
        *,
        on_verified: OnVerified | None = None,
        remote: RemoteFiles | None = None,
    ) -> DownloadedVideo:
        """Download the video, through a temporary file if it is for S3.

        The worker deletes its copy an hour later.

        Raises:
            DownloadError: The video is missing or incomplete.
            OutputWriteError: This machine, or the bucket, does not accept the video.
            WorkerError: The worker has stopped or refuses the key.
        """
        # The image writes the index last after it has drawn subtitles or moved the camera.
        source = VideoSource(video=output, path=output.reference, fast_start=False)
        if isinstance(to, Path):
            return await download_video(self._connection, source, to, on_verified=on_verified)
        assert remote is not None, "a run that writes to S3 has access to it"
        async with video_folder(output.scene) as folder:
            file = await download_video(self._connection, source, folder / "video.mp4")
            video = replace(file, path=to)
            if on_verified is not None:
                await on_verified(video)
            await self._files.deliver(folder / "video.mp4", video, output.scene, to, remote)
            return video
        raise AssertionError("unreachable: the block does not suppress exceptions")
