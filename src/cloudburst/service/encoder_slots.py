"""Encoder slots of the service, shared by jobs and by processes that assist them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio import CancelScope

IDLE_SECONDS = 0.5
"""Seconds for which a slot must be idle before it assists a job. The start of an assisting process
takes about as long, which would be wasted between two jobs that follow each other."""


class EncoderSlots:
    """Encoder slots, which jobs get in the order in which they ask.

    A slot that no job needs can be used to assist another job. When a job needs it, the use is
    cancelled.
    """

    def __init__(self, count: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._free = count
        self._idle_seconds = idle_seconds
        self._waiting: deque[anyio.Event] = deque()
        self._assisting: list[CancelScope] = []
        self._became_free = anyio.Event()

    @asynccontextmanager
    async def for_job(self) -> AsyncGenerator[None]:
        """Wait for a slot, and hold it during the block."""
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._release()

    @asynccontextmanager
    async def for_assistance(self) -> AsyncGenerator[None]:
        """Wait for a slot that no job needs, and hold it during the block.

        The block is cancelled, without an exception after it, when a job needs the slot.
        """
        while not self._free or not await self._stays_free():
            self._became_free = anyio.Event()
            await self._became_free.wait()
        self._free -= 1
        scope = CancelScope()
        self._assisting.append(scope)
        try:
            with scope:
                yield
        finally:
            if scope in self._assisting:
                self._assisting.remove(scope)
            self._release()

    async def _stays_free(self) -> bool:
        await anyio.sleep(self._idle_seconds)
        return self._free > 0

    async def _wait(self) -> None:
        granted = anyio.Event()
        self._waiting.append(granted)
        if self._assisting:
            self._assisting.pop().cancel()
        try:
            await granted.wait()
        except BaseException:
            if granted.is_set():
                self._release()
            else:
                self._waiting.remove(granted)
            raise

    def _release(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1
            self._became_free.set()
