"""Which parser of requests a running service has, whatever else is installed beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloudburst.service.config import ServiceSettings
from cloudburst.service.http_protocol import BoundedProtocol
from cloudburst.service.lifecycle import _Server, listening_socket
from support.service_caller import KEY

pytestmark = pytest.mark.anyio


class OtherProtocol(asyncio.Protocol):
    """Plays the protocol that uvicorn prefers where httptools is installed."""


async def test_requests_are_parsed_by_h11(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of heads and bodies are limits of h11; other parsers have none."""
    monkeypatch.setattr("uvicorn.protocols.http.auto.AutoHTTPProtocol", OtherProtocol)
    settings = ServiceSettings(key=KEY, folder=tmp_path, host="127.0.0.1", port=0)
    server = _Server(Starlette(), None, settings)
    with listening_socket(settings) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            async with await anyio.connect_tcp(*listener.getsockname()) as connection:
                await connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await connection.receive()).startswith(b"HTTP/1.1 404")
                (protocol,) = server.server_state.connections
            server.should_exit = True
    assert type(protocol) is BoundedProtocol
    assert isinstance(protocol, H11Protocol)
    assert server.config.http_protocol_class is H11Protocol
