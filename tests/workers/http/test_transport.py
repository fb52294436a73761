"""How long the connections to a worker stay open between two requests."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from cloudburst.net.session import WORKERS, open_session

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize("reuse", [True, False])
async def test_a_connection_is_used_again_for_some_time(reuse):
    accepted = []

    async def serve(stream):
        accepted.append(stream)
        async with stream:
            try:
                while await stream.receive():
                    await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    host, port = listener.extra(anyio.abc.SocketAttribute.local_address)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        async with open_session(replace(WORKERS, reuse=reuse, idle=1.0)) as client:
            for _ in range(2):
                assert (await client.get(f"http://{host}:{port}/")).status_code == 204
            assert len(accepted) == (1 if reuse else 2)
            await anyio.sleep(1.3)
            await client.get(f"http://{host}:{port}/")
            assert len(accepted) == (2 if reuse else 3)
        tasks.cancel_scope.cancel()
    await listener.aclose()
