"""Server-sent events: their format, and a response that keeps its connection in use.

Servers such as uvicorn run the end of an app's lifespan only after all connections are closed, but
event streams stay open for as long as their jobs run: `call_on_shutdown` ends them earlier.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import FrameType
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cloudburst.concurrency import while_connected
from cloudburst.errors import CloudburstError
from cloudburst.web.error_responses import logged_response

# Seconds without an event after which a comment is sent. Some proxies close a connection on which
# nothing is sent for 30 to 60 s, and tasks may take longer to start. The HTML Standard advises 15 s
# ("Server-sent events", authoring notes, 2026-11).
KEEP_ALIVE_SECONDS = 15.0
# Comment in the format of server-sent events, which browsers ignore.
_COMMENT = b": the run continues\n\n"


def format_event(name: str, data: Any, number: int | None = None) -> bytes:
    """Return an event with JSON data as it is sent.

    A browser that connects again sends the number of the last event that had one.
    """
    text = json.dumps(data, ensure_ascii=False)
    identifier = "" if number is None else f"id: {number}\n"
    return f"{identifier}event: {name}\ndata: {text}\n\n".encode()


class EventStreamResponse(Response):
    """Response with events that an iterator yields, in the format of `format_event`.

    A comment is sent every 15 seconds while there is no event, so that proxies keep the connection.
    When the HTTP client closes the connection, the iteration is cancelled. An error before the
    first event becomes a JSON response, as with `exception_handlers`.

    Args:
        events: Context manager of the iterator. The response starts when it is entered.
        stop: Event after which the response ends early.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AbstractAsyncContextManager[AsyncIterator[bytes]],
        *,
        stop: anyio.Event,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as an ASGI application."""
        sender = _Sender(send)
        async with while_connected(receive) as tasks:
            try:
                async with self._events as events:
                    start = {"type": "http.response.start", "status": self.status_code}
                    await sender.send(start | {"headers": self.raw_headers})
                    tasks.start_soon(sender.keep_alive)
                    with anyio.CancelScope() as reading:
                        tasks.start_soon(self._cancel_on_stop, reading)
                        async for event in events:
                            await sender.send(_body(event))
            except CloudburstError as exc:
                if sender.started:
                    raise
                await logged_response(exc, Request(scope))(scope, receive, send)
            else:
                await sender.send(_body(b"", more=False))

    async def _cancel_on_stop(self, scope: anyio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()


class _Sender:
    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = anyio.Lock()
        self._sent_at = 0.0
        # True if the status of the response was sent.
        self.started = False

    async def send(self, message: Message) -> None:
        async with self._lock:
            self.started = True
            await self._send(message)
            self._sent_at = anyio.current_time()

    async def keep_alive(self) -> None:
        while True:
            if (next_at := self._sent_at + KEEP_ALIVE_SECONDS) <= anyio.current_time():
                await self.send(_body(_COMMENT))
            else:
                await anyio.sleep_until(next_at)


def _body(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


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
