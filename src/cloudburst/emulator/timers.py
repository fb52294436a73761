"""Timers that can be cancelled together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Timers:
    """Pending timers of one task. Use them on one event loop only."""

    def __init__(self) -> None:
        self._pending: set[asyncio.TimerHandle] = set()

    def later(self, seconds: float, function: Callable[..., None], *args: Any) -> None:
        """Schedule a function call in some seconds, unless the timers are cancelled before then."""

        def due() -> None:
            self._pending.discard(timer)
            function(*args)

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._pending.add(timer)

    def cancel(self) -> None:
        """Cancel all pending timers."""
        for timer in self._pending:
            timer.cancel()
        self._pending.clear()
