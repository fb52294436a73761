"""TLS handshakes that are cancelled: the connection is closed at once, not when it is collected."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from functools import partial

import anyio
import httpx
import pytest

from cloudburst import Timeouts
from cloudburst.adapters.http.connection import open_connection
from cloudburst.aws.setup import check_image
from cloudburst.handshakes import close_cancelled_handshake
from cloudburst.models.task import Secrets
from cloudburst.registry.client import open_registry
from cloudburst.transfers.client import open_transfer_client

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def no_collection():
    """Objects that are not used any more stay: they must not be what closes the connection."""
    gc.disable()
    yield
    gc.enable()


@asynccontextmanager
async def worker(url):
    async with open_connection(
        url, secrets=Secrets(key="k"), timeouts=Timeouts(), transport=None
    ) as connection:
        yield partial(connection.request, "GET", "/health")


@asynccontextmanager
async def transfers(url):
    async with open_transfer_client(public_only=False) as client:
        yield partial(client.get, url)


@asynccontextmanager
async def registry(url):
    async with open_registry(url) as client:
        yield partial(client.resolve, "library/python", "3.13")


@asynccontextmanager
async def configuration_of_an_image(url):
    yield partial(check_image._read, url, None)


@asynccontextmanager
async def silent_server():
    """Yield the URL of a server that answers nothing, and the stream of its connections."""
    send, receive = anyio.create_memory_object_stream(10)

    async def serve(stream):
        async with stream:
            await stream.receive()  # the first message of the handshake
            await send.send(stream)
            await anyio.sleep_forever()

    async with (
        send,
        receive,
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, serve)
        _, port = listener.extra(anyio.abc.SocketAttribute.local_address)
        yield f"https://127.0.0.1:{port}", receive
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("open_client", [worker, transfers, registry, configuration_of_an_image])
async def test_a_cancelled_handshake_closes_its_connection(open_client, no_collection):
    async with silent_server() as (url, connections), open_client(url) as request:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(request)
            with anyio.fail_after(10):
                connection = await connections.receive()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10), pytest.raises(anyio.EndOfStream):
            await connection.receive()


async def test_a_trace_of_the_request_is_still_called():
    steps = []

    async def trace(step, _result):
        steps.append(step)

    hooks = {"request": [close_cancelled_handshake]}
    async with silent_server() as (url, _), httpx.AsyncClient(event_hooks=hooks) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(url, extensions={"trace": trace}, timeout=0.2)
    assert steps[-1] == "connection.start_tls.failed"
    assert "connection.connect_tcp.complete" in steps
