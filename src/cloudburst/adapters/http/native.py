"""Our own render service as a `Renderer`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from cloudburst.adapters.http.files import Hashes
from cloudburst.adapters.http.job import Job, JobRequest, MissingError, clear, forget
from cloudburst.adapters.http.line import Line, open_line
from cloudburst.adapters.http.upload import Part, Uploads
from cloudburst.adapters.http.video import Source, fetch
from cloudburst.errors import RenderFailedError
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.ports import Arrived, Download, Output, Progress, Upload

NO_LIMITS = {"BODY_BYTES": 10**15, "IMAGE_PIXELS": 10**12, "AUDIO_SECONDS": 10**9}
"""Settings of the service for workers of ours: the client has checked its files already, against
its own limits."""
DELIVERED = 2.0
"""Seconds to tell the worker that its video has arrived; if it does not hear, the video expires."""


@asynccontextmanager
async def connect(
    address: str,
    *,
    secrets: Secrets,
    timeouts: Timeouts,
    hashes: Hashes | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncGenerator[NativeRenderer]:
    """The line to the worker at a base URL.

    Args:
        address: ``https://host:port``, or ``http://`` for one without a certificate; the worker
            need not be there yet.
        secrets: What the worker was started with.
        timeouts: ``silence`` and ``call`` count here.
        hashes: Shared by the workers of a backend, so that a file is hashed once for all.
        transport: In place of the network, for tests.

    Raises:
        ConfigurationError: the address, the key or the certificate is nothing for HTTP.
    """
    async with open_line(address, secrets=secrets, timeouts=timeouts, transport=transport) as line:
        yield NativeRenderer(line, hashes or Hashes())


class NativeRenderer:
    """One worker: files by their hash, jobs with progress, videos that resume."""

    def __init__(self, line: Line, hashes: Hashes) -> None:
        self._line = line
        self._uploads = Uploads(line, hashes)

    @property
    def abandoned(self) -> bool:
        """Never: a job that is not wanted any more is taken back."""
        return False

    async def healthy(self) -> bool:
        """Whether the service answers that it is well."""
        return await self._line.health() is not None

    async def clear(self) -> None:
        """Cancel the jobs of who had the worker before; the files stay, known by their hashes.

        Raises:
            WorkerError: the worker is lost, wants another key, or cannot do that.
        """
        await clear(self._line)

    async def upload(self, scene: Scene, options: RenderOptions) -> Upload:
        """Bring the scene's files to the worker, each content once for all scenes.

        The token is the request for the job, as it will be sent.

        Raises:
            UploadError: a file cannot be read, changes, or was refused.
            WorkerError: the worker is lost or wants another key.
        """
        hashes: dict[str, str] = {}
        sent = 0
        paths = {
            "image": scene.image,
            "audio": scene.audio,
            "subtitle": scene.subtitle,
            "watermark": options.watermark,
        }
        for field, path in paths.items():
            if path is not None:
                part = Part(scene=scene.name, field=field, path=path)
                hashes[field], travelled = await self._uploads.bring(part)
                sent += travelled
        request = JobRequest(name=scene.name, options=options, **hashes)
        token = request.model_dump_json(exclude={"options": {"watermark"}})
        return Upload(scene=scene.name, token=token, sent=sent)

    async def generate(self, upload: Upload, *, progress: Progress) -> Output:
        """Make the video; a call that fails or is cancelled takes its job back.

        Raises:
            GenerateError: files or options are not right; `RenderFailedError` is retryable.
            UploadError: a file that the worker lost meanwhile cannot be sent again.
            WorkerError: the worker is lost or wants another key.
        """
        job = Job(self._line, upload.scene, upload.token)
        try:
            try:
                await job.start()
            except MissingError as exc:
                await self._bring_again(exc, upload.scene)
                await job.start()
            done = await job.done(progress)
            return Output(
                scene=upload.scene,
                token=str(job.id),
                size=done.size,
                sha256=done.sha256,
                seconds=done.seconds,
            )
        except BaseException as exc:
            await forget(self._line, job.id)
            if isinstance(exc, MissingError):
                msg = "the worker loses the scene's files as soon as it has them"
                raise RenderFailedError(msg, scene=upload.scene) from exc
            raise

    async def _bring_again(self, missing: MissingError, scene: str) -> None:
        for sha256 in missing.hashes:
            if not await self._uploads.bring_again(sha256):
                msg = f"the worker lost a file that was not sent from here: {sha256}"
                raise RenderFailedError(msg, scene=scene) from missing

    async def download(
        self, output: Output, to: Path, *, arrived: Arrived | None = None
    ) -> Download:
        """Fetch the video, then let the worker delete it; the same when the fetch fails.

        Raises:
            DownloadError: it does not arrive whole, or is not what the worker said.
            OutputWriteError: this machine cannot write it.
            WorkerError: the worker is lost or wants another key.
        """
        try:
            source = Source(output=output, path=f"/jobs/{output.token}/video")
            return await fetch(self._line, source, to, arrived=arrived)
        finally:
            await forget(self._line, output.token, within=DELIVERED)
