"""Waiting and insisting: the only two ways in which the engine repeats a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from cloudburst.models.policy import Backoff

T = TypeVar("T")


async def poll(probe: Callable[[], Awaitable[T | None]], *, backoff: Backoff) -> T:
    """Call ``probe`` until it answers something. The caller brings the deadline."""
    for delay in backoff.delays():
        if (answer := await probe()) is not None:
            return answer
        await anyio.sleep(delay)
    raise AssertionError("unreachable: delays() never ends")


async def insist(call: Callable[[], Awaitable[object]], *, seconds: float) -> None:
    """Finish an idempotent call although we are being cancelled; then let the cancel go on.

    A shield holds back the cancellation of anyio's scopes, but not asyncio's own
    ``Task.cancel()``, which web servers and ``asyncio.timeout`` use. A call that such a cancel
    cuts is made again, until it is through or ``seconds`` have passed (``TimeoutError``).
    """
    cut: BaseException | None = None
    done = False
    with anyio.move_on_after(seconds, shield=True) as deadline:
        while not done:
            try:
                await call()
                done = True
            except anyio.get_cancelled_exc_class() as exc:
                if deadline.cancel_called:
                    raise
                cut = exc
    if cut is not None:
        raise cut
    if not done:
        raise TimeoutError
