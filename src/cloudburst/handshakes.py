"""TLS handshakes of HTTP clients that are cancelled: their connections are closed at once.

httpcore 1.0 closes the connection of a handshake that fails or takes too long, but not of one that
is cancelled from outside: the socket would stay open until the garbage collector finds it. The
deadline of a whole request is such a cancellation, too.

The client of container registries uses this module, too, so it imports no other module of the
package.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import httpcore
import httpx

Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Function that httpcore calls for each step of a request, with its name and its result."""


async def close_cancelled_handshake(request: httpx.Request) -> None:
    """Let a request close its connection if the TLS handshake does not succeed.

    An event hook of httpx: ``AsyncClient(event_hooks={"request": [close_cancelled_handshake]})``. A
    trace function that the request already has is still called.
    """
    inner: Trace | None = request.extensions.get("trace")
    connection: httpcore.AsyncNetworkStream | None = None

    async def trace(step: str, result: Mapping[str, Any]) -> None:
        nonlocal connection
        if step.endswith("connect_tcp.complete"):
            connection = result["return_value"]
        elif step.endswith("start_tls.failed") and connection is not None:
            with anyio.CancelScope(shield=True):  # a connection without TLS waits for nothing
                await connection.aclose()
        if inner is not None:
            await inner(step, result)

    request.extensions = {**request.extensions, "trace": trace}
