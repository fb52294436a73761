"""Runs of coroutines that a signal cancels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from cloudburst.signals import InterruptHandler, stop_signals

_T = TypeVar("_T")


def run_until_signal(work: Callable[[], Awaitable[_T]]) -> tuple[_T | None, int]:
    """Run a coroutine, and cancel it after SIGINT, SIGTERM or SIGHUP.

    Returns:
        The result, or ``None`` after a signal; and the exit code.
    """

    async def run() -> _T | None:
        with anyio.CancelScope() as scope, signals.call_on_first_signal(scope.cancel):
            return await work()
        return None

    with InterruptHandler(stop_signals()) as signals:
        result = anyio.run(run)
    return result, 0 if result is not None else 128 + (signals.first_signal or 0)
