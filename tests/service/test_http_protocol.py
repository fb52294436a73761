"""Which parser of requests a running service has, whatever else is installed beside it."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette

from cloudburst.net.session import WORKERS
from cloudburst.service import connections
from cloudburst.service.config import ServiceSettings
from cloudburst.service.connections import (
    CONNECTION_KEY,
    KEEP_ALIVE_TIMEOUT,
    Connection,
    LimitedServer,
)
from cloudburst.service.lifecycle import listening_socket
from support.service_caller import KEY

pytestmark = pytest.mark.anyio


class OtherProtocol(asyncio.Protocol):
    """Plays the protocol that uvicorn prefers where httptools is installed."""


async def test_requests_are_parsed_by_h11(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of heads and bodies are limits of h11; other parsers have none."""
    monkeypatch.setattr("uvicorn.protocols.http.auto.AutoHTTPProtocol", OtherProtocol)
    settings = ServiceSettings(key=KEY, folder=tmp_path, host="127.0.0.1", port=0)
    server = LimitedServer(Starlette(), None, 10.0)
    with listening_socket(settings) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            async with await anyio.connect_tcp(*listener.getsockname()) as connection:
                await connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await connection.receive()).startswith(b"HTTP/1.1 404")
                (protocol,) = server.server_state.connections
            server.should_exit = True
    assert type(protocol) is Connection


GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def keyed(scope, receive, send):
    """Plays the application: a request with any key is authorised."""
    has_key = any(name == b"x-key" for name, _ in scope["headers"])
    with scope["state"][CONNECTION_KEY].authorised() if has_key else nullcontext():
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_only_connections_of_requests_with_the_key_stay_open(tmp_path) -> None:
    settings = ServiceSettings(key=KEY, folder=tmp_path, host="127.0.0.1", port=0)
    server = LimitedServer(keyed, None, 0.1)

    async def seconds_open(head):
        async with await anyio.connect_tcp(*listener.getsockname()) as connection:
            began = anyio.current_time()
            await connection.send(head)
            assert (await connection.receive()).startswith(b"HTTP/1.1 204")
            with anyio.move_on_after(0.6):
                try:
                    await connection.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return anyio.current_time() - began
        return None

    with listening_socket(settings) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            stranger = await seconds_open(GET + b"\r\n")
            assert await seconds_open(GET + b"X-Key: 1\r\n\r\n") is None
            server.should_exit = True
    assert stranger is not None
    assert stranger < 0.5


async def test_a_request_that_begins_before_the_last_one_has_ended_is_protected(
    tmp_path, monkeypatch
) -> None:
    """An application may still close files when its caller has the response and sends again."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_TIMEOUT", 0.1)
    requests = []

    async def slow(scope, receive, send):
        with scope["state"][CONNECTION_KEY].authorised():
            requests.append(scope)
            if len(requests) == 2:
                await anyio.sleep(0.5)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            await anyio.sleep(0.1)

    settings = ServiceSettings(key=KEY, folder=tmp_path, host="127.0.0.1", port=0)
    server = LimitedServer(slow, None, 10.0)
    with listening_socket(settings) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            async with await anyio.connect_tcp(*listener.getsockname()) as connection:
                for _ in range(2):
                    await connection.send(GET + b"\r\n")
                    assert (await connection.receive()).startswith(b"HTTP/1.1 204")
            server.should_exit = True


def test_the_client_closes_idle_connections_before_the_service_does() -> None:
    assert WORKERS.idle <= KEEP_ALIVE_TIMEOUT - 5
