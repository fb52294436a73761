"""The native protocol; docs/protocol.md tells it to people who write another client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

from anyio import Lock, create_task_group, current_time, move_on_after
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import checked_name
from cloudburst.service import body
from cloudburst.service.download import FileAnswer, cancel_on_disconnect
from cloudburst.service.job import AUDIO, IMAGE, SUBTITLE, WATERMARK
from cloudburst.service.jobs import Job
from cloudburst.service.refusal import RefusedError, found
from cloudburst.service.service import Service
from cloudburst.service.store import MissingContentError

REQUEST_BYTES = 64 * 1024
"""A job's description is a name, four hashes and some options."""

EVENT_SECONDS = 0.1
"""The least time between two lines of an event stream, but for the last."""

_SHA256 = re.compile("[0-9a-f]{64}")
_TOKEN = re.compile("[0-9a-f]{32}")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")]


def _without_watermark(options: RenderOptions) -> RenderOptions:
    if options.watermark is not None:
        msg = "no path: a watermark is named by its hash, beside the options"
        raise ValueError(msg)
    return options


class JobRequest(BaseModel):
    """What ``POST /jobs`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(checked_name)]
    image: Sha256
    audio: Sha256
    subtitle: Sha256 | None = None
    watermark: Sha256 | None = None
    options: Annotated[RenderOptions, AfterValidator(_without_watermark)] = RenderOptions()

    def contents(self) -> Mapping[str, str]:
        """File name in the job's folder → hash."""
        named = {
            IMAGE: self.image,
            AUDIO: self.audio,
            SUBTITLE: self.subtitle,
            WATERMARK: self.watermark,
        }
        return {name: sha for name, sha in named.items() if sha is not None}


class Native:
    """The endpoints of the native protocol."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings
        self._posting = Lock()

    async def head_file(self, request: Request) -> Response:
        """Whether a content is here."""
        return Response(status_code=200 if self._service.store.knows(_sha256(request)) else 404)

    async def put_file(self, request: Request) -> Response:
        """Take a content."""
        sha, store = _sha256(request), self._service.store
        limit, stall = self._settings.body_bytes, self._settings.stall_seconds
        if store.knows(sha):
            await body.to_nowhere(request, limit=limit, stall=stall)
            return JSONResponse({"sha256": sha}, 200)
        await self._service.make_room(body.announced(request, limit) or 0)
        async with store.partial() as path:
            received = await body.into_file(request, path, limit=limit, stall=stall)
            if received.sha256 != sha:
                raise RefusedError(400, "the content has another hash", sha256=received.sha256)
            fresh = await store.adopt(path, sha)
        return JSONResponse({"sha256": sha}, 201 if fresh else 200)

    async def post_job(self, request: Request) -> Response:
        """Put a scene in the queue."""
        asked = _parsed(
            await body.into_memory(request, limit=REQUEST_BYTES, stall=self._settings.stall_seconds)
        )
        ident = _idempotency_key(request) or uuid4().hex
        async with self._posting:  # the same request, sent again, must find the first one's job
            if (job := self._service.jobs.get(ident)) is not None:
                return _named(job, 200)
            return _named(await self._submitted(ident, asked), 201)

    async def _submitted(self, ident: str, asked: JobRequest) -> Job:
        self._service.check_queue()
        await self._service.make_room(0)
        async with self._service.draft(ident) as job:
            try:
                await self._service.store.link(asked.contents(), job.folder)
            except MissingContentError as error:
                raise RefusedError(
                    409, "upload these contents first", missing=error.missing
                ) from None
            await self._service.submit(job, name=asked.name, options=asked.options)
        return job

    async def get_job(self, request: Request) -> Response:
        """What is known of a job."""
        return JSONResponse(self._job(request).snapshot())

    async def get_events(self, request: Request) -> Response:
        """A job's changes as they come."""
        return EventStream(
            self._job(request),
            heartbeat=self._settings.heartbeat_seconds,
            stall=self._settings.stall_seconds,
        )

    async def get_video(self, request: Request) -> Response:
        """The finished video."""
        job = self._job(request)
        if job.done is None:
            raise RefusedError(409, f"there is no video: the job is {job.state}", state=job.state)
        return job_video(job, stall=self._settings.stall_seconds)

    async def delete_job(self, request: Request) -> Response:
        """Cancel a job that is not done, or delete one that has ended."""
        job = self._job(request)
        if job.ended.is_set():
            await self._service.jobs.forget(job)
        else:
            await self._service.jobs.cancel(job)
        return Response(status_code=204)

    async def delete_jobs(self, request: Request) -> Response:  # noqa: ARG002
        """Cancel all jobs that are not done, and delete those that have ended."""
        async with self._posting:  # none may come in between
            await self._service.jobs.drop(lambda job: job.attachment is None)
        return Response(status_code=204)

    def _job(self, request: Request) -> Job:
        job = self._service.jobs.get(request.path_params["id"])
        if job is None or job.attachment is not None:
            raise RefusedError(404, "no such job")
        return job


