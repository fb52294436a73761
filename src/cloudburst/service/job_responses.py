"""Responses that stream the states and the video of a job."""

from __future__ import annotations

import json

from anyio import current_time, move_on_after
from anyio.abc import TaskGroup
from starlette.responses import Response
from starlette.types import Send

from cloudburst.renderer.job import RenderedVideo
from cloudburst.service.file_response import JobFileResponse, LineStream
from cloudburst.service.http_errors import RejectedRequestError
from cloudburst.service.jobs import Job

EVENT_INTERVAL = 0.1
"""Minimum number of seconds between two lines of an event stream; lines with another state are not
delayed."""


class JobEventStream(LineStream):
    """Response that streams the state of a job and then each change.

    States are not queued: a slow reader gets the present state as soon as it reads again.
    """

    def __init__(self, job: Job, *, heartbeat: float, stall: float) -> None:
        super().__init__(heartbeat=heartbeat, stall=stall)
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


def video_response(job: Job, *, stall: float, headers: dict[str, str] | None = None) -> Response:
    """Return a response with the video of a finished job.

    Raises `RejectedRequestError` with status 409 if the job has no video.
    """
    done = finished_video(job)

    def delivered() -> None:
        job.delivered = True

    return JobFileResponse(
        job.video,
        size=done.size,
        sha256=done.sha256,
        stall=stall,
        on_sent=delivered,
        headers=headers,
    )


def finished_video(job: Job) -> RenderedVideo:
    """Return the properties of a job's video, or raise status 409 if there is none."""
    if job.done is None:
        raise RejectedRequestError(
            409, f"there is no video: the job is {job.state}", state=job.state
        )
    return job.done
