"""Connections of HTTP clients are closed at a cancellation, not when they are collected."""

from __future__ import annotations

import asyncio
import gc
import ssl
from contextlib import asynccontextmanager
from functools import partial

import anyio
import httpx
import pytest
from anyio.streams.tls import TLSListener

from cloudburst import Timeouts
from cloudburst.net.registry.client import open_registry
from cloudburst.net.session import TRUSTED_URLS, WORKERS, get_page, open_session
from cloudburst.workers.http.certificates import new_secrets
from cloudburst.workers.http.connection import open_connection

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


SECRETS = new_secrets()


@asynccontextmanager
async def worker(url):
    async with open_connection(
        url, secrets=SECRETS, timeouts=Timeouts(), transport=None
    ) as connection:
        yield partial(connection.request, "GET", "/health")


@asynccontextmanager
async def transfers(url):
    trusted = ssl.create_default_context(cadata=SECRETS.certificate)
    trusted.check_hostname = False
    async with open_session(TRUSTED_URLS, verify=trusted) as client:
        yield partial(client.get, url)


@asynccontextmanager
async def registry(url):
    async with open_registry(url) as client:
        yield partial(client.resolve, "library/python", "3.13")


@asynccontextmanager
async def configuration_of_an_image(url):
    yield partial(get_page, url, seconds=10)


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


class KeptConnections:
    """Connections of a server that answers and does not close them."""

    def __init__(self, count):
        self.count = count
        self.received = 0
        self.opened = anyio.Event()
        self.closed = 0

    async def serve(self, stream):
        async with stream:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += await stream.receive()
            self.received += 1
            if self.received == self.count:
                self.opened.set()
            await self.opened.wait()  # so that each request has a connection of its own
            await stream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
            self.closed += 1


@pytest.fixture
def server_context(tmp_path):
    chain = tmp_path / "chain.pem"
    chain.write_text(SECRETS.certificate + SECRETS.private_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return context


@pytest.mark.few(6, spread=True)
@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("cancels", [1, 2])
@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize(
    ("open_client", "scheme"),
    [(worker, "https"), (transfers, "https"), (transfers, "http"), (registry, "http")],
)
async def test_a_client_that_is_cancelled_while_it_ends(
    open_client, scheme, steps, cancels, server_context
):
    """``Task.cancel()`` interrupts its end after some steps of the event loop."""
    kept = KeptConnections(3)
    ends = asyncio.Event()

    async def use(url):
        async with open_client(url) as request:
            await asyncio.gather(*[request() for _ in range(kept.count)], return_exceptions=True)
            gc.collect()  # only the client still has its connections
            ends.set()

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as plain,
        anyio.create_task_group() as tasks,
    ):
        listener = (
            TLSListener(plain, server_context, standard_compatible=False)
            if scheme == "https"
            else plain
        )
        _, port = plain.extra(anyio.abc.SocketAttribute.local_address)
        task = asyncio.create_task(use(f"{scheme}://127.0.0.1:{port}"))
        tasks.start_soon(listener.serve, kept.serve)
        await ends.wait()
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        with anyio.fail_after(30):
            while kept.closed < kept.count:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def test_a_trace_of_the_request_is_still_called():
    steps = []

    async def trace(step, _result):
        steps.append(step)

    async with silent_server() as (url, _), open_session(WORKERS) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get(url, extensions={"trace": trace}, timeout=0.2)
    assert steps[-1] == "connection.start_tls.failed"
    assert "connection.connect_tcp.complete" in steps
