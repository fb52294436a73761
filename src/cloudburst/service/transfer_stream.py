"""HTTP response that makes a transfer and streams its progress."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
from anyio import create_task_group, current_time, move_on_after
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cloudburst.models.transfers import FetchEvent, UploadEvent
from cloudburst.service.file_response import cancel_on_disconnect

PROGRESS_INTERVAL = 1.0
"""Seconds between two lines while bytes are transferred."""


class TransferStream(Response):
    """Response that makes a transfer while it is sent: one JSON object per line.

    The transfer ends when the reader disconnects. The last line has its result or failure.
    """

    media_type = "application/x-ndjson"

    def __init__(
        self,
        transfer: Callable[[], Awaitable[FetchEvent | UploadEvent]],
        progress: Callable[[], FetchEvent | UploadEvent],
        *,
        heartbeat: float,
        stall: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._transfer = transfer
        self._progress = progress
        self._heartbeat = heartbeat
        self._stall = stall
        self._result: FetchEvent | UploadEvent | None = None
        self._ended = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Make the transfer and send lines until it has ended or the reader has disconnected."""
        async with create_task_group() as tasks:
            tasks.start_soon(cancel_on_disconnect, receive, tasks.cancel_scope)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            tasks.start_soon(self._run)
            await self._lines(send)
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        self._result = await self._transfer()
        self._ended.set()

    async def _lines(self, send: Send) -> None:
        shown, sent_at = None, -math.inf
        while True:
            event = self._result or self._progress()
            if event != shown or current_time() - sent_at >= self._heartbeat:
                line = event.model_dump_json(exclude_defaults=True).encode() + b"\n"
                more = self._result is None
                with move_on_after(self._stall) as stalled:
                    await send({"type": "http.response.body", "body": line, "more_body": more})
                if stalled.cancelled_caught or not more:
                    return
                shown, sent_at = event, current_time()
            with move_on_after(min(PROGRESS_INTERVAL, self._heartbeat)):
                await self._ended.wait()
