"""Client of a worker that runs the public image: one long POST request makes a video."""

from __future__ import annotations

import binascii
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from anyio import to_thread

from cloudburst.errors import (
    EncodeError,
    KeyRefusedError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models import failures
from cloudburst.models.failures.connections import PROXY_LOST_WORKER
from cloudburst.models.file_versions import FileVersion
from cloudburst.models.film import WorkerFilm
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import OutputLocation, require_path
from cloudburst.models.scene import CheckedScene
from cloudburst.models.task import Secrets
from cloudburst.ports.remote_files import RemoteFiles
from cloudburst.ports.renderer import (
    DownloadedVideo,
    EncodedVideo,
    OnProgress,
    OnVerified,
    Turn,
    UploadedScene,
    at_once,
)
from cloudburst.text import describe_error
from cloudburst.workers.http.connection import CONNECT_TIMEOUT, HttpConnection, open_connection
from cloudburst.workers.http.public_image import (
    FIELDS,
    RequestBody,
    SceneRequest,
    convert_subtitles,
    find_unsupported,
    parse_video,
    request_options,
)
from cloudburst.workers.http.response import (
    INVALID_ANSWERS,
    REQUEST_ERRORS,
    WorkerResponse,
    fail_after,
    key_refused_error,
    read_response,
)
from cloudburst.workers.http.upload import SceneFile, hash_file
from cloudburst.workers.http.video_download import check_result, download_video, video_file

logger = logging.getLogger(__name__)

# Seconds that the public image may need for each second of audio: it encodes a video up to four
# times, and computes camera movements in Python.
MAX_ENCODE_SECONDS_PER_AUDIO_SECOND = 10.0
VIDEO_PATH = "/create_video_onestep"


def features(image: str) -> dict[str, Any]:
    """Return what backends say of workers with this image: fields of `Backend`."""
    return {
        "uses_s3": False,
        "find_unsupported": partial(find_unsupported, image=image),
        "encode_timeout_factor": MAX_ENCODE_SECONDS_PER_AUDIO_SECOND,
    }


@asynccontextmanager
async def connect(
    address: str,
    *,
    secrets: Secrets,
    timeouts: Timeouts,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncGenerator[OnestepRenderer]:
    """Open a connection to the worker at a base URL.

    Raises:
        ConfigurationError: The address, the key or the certificate cannot be used for HTTP.
    """
    async with open_connection(
        address, secrets=secrets, timeouts=timeouts, transport=transport, reuse=False
    ) as connection:
        yield OnestepRenderer(connection, has_key=bool(secrets.key))


class OnestepRenderer:
    """Client of a worker that runs the public image, which gets a scene when it encodes it."""

    def __init__(self, connection: HttpConnection, *, has_key: bool) -> None:
        self._connection = connection
        self._has_key = has_key
        self._requests: dict[str, SceneRequest] = {}
        # The public image cannot cancel an encode.
        self.has_abandoned_encode = False
        """True if the worker may still encode a scene whose response is lost."""

    @property
    def health_failure(self) -> str:
        """Reason why the last check of the worker or of the key failed; empty if it succeeded."""
        return self._connection.health_failure

    async def is_healthy(self) -> bool:
        """Return whether the worker answers that it can render; false if it does not answer."""
        health = await self._connection.check_health()
        if health and self._has_key and health.authentication.get("mode") == "default":
            logger.warning("the worker does not require the key it was given: it is open to all")
        return health is not None

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
        accepted = response.status == 400
        failed = "" if accepted else f"POST {VIDEO_PATH}: HTTP {response.status}"
        self._connection.health_failure = failed
        return accepted

    async def discard_jobs(self) -> None:
        """Do nothing: the public image cannot cancel an encode."""

    async def upload(
        self,
        scene: CheckedScene,
        *,
        remote: RemoteFiles | None = None,  # noqa: ARG002
        turn: Turn = at_once,  # noqa: ARG002
    ) -> UploadedScene:
        """Read and hash the files of a scene, which `encode` sends."""
        name_of_scene = scene.scene.name
        fields = request_options(name_of_scene, scene.options)
        files: list[tuple[str, SceneFile, FileVersion]] = []
        hashes: dict[str, str] = {}
        files_of_scene = scene.files()
        for name, field in FIELDS.items():
            if (location := files_of_scene.get(field)) is None:
                continue
            file = SceneFile(scene=name_of_scene, field=field, location=location)
            try:
                content = await hash_file(require_path(location, field))
                text = None
                if field == "subtitle":
                    text = await to_thread.run_sync(convert_subtitles, content.version)
            except OSError as exc:
                raise file.error(describe_error(exc)) from exc
            if text is None:
                files.append((name, file, content.version))
            else:
                fields[name] = binascii.b2a_base64(text, newline=False).decode("ascii")
            hashes[field] = content.sha256
        request = SceneRequest(json.dumps(fields).removesuffix("}").encode("ascii"), tuple(files))
        reference = uuid4().hex
        self._requests[reference] = request
        return UploadedScene(
            scene=name_of_scene, reference=reference, sent=request.length, input_hashes=hashes
        )

    async def upload_film(
        self,
        film: WorkerFilm,
        *,
        remote: RemoteFiles,  # noqa: ARG002
        on_file: Callable[[], None],  # noqa: ARG002
    ) -> UploadedScene:
        """Refuse a film."""
        msg = "the public image makes no films: use the image of this package"
        raise EncodeError(msg, scene=film.name)

    def discard(self, upload: UploadedScene) -> None:
        """Forget a scene that will not be encoded."""
        self._requests.pop(upload.reference, None)

    async def encode(self, upload: UploadedScene, *, progress: OnProgress) -> EncodedVideo:
        """Send a scene to the worker, which makes its video.

        If the call is cancelled after the whole request was sent, the worker continues to encode.
        """
        request = self._requests.pop(upload.reference)
        progress(0.0)
        response = await self._post(request)
        failure = failures.classify_http_status(response.status, context="onestep")
        if failure is PROXY_LOST_WORKER:
            self.has_abandoned_encode = True
        created = parse_video(response, upload.scene)
        video = EncodedVideo(
            scene=upload.scene,
            reference=created.download_endpoint,
            size=created.size,
            sha256=None,
            seconds=0.0,
        )
        check_result(video, upload)
        progress(1.0)
        return video

    async def _post(self, request: SceneRequest) -> WorkerResponse:
        retries = self._connection.new_retries()
        while True:
            body, answered = RequestBody(request), False
            try:
                response = await self._send(body, request.length)
                answered = True
            except REQUEST_ERRORS as exc:
                if not body.complete:
                    await retries.wait(exc)
                elif isinstance(exc, INVALID_ANSWERS):
                    msg = f"the worker's answers are invalid: {describe_error(exc)}"
                    raise WorkerProtocolError(msg) from exc
                else:
                    msg = f"the connection broke while the worker encoded ({describe_error(exc)})"
                    raise WorkerStoppedError(msg) from exc
            else:
                return response
            finally:
                if body.complete and not answered:
                    self.has_abandoned_encode = True

    async def _send(self, body: RequestBody, length: int) -> WorkerResponse:
        # The engine limits the time of the encode, and keep-alive detects a broken connection.
        silence = self._connection.timeouts.silence
        client = self._connection.http_client
        request = client.build_request(
            "POST",
            VIDEO_PATH,
            headers={"Content-Type": "application/json", "Content-Length": str(length)},
            timeout=httpx.Timeout(read=None, write=silence, connect=CONNECT_TIMEOUT, pool=None),
        )
        request.stream = body  # as ``content``, httpx would wrap it in a generator
        response = await client.send(request, stream=True)
        try:
            with fail_after(silence, "no complete answer"):
                return await read_response(response)
        finally:
            await response.aclose()

    async def download(
        self,
        output: EncodedVideo,
        to: OutputLocation,
        *,
        on_verified: OnVerified | None = None,
        remote: RemoteFiles | None = None,  # noqa: ARG002
    ) -> DownloadedVideo:
        """Download the video. The worker deletes its copy an hour later."""
        assert isinstance(to, Path), "a run that writes to S3 has no such worker"
        # The image writes the index last after it has drawn subtitles or moved the camera.
        source = video_file(output, output.reference, fast_start=False)
        return await download_video(self._connection, source, to, on_verified=on_verified)
