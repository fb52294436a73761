"""Responses that send a file of a job, or stream lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

from anyio import CancelScope, current_time, move_on_after
from anyio.abc import TaskGroup
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from cloudburst.concurrency import while_connected
from cloudburst.renderer.job import RenderedFile, RenderedVideo
from cloudburst.service.config import ServiceSettings
from cloudburst.service.http_errors import RejectedRequestError
from cloudburst.service.jobs import ServiceJob

# Minimum number of seconds between two lines of an event stream; lines with another state are not
# delayed.
EVENT_INTERVAL = 0.1


class JobFileResponse(FileResponse):
    """Response with a file of a job; its ``ETag`` changes whenever the file does."""

    def __init__(
        self,
        path: Path,
        file: RenderedFile | RenderedVideo,
        *,
        stall: float,
        media_type: str,  # a guess would read files on the event loop
        job: ServiceJob | None = None,
    ) -> None:
        super().__init__(path, headers={"ETag": f'"{file.sha256}"'}, media_type=media_type)
        self._stall = stall
        self._job = job
        """Job that is delivered with the end of the file."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the requested bytes for as long as the reader is connected and reads."""
        status = 0

        async def send_in_time(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            with move_on_after(self._stall) as stalled:
                await send(message)
            if stalled.cancelled_caught:
                response.cancel()
            elif message["type"] == "http.response.body" and not message.get("more_body"):
                sent = scope["method"] == "GET" and status in {200, 206}
                if sent and self._job is not None:
                    self._job.delivered = True

        with CancelScope() as response:
            await super().__call__(scope, receive, send_in_time)


class LineStream(Response):
    """Response that streams JSON objects, one per line, while its reader is connected and reads.

    There are at most `ServiceSettings.heartbeat_seconds` between two lines.
    """

    media_type = "application/x-ndjson"

    def __init__(self, settings: ServiceSettings) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._heartbeat = settings.heartbeat_seconds
        self._stall = settings.stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send lines until there are no more or the reader has disconnected."""
        async with while_connected(receive) as tasks:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_lines(send, tasks)

    async def _send_lines(self, send: Send, tasks: TaskGroup) -> None:
        raise NotImplementedError

    async def _send_line(self, send: Send, line: bytes, *, more: bool) -> bool:
        with move_on_after(self._stall) as stalled:
            await send({"type": "http.response.body", "body": line + b"\n", "more_body": more})
        return more and not stalled.cancelled_caught


class JobEventStream(LineStream):
    """Response that streams the state of a job and then each change.

    States are not queued: a slow reader gets the present state as soon as it reads again.
    """

    def __init__(self, job: ServiceJob, settings: ServiceSettings) -> None:
        super().__init__(settings)
        self._job = job

    async def _send_lines(self, send: Send, tasks: TaskGroup) -> None:  # noqa: ARG002
        while True:
            changed, ended = self._job.changed, self._job.ended.is_set()
            line = json.dumps(self._job.snapshot()).encode()
            next_state = self._job.ended if self._job.begun.is_set() else self._job.begun
            sent_at = current_time()
            if not await self._send_line(send, line, more=not ended):
                return
            with move_on_after(self._heartbeat):
                await changed.wait()
            with move_on_after(sent_at + EVENT_INTERVAL - current_time()):
                await next_state.wait()


def video_response(job: ServiceJob, *, stall: float) -> Response:
    """Return a response with the video of a finished job.

    Raises `RejectedRequestError` with status 409 if the job has no video.
    """
    done = finished_video(job)
    return JobFileResponse(job.video, done, stall=stall, media_type="video/mp4", job=job)


def finished_video(job: ServiceJob) -> RenderedVideo:
    """Return the properties of a job's video, or raise status 409 if there is none."""
    if job.done is None:
        raise RejectedRequestError(
            409, f"there is no video: the job is {job.state}", state=job.state
        )
    return job.done
