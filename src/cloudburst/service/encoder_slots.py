"""Encoder slots of the service, for jobs and for shared encoding."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio import CancelScope

IDLE_SECONDS = 0.5
"""Seconds for which a slot must be idle before it is used for shared encoding. The start of a
process takes about as long, which would be wasted between two jobs that follow each other."""


class EncoderSlots:
    """Encoder slots, which jobs get in the order in which they ask.

    A slot that no job needs can be used for shared encoding of another job. This use is cancelled
    when a job needs the slot.
    """

    def __init__(self, count: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._free = count
        self._idle_seconds = idle_seconds
        self._waiting: deque[anyio.Event] = deque()
        self._sharing: list[CancelScope] = []
        self._freed = anyio.Event()

    @asynccontextmanager
    async def for_job(self) -> AsyncGenerator[None]:
        """Wait for a slot, and hold it during the block."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        try:
            yield
        finally:
            self._release()

    @asynccontextmanager
    async def for_shared_encoding(self) -> AsyncGenerator[None]:
        """Wait for a slot that no job needs, and hold it during the block.

        The block is cancelled, without an exception after it, when a job needs the slot.
        """
        while not await self._is_idle():
            await self._freed.wait()
        self._free -= 1
        scope = CancelScope()
        self._sharing.append(scope)
        try:
            with scope:
                yield
        finally:
            if scope in self._sharing:
                self._sharing.remove(scope)
            self._release()

    async def _is_idle(self) -> bool:
        """Return whether a slot is free now and after `IDLE_SECONDS`."""
        if self._free:
            await anyio.sleep(self._idle_seconds)
        return self._free > 0

    async def _wait(self) -> None:
        granted = anyio.Event()
        self._waiting.append(granted)
        if self._sharing:
            self._sharing.pop().cancel()
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
            return
        self._free += 1
        freed, self._freed = self._freed, anyio.Event()
        freed.set()
