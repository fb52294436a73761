"""Servers that break the rules: each is refused or given up in time."""

from __future__ import annotations

import ssl
import time
from typing import NamedTuple

import pytest
from anyio import to_thread

from cloudburst.models.transfers import FetchRequest, TransferProblem
from cloudburst.transfers.client import open_transfer_client
from cloudburst.transfers.errors import TransferError
from cloudburst.transfers.fetch import fetch
from cloudburst.transfers.policy import TransferPolicy
from support import hostile_servers as servers
from support.hostile_servers import CONTENT, HOST, OK, Authority, Handler, serving

pytestmark = pytest.mark.anyio

SECRET = "X-Amz-Signature=0123456789abcdef&token=ab%2Fcd%2Fefgh"
DECODED = "ab/cd/efgh"
POLICY = TransferPolicy(
    connect_timeout=0.3, answer_timeout=0.3, pace_window=0.3, pace_bytes=4096, total_timeout=2.0
)
LIMIT = 3.0
"""Seconds after which the slowest of these transfers has been given up, on a busy machine."""
MAX_SENT = 8 * 1024**2
"""Bytes that fit into the buffers between the two sides, with those that the client takes."""


class Case(NamedTuple):
    problem: str
    handler: Handler
    reason: str
    headers: dict[str, str] | None = None
    size: int | None = None
    max_bytes: int = 100_000


EXPECTED_ETAG = {"If-Match": '"1"'}
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
CASES = {
    # Other places.
    "redirect to metadata": Case(
        "forbidden address", servers.redirect("http://169.254.169.254/latest/"), "redirects"
    ),
    "redirect to http": Case("forbidden address", servers.redirect(f"http://{HOST}/"), "redirects"),
    "redirect to a file": Case(
        "forbidden address", servers.redirect("file:///etc/passwd", 301), "redirects"
    ),
    "redirect in a loop": Case("forbidden address", servers.redirect("/", 307), "redirects"),
    # Sizes.
    "endless body": Case("too large", servers.endless_body, "more than 100000"),
    "endless body for a size": Case(
        "changed", servers.endless_body, "another size than 10240", size=10240
    ),
    "endless body without length": Case(
        "invalid", servers.endless_body_without_length, "no length"
    ),
    "endless body without length for a size": Case(
        "changed", servers.endless_body_without_length, "another size", size=10240
    ),
    "announced size too large": Case("too large", servers.answer(length=10**15), "more than"),
    "length of 5,000 digits": Case(
        "invalid", servers.answer(length=int("9" * 4000)), "Content-Length"
    ),
    "negative length": Case(
        "invalid", servers.answer(OK + b"Content-Length: -5\r\n", length=None), "Content-Length"
    ),
    "two lengths": Case("invalid", servers.answer(OK + b"Content-Length: 5\r\n"), "Content-Length"),
    "shorter than announced": Case(
        "unreachable", servers.answer(length=len(CONTENT) + 1), "before the end"
    ),
    "longer than announced": Case(
        "changed", servers.answer(length=5000), "another size", size=len(CONTENT)
    ),
    "fewer chunks than asked for": Case(
        "changed",
        servers.answer(CHUNKED, b"5\r\nhello\r\n0\r\n\r\n", length=None),
        "another size",
        size=6,
    ),
    "no length": Case("invalid", servers.answer(length=None), "no length"),
    "10 GB header": Case("invalid", servers.huge_header, "head of the answer"),
    "100,000 headers": Case("invalid", servers.many_headers, "head of the answer"),
    "endless early hints": Case("invalid", servers.endless_early_hints, "head of the answer"),
    "tiny chunks": Case("invalid", servers.tiny_chunks, "too small"),
    # Time.
    "slow body": Case("unreachable", servers.slow_body, "less than 4096 bytes"),
    "silent body": Case("unreachable", servers.silent_body, "less than 4096 bytes"),
    "slow head": Case("unreachable", servers.slow_head, "no answer"),
    "silent head": Case("unreachable", servers.silent_head, "sends nothing"),
    "slow early hints": Case("unreachable", servers.slow_early_hints, "no answer"),
    "slow error": Case("refused", servers.slow_error, "HTTP 403"),
    # Connections that end.
    "reset after the request": Case("unreachable", servers.cut_after_request, ""),
    "reset in the head": Case("unreachable", servers.cut_in_head, ""),
    "reset in the body": Case("unreachable", servers.cut_in_body, ""),
    "end in a chunk": Case("unreachable", servers.cut_in_chunk, "before the end"),
    # Other contents.
    "another version": Case(
        "changed",
        servers.answer(OK + b'ETag: "2"\r\n'),
        "another version",
        headers=EXPECTED_ETAG,
    ),
    "no version": Case("changed", servers.answer(), "another version", headers=EXPECTED_ETAG),
    "unrequested range": Case(
        "invalid",
        servers.answer(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/10240\r\n", b"hello"),
        "HTTP 206",
    ),
    "gzip": Case("invalid", servers.answer(OK + b"Content-Encoding: gzip\r\n"), "compressed"),
    "chunks without sizes": Case(
        "invalid", servers.answer(CHUNKED, b"hello\r\n", length=None), "chunk"
    ),
    "chunk of a negative size": Case(
        "invalid", servers.answer(CHUNKED, b"-5\r\nhello\r\n", length=None), "chunk"
    ),
    "unknown transfer encoding": Case(
        "invalid", servers.answer(OK + b"Transfer-Encoding: gzip\r\n", length=None), ""
    ),
    "HTTP/0.9": Case("invalid", servers.no_http, "illegal"),
    "another protocol": Case(
        "invalid", servers.answer(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n", b""), "UPGRADE"
    ),
    "status without content": Case("invalid", servers.answer(b"HTTP/1.1 204 No\r\n", b""), "204"),
    "error that repeats the URL": Case(
        "refused", servers.error(403, "AccessDenied", f"https://{HOST}/?{SECRET}"), "AccessDenied"
    ),
    "status line that repeats the URL": Case(
        "invalid", servers.answer(f"HTTP/1.1 {SECRET}\r\n".encode()), "RemoteProtocolError"
    ),
    "long status line that repeats the URL": Case(
        "invalid",
        servers.answer(f"HTTP/1.1 {'x' * 1000} {SECRET}\r\n".encode()),
        "RemoteProtocolError",
    ),
    "error that repeats the decoded URL": Case(
        "refused", servers.error(403, "AccessDenied", DECODED), "AccessDenied"
    ),
}


async def fetched(
    port: int, authority: Authority, case: Case | None = None, policy: TransferPolicy = POLICY
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
    async with open_transfer_client(
        public_only=True,
        private_inputs=True,
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
            await fetched(server.port, authority, case)
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
    case = Case("unreachable", servers.silent_head, "")
    silent = await failure_of(servers.silent_head, None, authority, case)
    assert silent.failure.problem is TransferProblem.UNREACHABLE
    assert "in time" in silent.failure.reason


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
