"""Endpoints of the onestep protocol, that of the public image: one request makes one video."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from urllib.parse import quote
from uuid import uuid4

from anyio import CancelScope, CapacityLimiter, current_time, move_on_after
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cloudburst.concurrency import while_connected
from cloudburst.renderer.job import INPUT_FAULT_EXIT_CODE, JobOptions, RenderJob
from cloudburst.service import request_body
from cloudburst.service.http_errors import RejectedRequestError, respond_to_rejection
from cloudburst.service.jobs import ServiceJob
from cloudburst.service.responses import video_response
from cloudburst.service.service import RenderService
from cloudburst.service.unpack import BODY_FILE, Unpacked, UnpackLine

log = logging.getLogger("cloudburst.service")

# Command that turns a request body into a job's files; the job's folder is appended as the last
# argument.
UNPACK_COMMAND = (sys.executable, "-m", "cloudburst.service.unpack")


class OnestepApi:
    """Endpoints of the onestep protocol, that of the public image."""

    def __init__(self, service: RenderService, *, unpack: Sequence[str] = UNPACK_COMMAND) -> None:
        self._service = service
        self._settings = service.settings
        self._unpack = unpack
        self._unpacking = CapacityLimiter(service.settings.encoders)

    async def create(self, request: Request) -> Response:
        """Make a video and answer when it is finished. A caller that disconnects cancels it."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RejectedRequestError(415, "send JSON, with Content-Type: application/json")
        settings, limit = self._settings, self._settings.body_bytes
        self._service.jobs.check_accepts()
        size = request_body.content_length(request, limit) or 0
        store = self._service.store
        await store.ensure_room(2 * size)  # for the body, and the same again for its files
        async with self._service.draft_job(str(uuid4()), attachment="output.mp4") as job:
            received = await request_body.read_to_file(
                request, job.folder / BODY_FILE, store, limit=limit, stall=settings.stall_seconds
            )
            await store.ensure_room(received.size)
            answers = list[Response]()
            async with while_connected(request.receive):
                try:
                    answers.append(await self._made(job))
                except RejectedRequestError as error:
                    answers.append(await respond_to_rejection(request, error))
            if not answers:
                raise ClientDisconnect
            return answers[0]

    async def download(self, request: Request) -> Response:
        """Return the video of an earlier create request."""
        job, keep = self._service.jobs.find(request.path_params["id"]), self._settings.keep_seconds
        if not (job and job.attachment and job.done and current_time() - job.touched <= keep):
            raise HTTPException(404, "File not found")  # not logged, because no key is needed
        name = quote(job.attachment, safe="")
        return video_response(
            job,
            stall=self._settings.stall_seconds,
            headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
        )

    async def cleanup(self, _: Request) -> Response:
        """Delete expired jobs and report the number of videos that are left."""
        cleaned = await self._service.jobs.expire(self._settings.keep_seconds)
        left = [job for job in self._service.jobs.all() if job.done and job.attachment]
        return JSONResponse({"cleaned": cleaned, "active_files": len(left)})

    async def _made(self, job: ServiceJob) -> Response:
        unpacked = await self._unpacked(job)
        job.attachment = unpacked.filename
        # The id instead of a name: onestep chooses another random effect for each call.
        options = JobOptions.from_options(unpacked.options)
        await self._service.submit(job, RenderJob(name=job.id, options=options))
        try:
            await job.ended.wait()
        finally:
            with CancelScope(shield=True):
                await self._service.jobs.cancel(job)
        if job.done is None:
            status = 400 if job.fault else 503 if job.state == "interrupted" else 500
            raise RejectedRequestError(status, job.error or f"the job was {job.state}")
        return JSONResponse(
            {
                "success": True,
                "file_id": job.id,
                "download_endpoint": f"/download/{job.id}",
                "filename": job.attachment,
                "size": job.done.size,
                "scenario": job.done.scenario,
            }
        )

    async def _unpacked(self, job: ServiceJob) -> Unpacked:
        last = UnpackLine()

        def on_line(line: bytes) -> None:
            nonlocal last
            try:
                last = UnpackLine.model_validate_json(line)
            except ValidationError:
                log.warning(
                    "job %s: unexpected output of the unpack process: %r", job.id, line[:200]
                )

        ended = None
        async with self._unpacking:
            with move_on_after(self._settings.scene_seconds):
                ended = await self._service.subprocesses.run(
                    [*self._unpack, str(job.folder)], on_line
                )
        if ended and ended.code == 0 and last.unpacked:
            return last.unpacked
        if ended and ended.code == INPUT_FAULT_EXIT_CODE and last.fault:
            raise RejectedRequestError(400, str(last.fault))
        log.error("job %s: the unpack process exited: %s", job.id, ended)
        raise RejectedRequestError(500, "the body could not be unpacked")
