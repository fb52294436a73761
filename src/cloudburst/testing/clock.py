"""An asyncio loop on which hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when nothing else is to be done.

    Use it as anyio's ``loop_factory``; trio has ``trio.testing.MockClock`` for the same. Threads
    and sockets live by the real clock: a loop that waits for one jumps past its timers.
    """

    def __init__(self) -> None:
        self._virtual = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Seconds since the loop was made, all of them virtual."""
        return self._virtual

    def jump(self, seconds: float) -> None:
        """Let that much time have passed."""
        self._virtual += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no timer: only the outside world can go on
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.jump(timeout)
        return ready
