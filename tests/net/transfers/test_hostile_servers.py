"""Servers that break the rules: each is refused or given up in time."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack, suppress
from dataclasses import replace

import anyio
import pytest
from anyio import to_thread

from cloudburst.models.transfers import FetchRequest, TransferProblem
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.fetch import fetch
from cloudburst.net.transfers.requests import TransferPolicy
from support import hostile_servers as servers
from support.hostile_cases import CASES, DECODED, EXPECTED_ETAG, SECRET, Case
from support.hostile_servers import CONTENT, HASTY, HOST, OK, Authority, Handler, Peer, serving

pytestmark = pytest.mark.anyio

POLICY = TransferPolicy(**HASTY)  # type: ignore[arg-type]
PATIENT = TransferPolicy(connect_timeout=5, answer_timeout=5, pace_window=5, total_timeout=20)
"""Limits that a busy machine does not reach."""
LIMIT = 15.0
"""Seconds after which the slowest of these transfers has been given up, on a busy machine."""
MAX_SENT = 8 * 1024**2
"""Bytes that fit into the buffers between the two sides, with those that the client takes."""


async def fetched(
    port: int, authority: Authority, case: Case | None = None, policy: TransferPolicy = PATIENT
) -> bytes:
    received = bytearray()

    async def write(block: bytes) -> None:
        received.extend(block)

    request = FetchRequest.model_validate(
        {
            "url": f"https://{HOST}:{port}/picture.png?{SECRET}",
            "headers": (case and case.headers) or {},
            "size": case.size if case else None,
            "max_bytes": case.max_bytes if case else 100_000,
        }
    )
    async with open_session(
        TRUSTED_URLS,
        verify=authority.trusting,
        resolve=servers.resolve_to_loopback,
    ) as client:
        await fetch(request, write, client=client, policy=policy)
    return bytes(received)


async def failure_of(
    handler: Handler, context: ssl.SSLContext | None, authority: Authority, case: Case
) -> TransferError:
    async with serving(handler, context) as server:
        begin = time.monotonic()
        with pytest.raises(TransferError) as caught:
            await fetched(server.port, authority, case, POLICY if case.slow else PATIENT)
        assert time.monotonic() - begin < LIMIT
        assert all(peer.sent < MAX_SENT for peer in server.peers)
        assert len(server.heads) <= 1
    return caught.value


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return authority.server()


@pytest.mark.parametrize("name", CASES)
async def test_a_hostile_server_is_given_up(
    name: str, authority: Authority, context: ssl.SSLContext
) -> None:
    case = CASES[name]
    error = await failure_of(case.handler, context, authority, case)
    assert error.failure.problem == case.problem, error
    assert case.reason in error.failure.reason
    assert SECRET not in str(error)
    for secret in (*SECRET.split("&"), DECODED):
        assert secret not in str(error)
        assert secret not in repr(error.__cause__)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": "other.example"}, "Hostname mismatch"),
        ({"self_signed": True}, "self-signed certificate"),
        ({"days": (-9, -1)}, "certificate has expired"),
        ({"days": (1, 9)}, "certificate is not yet valid"),
    ],
)
async def test_a_certificate_that_is_not_trusted(
    arguments: dict[str, object], reason: str, authority: Authority
) -> None:
    context = authority.server(**arguments)  # type: ignore[arg-type]
    case = Case("invalid", servers.answer(), reason)
    error = await failure_of(case.handler, context, authority, case)
    assert error.failure.problem is TransferProblem.INVALID
    assert reason in error.failure.reason


async def test_a_server_without_tls(authority: Authority) -> None:
    """It neither answers the handshake, nor does a plain answer count."""
    case = Case("unreachable", servers.silent_head, "", slow=True)
    silent = await failure_of(servers.silent_head, None, authority, case)
    assert silent.failure.problem is TransferProblem.UNREACHABLE
    assert "in time" in silent.failure.reason


async def test_a_connection_that_has_ended_is_not_used_again(
    authority: Authority, context: ssl.SSLContext
) -> None:
    """The end of TLS is the end of a body without length; that of TCP may arrive later."""
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT
    size = {"size": len(CONTENT), "max_bytes": len(CONTENT)}
    received = bytearray()

    async def write(block: bytes) -> None:
        received.extend(block)

    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as connections:
        listener.settimeout(5)

        def serve() -> None:
            for _ in range(2):
                plain, _ = listener.accept()
                secure = connections.enter_context(
                    context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
                )
                secure.recv(65536)
                secure.sendall(answer)
                secure.settimeout(0.1)
                with suppress(OSError):
                    secure.unwrap()  # sends the end of TLS, and waits for that of the client

        async with (
            anyio.create_task_group() as tasks,
            open_session(
                TRUSTED_URLS,
                verify=authority.trusting,
                resolve=servers.resolve_to_loopback,
            ) as client,
        ):
            tasks.start_soon(to_thread.run_sync, serve)
            url = f"https://{HOST}:{listener.getsockname()[1]}/picture.png"
            for _ in range(2):
                request = FetchRequest.model_validate({"url": url, **size})
                await fetch(request, write, client=client)
    assert bytes(received) == 2 * CONTENT


async def test_a_file_that_takes_too_long_at_a_permitted_pace(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async def steady_body(peer: Peer) -> None:
        await peer.send(OK + b"Content-Length: 10000000\r\n\r\n")
        while True:
            await peer.send(bytes(1000))
            await anyio.sleep(0.01)

    case = Case("unreachable", steady_body, "", max_bytes=10**8)
    policy = replace(POLICY, pace_window=10.0, pace_bytes=1, total_timeout=0.5)
    async with serving(steady_body, context) as server:
        with (
            anyio.fail_after(30),
            pytest.raises(TransferError, match=r"not received within 0\.5 s"),
        ):
            await fetched(server.port, authority, case, policy)


async def test_cookies_and_proxies_are_not_used(
    authority: Authority, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cookie could give one file's access to another, and a proxy resolves names again."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # nothing listens there
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    handler = servers.answer(OK + b"Set-Cookie: a=b; Path=/\r\nConnection: close\r\n")
    async with (
        serving(handler, context) as server,
        open_session(
            TRUSTED_URLS,
            verify=authority.trusting,
            resolve=servers.resolve_to_loopback,
        ) as client,
    ):
        url = f"https://{HOST}:{server.port}/picture.png"
        for _ in range(2):
            request = FetchRequest.model_validate({"url": url, "max_bytes": 100_000})
            await fetch(request, ignore, client=client)
        assert len(server.heads) == 2
        assert not [head for head in server.heads if b"cookie" in head.lower()]


async def ignore(_: bytes) -> None:
    pass


async def test_an_honest_server(authority: Authority, context: ssl.SSLContext) -> None:
    """The limits are not so narrow that they hit others."""
    assert await to_thread.run_sync(len, CONTENT) == 10_240
    async with serving(servers.answer(OK + b'ETag: "1"\r\n'), context) as server:
        case = Case("", servers.answer(), "", headers=EXPECTED_ETAG, size=len(CONTENT))
        assert await fetched(server.port, authority, case) == CONTENT
        head = server.heads[0].decode()
    assert head.startswith(f"GET /picture.png?{SECRET} HTTP/1.1\r\n")
    assert f"Host: {HOST}:{server.port}\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head
