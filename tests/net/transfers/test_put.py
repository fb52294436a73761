"""Parts of files that are written to S3, and the errors of S3."""

from __future__ import annotations

import asyncio
import copy
import pickle
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from cloudburst.models.transfers import PutPart
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError, error_from_answer
from cloudburst.net.transfers.put import put_part
from cloudburst.net.transfers.requests import TransferPolicy
from support import hostile_servers as servers
from support.hostile_servers import HOST, Authority, Handler, Peer, serving
from support.service_caller import eventually

pytestmark = pytest.mark.anyio

POLICY = TransferPolicy(
    connect_timeout=0.3, answer_timeout=0.3, pace_window=0.3, pace_bytes=10**6, total_timeout=3.0
)
TRANSFERS = 3
FILE = bytes(range(251)) * 4000
CREATED = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\n'

ReadBlock = Callable[[int, int], Awaitable[bytes]]
Put = Callable[..., Awaitable[str]]


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return authority.server()


async def read_file(offset: int, size: int) -> bytes:
    return FILE[offset : offset + size]


@asynccontextmanager
async def putting(
    handler: Handler, authority: Authority, context: ssl.SSLContext
) -> AsyncGenerator[tuple[Put, servers.Server]]:
    async with (
        serving(handler, context) as server,
        open_session(
            TRUSTED_URLS, verify=authority.trusting, resolve=servers.resolve_to_loopback
        ) as client,
    ):

        async def put(read_block: ReadBlock = read_file, **more: Any) -> str:
            part: dict[str, Any] = {
                "url": f"https://{HOST}:{server.port}/bucket/video.mp4?X-Amz-Signature=0123456789",
                "size": len(FILE),
                **more,
            }
            return await put_part(
                PutPart.model_validate(part),
                read_block,
                client=client,
                progress=lambda size: progress.append((len(server.peers), size)),
                policy=POLICY,
            )

        progress: list[tuple[int, int]] = []
        yield put, server
        assert progress == sorted(progress)


async def test_a_part_arrives_whole_with_its_headers(
    authority: Authority, context: ssl.SSLContext
) -> None:
    bodies = []

    async def store(peer: Peer) -> None:
        bodies.append(await peer.read_body())
        await servers.answer(CREATED, b"")(peer)

    async with putting(store, authority, context) as (put, server):
        assert await put(headers={"x-amz-meta-a": "b"}) == '"abc"'
        assert await put(offset=1000, size=700_000) == '"abc"'
        assert await put(size=0) == '"abc"'
    assert bodies == [FILE, FILE[1000:701_000], b""]
    head = server.heads[0].decode()
    assert head.startswith("PUT /bucket/video.mp4?X-Amz-Signature=0123456789 HTTP/1.1\r\n")
    assert "x-amz-meta-a: b\r\n" in head
    assert f"Content-Length: {len(FILE)}\r\n" in head
    assert "Transfer-Encoding" not in head


def after_body(handler: Handler) -> Handler:
    async def handle(peer: Peer) -> None:
        await peer.read_body()
        await handler(peer)

    return handle


def before_body(handler: Handler) -> Handler:
    async def handle(peer: Peer) -> None:
        await handler(peer)
        await peer.read_body()

    return handle


async def slow_reader(peer: Peer) -> None:
    """Take some bytes now and then, fewer than a block in the time for one."""
    for _ in range(100):
        await peer.read(8192)
        await asyncio.sleep(0.04)


@pytest.mark.few(6, spread=True)
@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (after_body(servers.answer(b"HTTP/1.1 200 OK\r\n", b"")), "invalid"),
        (after_body(servers.answer(b"HTTP/1.1 200 OK\r\nETag: abc\r\n", b"")), "invalid"),
        (after_body(servers.answer(b"HTTP/1.1 302 Found\r\nLocation: /\r\n")), "forbidden address"),
        (after_body(servers.error(412, "PreconditionFailed")), "exists"),
        (after_body(servers.error(403, "ExpiredToken")), "expired"),
        (after_body(servers.error(503, "SlowDown")), "busy"),
        (before_body(servers.error(403, "AccessDenied", "Request has expired")), "expired"),
        (before_body(servers.error(403, "AccessDenied", "Request is not valid yet")), "expired"),
        (after_body(servers.silent_head), "unreachable"),
        (servers.silent_head, "unreachable"),
        (servers.cut_after_request, "unreachable"),
        (after_body(servers.cut_in_head), "unreachable"),
        (after_body(servers.huge_header), "invalid"),
    ],
)
async def test_stores_that_do_not_take_it(
    handler: Handler, problem: str, authority: Authority, context: ssl.SSLContext
) -> None:
    big = FILE * 8  # more than fits into the buffers of the connection

    async def read_big(offset: int, size: int) -> bytes:
        return big[offset : offset + size]

    async with putting(handler, authority, context) as (put, _):
        with pytest.raises(TransferError) as caught:
            await put(read_big, size=len(big))
    assert caught.value.failure.problem == problem, str(caught.value)


async def test_a_store_that_takes_it_slowly(authority: Authority, context: ssl.SSLContext) -> None:
    async def read_block(_offset: int, size: int) -> bytes:
        return bytes(size)

    async with putting(slow_reader, authority, context) as (put, _):
        with pytest.raises(TransferError, match="the server receives too slowly"):
            await put(read_block, size=10**8)


