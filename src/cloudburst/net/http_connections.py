"""Connections of HTTP clients, which are closed whenever a request or the client is cancelled.

httpx 0.28 and httpcore 1.0 leave some of them to the garbage collector: one whose TLS handshake is
cancelled from outside, as the deadline of a whole request does, and all but the first if
``Task.cancel()`` interrupts the end of a client.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from http.cookiejar import CookieJar
from typing import Any
from weakref import WeakSet

import anyio
import httpcore
import httpx

from cloudburst.concurrency import finish_despite_cancel

CLOSE_TIMEOUT = 2.0
"""Seconds to close the connections of a client; the servers need not answer."""
Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Function that httpcore calls for each step of a request, with its name and its result."""


class NoCookies(CookieJar):
    """Cookie jar that stores nothing; cookies are not even parsed."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Ignore the cookies of an answer."""


@asynccontextmanager
async def closing_connections(client: httpx.AsyncClient) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield a new client, and close it and all its connections at the end.

    A request whose TLS handshake does not succeed closes its connection at once.
    """
    # Weak references: httpcore holds each connection as long as it is open.
    connections: WeakSet[httpcore.AsyncNetworkStream] = WeakSet()
    client.event_hooks = {"request": [partial(_follow, connections)]}
    try:
        yield client
    finally:
        with suppress(TimeoutError):
            await finish_despite_cancel(partial(_close, client, connections), seconds=CLOSE_TIMEOUT)


async def _close(
    client: httpx.AsyncClient, connections: WeakSet[httpcore.AsyncNetworkStream]
) -> None:
    for connection in list(connections):  # before the client, which would forget them
        await connection.aclose()
    await client.aclose()


async def _follow(
    connections: WeakSet[httpcore.AsyncNetworkStream], request: httpx.Request
) -> None:
    """Note the connection that is opened for a request. A trace function of the request is kept."""
    inner: Trace | None = request.extensions.get("trace")
    opened: httpcore.AsyncNetworkStream | None = None

    async def trace(step: str, result: Mapping[str, Any]) -> None:
        nonlocal opened
        if step.endswith(("connect_tcp.complete", "start_tls.complete")):
            opened = result["return_value"]
            connections.add(result["return_value"])
        elif step.endswith("start_tls.failed") and opened is not None:
            with anyio.CancelScope(shield=True):  # a connection without TLS waits for nothing
                await opened.aclose()
        if inner is not None:
            await inner(step, result)

    request.extensions = {**request.extensions, "trace": trace}
