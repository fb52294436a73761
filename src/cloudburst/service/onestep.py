"""The protocol of the public image: one call in, one video out (base64 in JSON)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from urllib.parse import quote
from uuid import uuid4

from anyio import CancelScope, CapacityLimiter, create_task_group, current_time, move_on_after
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from cloudburst.service import body
from cloudburst.service.download import cancel_on_disconnect
from cloudburst.service.job import FAULT_EXIT
from cloudburst.service.jobs import Job
from cloudburst.service.native import job_video
from cloudburst.service.refusal import RefusedError, answer_refused
from cloudburst.service.service import Service
from cloudburst.service.unpack import BODY, Unpacked, UnpackLine

log = logging.getLogger("cloudburst.service")

UNPACK = (sys.executable, "-m", "cloudburst.service.unpack")
"""The command that turns a body into a job's files; its last argument is the folder."""


class Onestep:
    """The endpoints that the public image has."""

    def __init__(self, service: Service, *, unpack: Sequence[str] = UNPACK) -> None:
        self._service = service
        self._settings = service.settings
        self._unpack = unpack
        self._unpacking = CapacityLimiter(service.settings.encoders)

    async def create(self, request: Request) -> Response:
        """Make a video, and answer when it is there. A caller who leaves ends the work."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedError(415, "send JSON, with Content-Type: application/json")
        settings, limit = self._settings, self._settings.body_bytes
        self._service.check_queue()
        # For the body, and beside it what comes out of it.
        await self._service.make_room(2 * (body.announced(request, limit) or 0))
        async with self._service.draft(str(uuid4()), attachment="output.mp4") as job:
            await body.into_file(
                request, job.folder / BODY, limit=limit, stall=settings.stall_seconds
            )
            answer: Response | None = None
            async with create_task_group() as tasks:
                tasks.start_soon(cancel_on_disconnect, request.receive, tasks.cancel_scope)
                try:
                    answer = await self._made(job)
                except RefusedError as error:
                    answer = await answer_refused(request, error)
                tasks.cancel_scope.cancel()
            if answer is None:
                raise ClientDisconnect
            return answer

    async def download(self, request: Request) -> Response:
        """The video that a create call told of."""
        job = self._service.jobs.find(request.path_params["id"])
        if job is None or job.attachment is None or job.done is None:
            raise RefusedError(404, "File not found")
        if current_time() - job.touched > self._settings.keep_seconds:
            raise RefusedError(404, "File expired")
        name = quote(job.attachment, safe="")
        return job_video(
            job,
            stall=self._settings.stall_seconds,
            headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
        )

    async def cleanup(self, _: Request) -> Response:
        """Delete what has expired, and say what is left."""
        cleaned = await self._service.jobs.expire(self._settings.keep_seconds)
        left = [job for job in self._service.jobs.all() if job.done and job.attachment]
        return JSONResponse({"cleaned": cleaned, "active_files": len(left)})

    async def _made(self, job: Job) -> Response:
        unpacked = await self._unpacked(job)
        job.attachment = unpacked.filename
        # The id, because here the effect is drawn anew for each call.
        await self._service.submit(job, name=job.id, options=unpacked.options)
        try:
            await job.ended.wait()
        finally:
            with CancelScope(shield=True):
                await self._service.jobs.cancel(job)
        if job.done is None:
            status = 400 if job.fault else 503 if job.state == "interrupted" else 500
            raise RefusedError(status, job.error or f"the job was {job.state}")
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

    async def _unpacked(self, job: Job) -> Unpacked:
        last = UnpackLine()

        def hear(line: bytes) -> None:
            nonlocal last
            try:
                last = UnpackLine.model_validate_json(line)
            except ValidationError:
                log.warning("job %s: its unpacking said %r", job.id, line[:200])

        ended = None
        async with self._unpacking:
            with move_on_after(self._settings.scene_seconds):
                ended = await self._service.children.run([*self._unpack, str(job.folder)], hear)
        if ended and ended.code == 0 and last.unpacked:
            return last.unpacked
        if ended and ended.code == FAULT_EXIT and last.fault:
            fault = last.fault
            raise RefusedError(400, f"{fault.field}: {fault.found}; expected {fault.expected}")
        log.error("job %s: unpacking ended with %s", job.id, ended)
        raise RefusedError(500, "the body could not be unpacked")