@pytest.mark.parametrize("times", [0, 1, 2, 5, 50])
async def test_cancelled_transfers_close_their_connections(
    times: int, authority: Authority, context: ssl.SSLContext
) -> None:
    """Cancelled by anyio, and by asyncio once and again while the connection is closed."""
    received, gone = [], []

    async def waiting(peer: Peer) -> None:
        await peer.read_body()
        received.append(peer)
        try:
            await peer.wait()
        finally:  # also if the connection is reset
            gone.append(peer)

    async def until_received() -> None:
        await eventually(lambda: len(received) == TRANSFERS)

    async with serving(waiting, context) as server:

        async def transfer() -> None:
            async with open_session(
                TRUSTED_URLS, verify=authority.trusting, resolve=servers.resolve_to_loopback
            ) as client:
                part = PutPart.model_validate({"url": f"https://{HOST}:{server.port}/", "size": 9})
                calls = (
                    put_part(part, read_file, client=client, progress=lambda _: None)
                    for _ in range(TRANSFERS)
                )
                await asyncio.gather(*calls)

        async with anyio.create_task_group() as tasks:
            if times == 0:
                tasks.start_soon(transfer)
                await until_received()
                tasks.cancel_scope.cancel()
        if times:
            task = asyncio.ensure_future(transfer())
            await until_received()
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task
        await eventually(lambda: len(gone) == TRANSFERS, 2.0)


async def test_a_file_that_cannot_be_read(authority: Authority, context: ssl.SSLContext) -> None:
    """It is an error of this machine, not of the server."""

    async def read_block(offset: int, size: int) -> bytes:
        if offset:
            raise OSError(5, "Input/output error")
        return bytes(size)

    async def cut(_offset: int, size: int) -> bytes:
        return bytes(size - 1)

    async with putting(servers.silent_head, authority, context) as (put, _):
        with pytest.raises(OSError, match="Input/output error"):
            await put(read_block)
        with pytest.raises(TransferError, match="Too little data"):
            await put(cut)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Range"])
async def test_headers_that_change_the_request(
    name: str, authority: Authority, context: ssl.SSLContext
) -> None:
    async with putting(servers.silent_head, authority, context) as (put, server):
        with pytest.raises(TransferError, match=f"the header {name} cannot be set"):
            await put(headers={name: "1"})
    assert server.heads == []


@pytest.mark.parametrize(
    ("status", "code", "problem"),
    [
        (400, "ExpiredToken", "expired"),
        (403, "RequestTimeTooSkewed", "expired"),
        (403, "InvalidAccessKeyId", "expired"),
        (403, "AccessDenied", "refused"),
        (403, "SignatureDoesNotMatch", "refused"),
        (401, "", "refused"),
        (400, "", "refused"),
        (404, "NoSuchKey", "missing"),
        (404, "NoSuchBucket", "missing"),
        (410, "", "missing"),
        (409, "ConditionalRequestConflict", "busy"),
        (400, "RequestTimeout", "busy"),
        (400, "IncompleteBody", "unreachable"),
        (400, "BadDigest", "invalid"),
        (400, "EntityTooLarge", "too large"),
        (413, "", "too large"),
        (408, "", "busy"),
        (425, "", "busy"),
        (429, "", "busy"),
        (500, "InternalError", "busy"),
        (503, "", "busy"),
        (301, "PermanentRedirect", "forbidden address"),
        (304, "", "invalid"),
        (99, "", "invalid"),
        (999, "", "invalid"),
    ],
)
async def test_errors_by_status_and_code(status: int, code: str, problem: str) -> None:
    body = f"<Error>\n<Code>{code}</Code><Message>Because &amp; so</Message></Error>".encode()
    for writing in (False, True):
        error = error_from_answer(status, {}, body, writing=writing, query="")
        assert error.failure.problem == problem
        assert f"{status} {code}".rstrip() in error.failure.reason
        assert "Because & so" in error.failure.reason


async def test_hostile_bodies_of_errors() -> None:
    """Whatever a server sends, the reason is short and printable, and without the URL."""
    long = b"<Code>" + b"A" * 60_000 + b"</Code><Message>" + b"\x00\x1b[31m" * 150 + b"</Message>"
    error = error_from_answer(500, {"Retry-After": "9" * 9}, long, writing=False, query="")
    assert error.failure.reason.isprintable()
    assert (len(error.failure.reason), error.failure.retry_after) == (400, 3600)
    query = "token=secret-token&X-Amz-Signature=0123456789abcdef"
    for part in (query, "secret-token", "0123456789abcdef"):
        body = f"<Code>AccessDenied</Code><Message>see {part}</Message>".encode()
        error = error_from_answer(403, {}, body, writing=False, query=query)
        assert error.failure.reason == "HTTP 403 AccessDenied"
    for text in ("soon", "-1", "1.5", "٣", "Wed, 21 Oct 2026 07:28:00 GMT", ""):
        error = error_from_answer(503, {"Retry-After": text}, b"", writing=False, query="")
        assert error.failure.retry_after is None
    again: TransferError = pickle.loads(pickle.dumps(error))
    assert copy.copy(again).failure == error.failure
