"""Responses of AWS that break off while they are read."""

from __future__ import annotations

import anyio
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from cloudburst.aws.client.boto_clients import LimitedHTTPSession

pytestmark = [pytest.mark.anyio, pytest.mark.real]

CONNECTIONS = 2
WHOLE = b'{"taskArns": []}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Stalling:
    """A server whose answers stop within their body until it is `well`."""

    well = False

    async def answer(self, stream):
        async with stream:
            while True:
                try:
                    await stream.receive()
                    await stream.send(HEAD % len(WHOLE) + (WHOLE if self.well else WHOLE[:5]))
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return


@pytest.mark.parametrize("cut", ["read timeout", "cancelled"])
async def test_a_body_that_stalls_keeps_no_connection(cut):
    server, quick = Stalling(), cut == "read timeout"
    config = AioConfig(
        read_timeout=0.1 if quick else 30,
        max_pool_connections=CONNECTIONS,
        http_session_cls=LimitedHTTPSession,
        retries={"mode": "standard", "total_max_attempts": 1},
        proxies={},
    )
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, server.answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with get_session().create_client(
            "ecs",
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=config,
        ) as ecs:
            for _ in range(2 * CONNECTIONS):
                with anyio.move_on_after(5 if quick else 0.3) as scope:
                    with pytest.raises(Exception) if quick else anyio.CancelScope():
                        await ecs.list_tasks()
                assert scope.cancelled_caught is not quick
            server.well = True
            with anyio.fail_after(5):
                assert (await ecs.list_tasks())["taskArns"] == []
        tasks.cancel_scope.cancel()
