"""Client of a worker that runs the render service of this package."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from anyio import create_task_group, move_on_after, sleep

from cloudburst.errors import OutputWriteError, RenderFailedError, WorkerStoppedError
from cloudburst.models.film import WorkerFilm
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.locations import AnyLocation, OutputLocation
from cloudburst.models.options import OPTION_FILES
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
from cloudburst.workers.http.connection import HttpConnection, open_connection
from cloudburst.workers.http.given_files import GivenFiles, give_film
from cloudburst.workers.http.job import (
    DELETE_JOB_TIMEOUT,
    JobPayload,
    MissingFilesError,
    WorkerJob,
    cancel_all_jobs,
    delete_job,
)
from cloudburst.workers.http.response import REQUEST_ERRORS, raise_for_worker_status
from cloudburst.workers.http.s3_delivery import deliver_video
from cloudburst.workers.http.upload import SceneFile
from cloudburst.workers.http.video_download import (
    WorkerFile,
    check_result,
    cover_file,
    download_video,
    video_file,
)

# Seconds to delete a downloaded video on its worker, which otherwise deletes it later.
DELETE_VIDEO_TIMEOUT = 2.0
# What backends say of workers with this protocol: fields of `cloudburst.ports.backend.Backend`.
FEATURES: Mapping[str, Any] = {"cancels_encodes": True, "queues_jobs": True, "shares_encodes": True}
# Seconds between two looks at a job that is being started while the connection is closed.
START_POLL_INTERVAL = 0.02


def service_limits(limits: Limits) -> dict[str, object]:
    """Return the settings with which a render service enforces the limits of its client.

    The client has checked only the headers of the input files, which may be wrong. The keys are
    names of environment variables of the service, without the prefix ``CLOUDBURST_``.
    """
    return {
        "BODY_BYTES": limits.file_bytes,
        "IMAGE_PIXELS": limits.image_pixels,
        "AUDIO_SECONDS": limits.decoded_audio_seconds,
    }


@asynccontextmanager
async def connect(
    address: str,
    *,
    secrets: Secrets,
    timeouts: Timeouts,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncGenerator[NativeRenderer]:
    """Open a connection to the worker at a base URL.

    Raises:
        ConfigurationError: The address, the key or the certificate cannot be used for HTTP.
    """
    async with open_connection(
        address, secrets=secrets, timeouts=timeouts, transport=transport
    ) as connection:
        yield NativeRenderer(connection)


class NativeRenderer:
    """Client of a worker with the native protocol.

    Its methods raise `EncodeError`, `UploadError` or `DownloadError` for a fault of the scene,
    `OutputWriteError` for one of this machine or the bucket, and `WorkerError` for the worker's.

    Files are identified by their hashes, jobs report their progress, and broken downloads are
    resumed.
    """

    has_abandoned_encode = False
    """Always false, because jobs that are no longer needed are cancelled on the worker."""

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._files = GivenFiles(connection)
        self._jobs: set[WorkerJob] = set()
        """Jobs that were started and are not deleted yet."""

    @property
    def health_failure(self) -> str:
        """Reason why the last check of the worker or of the key failed; empty if it succeeded."""
        return self._connection.health_failure

    async def check_key(self) -> bool:
        """Return whether the worker accepts the key and uses this protocol.

        The client asks for a file that does not exist: a worker that accepts the key answers 404.

        Raises:
            KeyRefusedError: The worker refuses the key.
        """
        path, connection = f"/files/{'0' * 64}", self._connection
        try:
            response = raise_for_worker_status(
                await connection.request("HEAD", path, answer_timeout=connection.timeouts.call)
            )
        except REQUEST_ERRORS as exc:
            connection.health_failure = f"HEAD {path}: {describe_error(exc)}"
            return False
        accepted = response.status in {200, 404}
        connection.health_failure = "" if accepted else f"HEAD {path}: HTTP {response.status}"
        return accepted

    async def is_healthy(self) -> bool:
        """Return whether the worker answers that it can render; false if it does not answer."""
        return await self._connection.check_health() is not None

    async def discard_jobs(self) -> None:
        """Cancel the jobs that an earlier process left on the worker, and keep uploaded files.

        Raises:
            WorkerError: The worker has stopped, refuses the key, or cannot cancel them.
        """
        await cancel_all_jobs(self._connection)

    async def delete_jobs(self) -> None:
        """Cancel and delete the jobs of this client that still exist, despite a cancellation.

        This is for workers that continue to run, just before their connection is closed.
        """
        async with create_task_group() as tasks:
            for job in self._jobs:
                tasks.start_soon(self._delete_when_started, job)
        self._jobs.clear()

    async def _delete_when_started(self, job: WorkerJob) -> None:
        with move_on_after(self._connection.timeouts.call, shield=True):
            while job.is_starting:  # noqa: ASYNC110 - rare, and short
                await sleep(START_POLL_INTERVAL)
        await delete_job(self._connection, job.id_at_worker)

    async def upload(
        self,
        scene: CheckedScene,
        *,
        remote: RemoteFiles | None = None,
        turn: Turn = at_once,
    ) -> UploadedScene:
        """Send the files of a scene that the worker does not have yet; it gets remote ones itself.

        The returned ``reference`` is the body of the request with which `encode` starts the job.
        """
        described, options = scene.scene, scene.drawn_options
        given = await self._files.give_all(described.name, scene.files(), remote, turn)
        hashes = {field: file.sha256 for field, file in given.items()}
        fonts = tuple(hashes.pop(role, str(font)) for role, font in options.fonts().items())
        payload = JobPayload(
            name=described.name,
            title_card=described.title_card,
            duration=described.duration,
            seams=scene.seams,
            subtitle_frame=scene.subtitle_frame,
            options=options,
            font=fonts,
            **hashes,
        )
        # The values of a caption are those of its options. With its name, the worker would set
        # those that were given as the default.
        left_out = {"caption", *OPTION_FILES}
        reference = payload.model_dump_json(exclude={"options": left_out}, exclude_defaults=True)
        return UploadedScene(
            scene=described.name,
            reference=reference,
            sent=sum(file.sent for file in given.values()),
            fetched=sum(file.fetched for file in given.values()),
            input_hashes={field: file.version for field, file in given.items()},
            needs_cover=options.cover,
        )

    async def upload_film(
        self, film: WorkerFilm, *, remote: RemoteFiles, on_file: Callable[[], None]
    ) -> UploadedScene:
        """Let the worker get the files of a film; see `upload`."""

        async def give_file(field: str, location: AnyLocation) -> tuple[str, int]:
            file = SceneFile(scene=film.name, field=field, location=location)
            given = await self._files.give(file, remote)
            return given.sha256, given.sent

        return await give_film(film, give_file, on_file)

    def discard(self, upload: UploadedScene) -> None:
        """Do nothing: the worker deletes files that no job uses after a while."""

    async def encode(self, upload: UploadedScene, *, progress: OnProgress) -> EncodedVideo:
        """Make the video of an uploaded scene or film; end the job if this fails."""
        path = "/films" if upload.is_film else "/jobs"
        job = WorkerJob(self._connection, upload.scene, upload.reference, path=path)
        self._jobs.add(job)
        try:
            try:
                await job.start()
            except MissingFilesError as exc:
                await self._files.give_again(exc.hashes, upload.scene)
                await job.start()
            video = await job.wait_until_done(progress)
            check_result(video, upload)
        except BaseException as exc:
            if job.id is not None or not isinstance(exc, WorkerStoppedError):
                # A worker that is lost before it answers is asked for nothing more.
                await self._delete(job.id_at_worker)
            if job.id_at_worker is None:
                self._jobs.discard(job)
            if isinstance(exc, MissingFilesError):
                msg = "the worker loses the scene's files immediately after their upload"
                raise RenderFailedError(msg, scene=upload.scene) from exc
            raise
        else:
            return video

    async def download(
        self,
        output: EncodedVideo,
        to: OutputLocation,
        *,
        on_verified: OnVerified | None = None,
        remote: RemoteFiles | None = None,
    ) -> DownloadedVideo:
        """Download the video and its cover, or let the worker write them to S3; then delete both.

        They are deleted on the worker even after a failure, unless the video could not be written:
        then the worker keeps it for another attempt.
        """
        keep = False
        try:
            if not isinstance(to, Path):
                assert remote is not None, "a run that writes to S3 has access to it"
                return await deliver_video(
                    self._connection, output, to, remote=remote, on_verified=on_verified
                )
            path = f"/jobs/{output.reference}"
            video = video_file(output, f"{path}/video")
            cover: WorkerFile | None = None
            if output.cover is not None:
                cover = cover_file(output.scene, output.cover, f"{path}/cover")
            return await download_video(
                self._connection, video, to, cover=cover, on_verified=on_verified
            )
        except OutputWriteError:
            keep = True
            raise
        finally:
            if not keep:
                await self._delete(output.reference, seconds=DELETE_VIDEO_TIMEOUT)

    async def _delete(self, job: str | None, *, seconds: float = DELETE_JOB_TIMEOUT) -> None:
        if job is not None and not self._connection.closed:
            await delete_job(self._connection, job, seconds=seconds)
            self._jobs = {other for other in self._jobs if other.id_at_worker != job}