class EventStream(Response):
    """The present state of a job, then each change, one JSON object a line.

    Nothing is queued for a reader: whenever it can take a line it gets the state of then.
    """

    media_type = "application/x-ndjson"

    def __init__(self, job: Job, *, heartbeat: float, stall: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._job = job
        self._heartbeat = heartbeat
        self._stall = stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send lines until the job has ended or nobody reads."""
        async with create_task_group() as tasks:
            tasks.start_soon(cancel_on_disconnect, receive, tasks.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._lines(send)
            tasks.cancel_scope.cancel()

    async def _lines(self, send: Send) -> None:
        ended = False
        while not ended:
            changed, ended = self._job.changed, self._job.ended.is_set()
            line = json.dumps(self._job.snapshot()).encode() + b"\n"
            sent_at = current_time()
            with move_on_after(self._stall) as stalled:
                await send({"type": "http.response.body", "body": line, "more_body": not ended})
            if ended or stalled.cancelled_caught:
                return
            with move_on_after(self._heartbeat):
                await changed.wait()
            with move_on_after(sent_at + EVENT_SECONDS - current_time()):
                await self._job.ended.wait()


def job_video(job: Job, *, stall: float, headers: dict[str, str] | None = None) -> Response:
    """The video of a job that is done."""
    if job.done is None:
        raise RefusedError(409, f"there is no video: the job is {job.state}", state=job.state)

    def delivered() -> None:
        job.delivered = True

    return FileAnswer(
        job.video,
        size=job.done.size,
        sha256=job.done.sha256,
        stall=stall,
        on_sent=delivered,
        headers=headers,
    )


def _sha256(request: Request) -> str:
    sha: str = request.path_params["sha256"]
    if not _SHA256.fullmatch(sha):
        raise RefusedError(
            400,
            "a content is named by its SHA-256",
            field="sha256",
            found=found(sha),
            expected="64 digits of lower-case hexadecimal",
        )
    return sha


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _TOKEN.fullmatch(key):
        raise RefusedError(
            400,
            "the Idempotency-Key becomes the id of the job",
            field="Idempotency-Key",
            found=found(key),
            expected="32 digits of lower-case hexadecimal",
        )
    return key


def _named(job: Job, status: int) -> Response:
    location = {"Location": f"/jobs/{job.id}"}
    return JSONResponse({"id": job.id, "state": job.state}, status, location)


def _parsed(raw: bytes) -> JobRequest:
    try:
        data: Any = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise RefusedError(
            400, f"not JSON: {error}", field="", found=found(raw[:80]), expected="a JSON object"
        ) from error
    try:
        return JobRequest.model_validate(data)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> RefusedError:
    """The first thing that is wrong, in our words' shape."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"]))
    shown = "nothing" if first["type"] == "missing" else found(first["input"])
    return RefusedError(
        400,
        f"{field or 'the request'}: {first['msg']}",
        field=field,
        found=shown,
        expected=first["msg"],
    )
