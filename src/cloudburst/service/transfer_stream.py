"""HTTP response that makes a transfer and streams its progress."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio
from anyio import current_time, move_on_after
from anyio.abc import TaskGroup
from starlette.types import Send

from cloudburst.models.transfers import FetchEvent, UploadEvent
from cloudburst.service.file_response import LineStream

PROGRESS_INTERVAL = 1.0
"""Seconds between two lines while bytes are transferred."""


class TransferStream(LineStream):
    """Response that makes a transfer while it is sent.

    The transfer ends when the reader disconnects. The last line has its result or failure.
    """

    def __init__(
        self,
        transfer: Callable[[], Awaitable[FetchEvent | UploadEvent]],
        progress: Callable[[], FetchEvent | UploadEvent],
        *,
        heartbeat: float,
        stall: float,
    ) -> None:
        super().__init__(heartbeat=heartbeat, stall=stall)
        self._transfer = transfer
        self._progress = progress
        self._result: FetchEvent | UploadEvent | None = None
        self._ended = anyio.Event()

    async def _run(self) -> None:
        self._result = await self._transfer()
        self._ended.set()

    async def _send_lines(self, send: Send, tasks: TaskGroup) -> None:
        tasks.start_soon(self._run)
        shown, sent_at = None, -math.inf
        while True:
            event = self._result or self._progress()
            if event != shown or current_time() - sent_at >= self._heartbeat:
                line = event.model_dump_json(exclude_defaults=True).encode()
                if not await self._send_line(send, line, more=self._result is None):
                    return
                shown, sent_at = event, current_time()
            with move_on_after(min(PROGRESS_INTERVAL, self._heartbeat)):
                await self._ended.wait()
