"""Time that also passes while this machine is suspended."""

from __future__ import annotations

from time import monotonic
from time import time as wall_clock

import anyio

PAUSE_CHECK_INTERVAL = 1.0
"""Maximum seconds after the end of a suspend until a sleeping task notices it."""


class Stopwatch:
    """Time since the creation of this object.

    On Linux and macOS, the monotonic clock stands still while the machine is suspended. The clock
    of the calendar goes on, but may be set back. The longer of both times counts.
    """

    def __init__(self) -> None:
        self._monotonic, self._wall = monotonic(), wall_clock()

    @property
    def seconds(self) -> float:
        """Seconds that have passed."""
        return max(monotonic() - self._monotonic, wall_clock() - self._wall)

    async def wait(self, seconds: float) -> None:
        """Sleep until this many seconds have passed."""
        while (remaining := seconds - self.seconds) > 0:  # noqa: ASYNC110 - no event reports it
            await anyio.sleep(min(remaining, PAUSE_CHECK_INTERVAL))
