"""Asyncio event loop with a virtual clock, on which hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Event loop whose clock jumps to the next timer when no callback is ready.

    Use it as anyio's ``loop_factory``; trio has ``trio.testing.MockClock`` for the same purpose.
    Threads and sockets take real time, and the clock does not wait for them: it jumps whenever a
    timer is pending.
    """

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Return the virtual seconds since the loop was created."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Advance the virtual clock by some seconds."""
        self._virtual += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no timer: only a thread or socket can wake the loop
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.advance(timeout)
        return ready
