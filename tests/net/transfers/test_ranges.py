"""Ranges of files, from servers that send them and from those that do not."""

from __future__ import annotations

import ssl

import pytest

from cloudburst.models.transfers import FetchRequest, TransferProblem
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.net.transfers.errors import TransferError
from cloudburst.net.transfers.fetch import FetchedRange, read_range
from cloudburst.net.transfers.requests import TransferPolicy
from support import hostile_servers as servers
from support.hostile_servers import CONTENT, HOST, OK, Authority, Handler, Peer, serving

pytestmark = pytest.mark.anyio

POLICY = TransferPolicy(
    connect_timeout=0.5, answer_timeout=0.5, pace_window=0.5, pace_bytes=4096, total_timeout=2.0
)


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return authority.server()


class Reader:
    """Reads ranges of one file of a server."""

    def __init__(self, authority: Authority, context: ssl.SSLContext) -> None:
        self._authority = authority
        self._context = context

    async def read(
        self, handler: Handler, start: int, end: int, headers: dict[str, str] | None = None
    ) -> FetchedRange:
        async with (
            serving(handler, self._context) as server,
            open_session(
                TRUSTED_URLS,
                verify=self._authority.trusting,
                resolve=servers.resolve_to_loopback,
            ) as client,
        ):
            request = FetchRequest.model_validate(
                {
                    "url": f"https://{HOST}:{server.port}/sound.mp3",
                    "headers": headers or {},
                    "max_bytes": 10**9,
                }
            )
            found = await read_range(request, start, end, client=client, policy=POLICY)
            assert server.peers[0].sent < 8 * 1024**2
            return found


@pytest.fixture
def reader(authority: Authority, context: ssl.SSLContext) -> Reader:
    return Reader(authority, context)


async def ranges(peer: Peer) -> None:
    """Send the requested range of a file of 10,240 bytes."""
    asked = peer.head.lower().partition(b"range: bytes=")[2].partition(b"\r")[0]
    start, end = map(int, asked.split(b"-"))
    part = CONTENT[start : end + 1]
    head = b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nLast-Modified: Mon, 1 Jan 2024\r\n'
    head += b"Content-Range: bytes %d-%d/10240\r\n" % (start, start + len(part) - 1)
    await peer.send(head + b"Content-Length: %d\r\n\r\n" % len(part) + part)


def partial(content_range: str, body: bytes = CONTENT[:100]) -> Handler:
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Range: {content_range}\r\n"
    return servers.answer(head.encode(), body)


async def test_a_server_with_ranges(reader: Reader) -> None:
    found = await reader.read(ranges, 0, 100)
    assert found == FetchedRange(
        data=CONTENT[:100], size=10240, etag='"1"', modified="Mon, 1 Jan 2024", seekable=True
    )
    assert (await reader.read(ranges, 5000, 5100)).data == CONTENT[5000:5100]
    assert (await reader.read(ranges, 10_000, 65_536)).data == CONTENT[10_000:]
    assert (await reader.read(ranges, 0, 9, {"If-Match": '"1"'})).data == CONTENT[:9]
    unknown = await reader.read(partial("bytes 0-99/*"), 0, 100)
    assert (unknown.data, unknown.size) == (CONTENT[:100], None)


async def test_a_server_that_ignores_ranges(reader: Reader) -> None:
    """The start is read and no more, even of an endless file."""
    whole = servers.answer(OK + b'ETag: W/"1"\r\n')
    found = await reader.read(whole, 0, 100)
    assert (found.data, found.size, found.etag) == (CONTENT[:100], 10240, 'W/"1"')
    assert not found.seekable
    assert (await reader.read(whole, 5000, 5100)).data == CONTENT[5000:5100]
    assert (await reader.read(whole, 10_000, 20_000)).data == CONTENT[10_000:]
    assert (await reader.read(whole, 11_000, 20_000)).data == b""
    endless = await reader.read(servers.endless_body, 0, 65_536)
    assert (len(endless.data), endless.size) == (65_536, None)
    with pytest.raises(TransferError, match="ignores Range"):
        await reader.read(whole, 1_048_000, 1_048_577)


@pytest.mark.parametrize("modified", [b"\xe9", b"\xc3\xa9", b"a\tb", b"a" * 65])
async def test_a_date_that_cannot_be_sent_back_is_ignored(reader: Reader, modified: bytes) -> None:
    found = await reader.read(servers.answer(OK + b"Last-Modified: %s\r\n" % modified), 0, 100)
    assert (found.data, found.modified) == (CONTENT[:100], None)


async def test_an_empty_file(reader: Reader) -> None:
    """No range of it exists, and servers answer so."""
    head = b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */0\r\n"
    found = await reader.read(servers.answer(head, b""), 0, 100)
    assert (found.data, found.size) == (b"", 0)
    found = await reader.read(servers.answer(body=b""), 0, 100)
    assert (found.data, found.size) == (b"", 0)


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (partial("bytes 1-100/10240"), "invalid"),
        (partial("bytes 0-100/10240"), "invalid"),
        (partial("bytes 1-99/10240", CONTENT[:99]), "invalid"),
        (partial("bytes 0-49/10240", CONTENT[:50]), "invalid"),
        (partial("bytes 0-99/50"), "invalid"),
        (partial("bytes 0-99/10240", CONTENT[:50]), "invalid"),
        (partial("bytes 99-0/10240"), "invalid"),
        (partial("bytes"), "invalid"),
        (servers.answer(b"HTTP/1.1 206 Partial Content\r\n"), "invalid"),
        (servers.answer(b"HTTP/1.1 416 No\r\nContent-Range: bytes */99\r\n", b""), "changed"),
        (servers.error(416, "InvalidRange"), "changed"),
        (servers.error(404), "missing"),
        (servers.cut_in_body, "unreachable"),
        (servers.slow_body, "unreachable"),
    ],
)
async def test_answers_that_are_not_the_range(
    handler: Handler, problem: str, reader: Reader
) -> None:
    with pytest.raises(TransferError) as caught:
        await reader.read(handler, 0, 100 if problem != "unreachable" else 10_000)
    assert caught.value.failure.problem == problem, str(caught.value)


async def test_another_version_than_at_first(reader: Reader) -> None:
    with pytest.raises(TransferError) as caught:
        await reader.read(ranges, 0, 100, {"if-match": '"2"'})
    assert caught.value.failure.problem is TransferProblem.CHANGED


@pytest.mark.parametrize(("start", "end"), [(0, 1_048_577), (5, 5), (9, 5), (-1, 5)])
async def test_ranges_that_nobody_may_ask_for(start: int, end: int, reader: Reader) -> None:
    with pytest.raises(ValueError, match="expected 1 to 1048576 bytes"):
        await reader.read(ranges, start, end)
