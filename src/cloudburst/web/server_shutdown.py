"""Notice of the end of the server, before it waits for its connections to close.

Servers such as uvicorn run the end of an app's lifespan only after all connections are closed, but
event streams stay open for as long as their jobs run.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def call_on_shutdown(call: Callable[[], object]) -> Generator[None]:
    """Call a function in the event loop when the server receives SIGINT or SIGTERM.

    The server's own handlers are called as well. Nothing happens outside the main thread, on other
    loops than those of asyncio, and for signals without a handler in Python.
    """
    loop: asyncio.AbstractEventLoop | None = None
    with suppress(RuntimeError):
        loop = asyncio.get_running_loop()
    if loop is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    servers = {signum: handler for signum, handler in found.items() if callable(handler)}

    def handle(signum: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(call)
        servers[signal.Signals(signum)](signum, frame)

    for signum in servers:
        signal.signal(signum, handle)
    try:
        yield
    finally:
        for signum, handler in servers.items():
            if signal.getsignal(signum) is handle:
                signal.signal(signum, handler)
