"""Responses that send a file of a job, or stream lines of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from anyio import CancelScope, current_time, move_on_after, to_thread
from anyio.abc import TaskGroup
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cloudburst.concurrency import while_connected
from cloudburst.renderer.job import RenderedFile, RenderedVideo
from cloudburst.service.config import ServiceSettings
from cloudburst.service.http_errors import RejectedRequestError, RejectionResponse
from cloudburst.service.jobs import ServiceJob

BLOCK_BYTES = 256 * 1024

_RANGE = re.compile(r"bytes=([0-9]{1,40})-([0-9]{0,40})")

# Minimum number of seconds between two lines of an event stream; lines with another state are not
# delayed.
EVENT_INTERVAL = 0.1


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the half-open range of bytes that a ``Range`` header asks for.

    ``None`` means the whole file. Raises `ValueError` if no byte of the file is in the range.
    """
    # RFC 9110 (section 14.2) lets a server ignore other forms than one range from a first byte.
    if (match := _RANGE.fullmatch(header or "")) is None:
        return None
    start, last = int(match[1]), match[2]
    if start >= size:
        msg = f"no byte of {size} is in the range {header}"
        raise ValueError(msg)
    end = min(size, int(last) + 1) if last else size
    return (start, end) if start < end else None


def _do_nothing() -> None: ...


class JobFileResponse(Response):
    """Response with a file of a job; its ``ETag`` changes whenever the file does.

    ``on_sent`` is called after the last byte was passed to the network.
    """

    def __init__(
        self,
        path: Path,
        file: RenderedFile | RenderedVideo,
        *,
        stall: float,
        media_type: str = "video/mp4",
        on_sent: Callable[[], None] = _do_nothing,
    ) -> None:
        self.body = b""
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers(
            {
                "Accept-Ranges": "bytes",
                "ETag": f'"{file.sha256}"',
                "Content-Length": str(file.size),
            }
        )
        self._path = path
        self._size = file.size
        self._stall = stall
        self._on_sent = on_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the requested bytes for as long as the reader is connected and reads."""
        asked = Headers(scope=scope)
        condition = asked.get("if-range")
        try:
            part = parse_range(
                asked.get("range") if condition in {None, self.headers["etag"]} else None,
                self._size,
            )
        except ValueError as error:
            unsatisfied = {"Content-Range": f"bytes */{self._size}"}
            await RejectionResponse({"error": str(error)}, 416, unsatisfied)(scope, receive, send)
            return
        if part:
            self.status_code = 206
            self.headers["content-range"] = f"bytes {part[0]}-{part[1] - 1}/{self._size}"
            self.headers["content-length"] = str(part[1] - part[0])
        try:
            file = await to_thread.run_sync(self._path.open, "rb")
        except FileNotFoundError:
            await RejectionResponse({"error": "this file was deleted"}, 404)(scope, receive, send)
            return
        try:
            async with while_connected(receive):
                await self._send(send, file, part or (0, self._size), scope["method"] == "HEAD")
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(file.close)

    async def _send(self, send: Send, file: IO[bytes], part: tuple[int, int], head: bool) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        at, end = part
        if head:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await to_thread.run_sync(file.seek, at)
        while at < end:
            block = await to_thread.run_sync(file.read, min(BLOCK_BYTES, end - at))
            if not block:
                msg = f"{self._path.name} is shorter than its {self._size} bytes"
                raise RuntimeError(msg)
            at += len(block)
            with move_on_after(self._stall) as stalled:
                await send({"type": "http.response.body", "body": block, "more_body": at < end})
            if stalled.cancelled_caught:
                return
        if end == self._size:
            self._on_sent()


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

    def delivered() -> None:
        job.delivered = True

    return JobFileResponse(job.video, done, stall=stall, on_sent=delivered)


def finished_video(job: ServiceJob) -> RenderedVideo:
    """Return the properties of a job's video, or raise status 409 if there is none."""
    if job.done is None:
        raise RejectedRequestError(
            409, f"there is no video: the job is {job.state}", state=job.state
        )
    return job.done
