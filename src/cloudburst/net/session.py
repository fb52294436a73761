"""HTTP sessions: which servers each may reach, and what it does with their answers.

`open_session` makes every HTTP client of this package, but those of boto. A `SessionPolicy` is for
one kind of server; none can stand for another one.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from http.cookiejar import CookieJar
from typing import Any, Self, cast
from weakref import WeakSet

import anyio
import anyio.lowlevel
import httpcore
import httpx
from anyio import to_thread

from cloudburst.concurrency import finish_despite_cancel
from cloudburst.net.network import BoundedStream, PinnedBackend, Resolve, resolve_name
from cloudburst.redaction import install_filters, repeats_secret, without_secrets

# Seconds to close the connections of a session; the servers need not answer.
CLOSE_TIMEOUT = 2.0
# Maximum size of a page that get_page returns, in bytes. The feed of Spot prices has 0.1 MB.
PAGE_BYTES = 8 * 1024 * 1024
# Limit of the pieces of a body, each of which costs about 15 microseconds of processor time: those
# allowed at its start and for each second since then, and the bytes for which one more is added.
# Web frameworks that send a video "line by line" send chunks of 256 bytes on average.
INITIAL_PIECES, PIECES_PER_SECOND, BYTES_PER_PIECE = 1000, 1000, 128
# Number of pieces after which other tasks get a turn. Receiving them takes about a millisecond.
PIECES_PER_CHECKPOINT = 64
# Bytes that the system accepts ahead of what it has sent to a worker: with more, the order of files
# could not be changed any more, nor their rate be measured. 1 Gbit/s sends this in 1 ms.
UNSENT_BYTES = 128 * 1024


class Addresses(Enum):
    """Addresses to which a session connects."""

    ALL = 0
    """Any, as the system resolves the name."""
    PRIVATE = 1
    """Public, private and loopback addresses; names are resolved once."""
    PUBLIC = 2
    """Public addresses; names are resolved once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """Servers that a session may reach, and how it does."""

    addresses: Addresses
    proxies: bool = False
    """True to use the proxies that the environment names, which resolve names again."""
    redirects: bool = False
    """True to follow redirects; httpx removes the login from requests to another origin."""
    connections: int | None = None
    """Maximum number of connections."""
    idle: float = 5.0
    """Seconds for which an unused connection is kept."""
    reuse: bool = True
    """False if each request has a connection of its own."""
    socket_options: tuple[tuple[int, int, int], ...] = ()


def _worker_socket_options() -> tuple[tuple[int, int, int], ...]:
    # A worker that encodes may send nothing for minutes, and network devices drop a connection
    # without traffic: NAT gateways and load balancers of AWS after 350 s
    # (https://aws.amazon.com/blogs/networking-and-content-delivery/implementing-long-running-tcp-connections-within-vpc-networking/,
    # 2026-11). With these options, a broken connection is detected in 90 s.
    wanted = {
        "TCP_KEEPIDLE": 60,
        "TCP_KEEPALIVE": 60,  # the name on macOS
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 90_000,  # milliseconds until sent data must be acknowledged
        "TCP_NOTSENT_LOWAT": UNSENT_BYTES,
    }
    known = [(getattr(socket, name, None), value) for name, value in wanted.items()]
    return (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *((socket.IPPROTO_TCP, name, value) for name, value in known if name is not None),
    )


# Workers at any address, which their certificate and the key prove.
WORKERS = SessionPolicy(
    addresses=Addresses.ALL,
    idle=50.0,  # less than the 60 s of the render service, which might close as a request is sent
    socket_options=_worker_socket_options(),
)
# URLs that callers name: inputs, and webhooks of jobs.
PUBLIC_URLS = SessionPolicy(addresses=Addresses.PUBLIC, connections=64, idle=3.0)
# Presigned URLs, and URLs of the user who permits private addresses. S3 closes unused connections
# after more than 5 s.
TRUSTED_URLS = SessionPolicy(addresses=Addresses.PRIVATE, connections=64, idle=3.0)
# Container registries, which redirect to storage on other hosts.
REGISTRIES = SessionPolicy(addresses=Addresses.ALL, proxies=True, redirects=True)
# Documents of AWS outside its APIs.
AWS_PAGES = SessionPolicy(addresses=Addresses.ALL, proxies=True)


class InvalidResponseError(httpx.RemoteProtocolError):
    """A body that is compressed or arrives in too small pieces, or an error of the HTTP library."""


@asynccontextmanager
async def open_session(
    policy: SessionPolicy,
    *,
    verify: ssl.SSLContext | None = None,
    base_url: httpx.URL | str = "",
    auth: Callable[[httpx.Request], httpx.Request] | tuple[str, str] | None = None,
    timeouts: httpx.Timeout | float = 5.0,
    transport: httpx.AsyncBaseTransport | None = None,
    resolve: Resolve = resolve_name,
) -> AsyncGenerator[httpx.AsyncClient]:
    """Open an HTTP client by a policy. Its errors are `httpx.RequestError`.

    ``verify`` has the certificates that are trusted; by default those of the package ``certifi``,
    or of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``. ``transport`` replaces the network.
    """
    if transport is None:
        if verify is None:  # reads a file with all certificate authorities
            verify = await to_thread.run_sync(httpx.create_ssl_context)
        if not policy.proxies:
            transport = _Transport(policy, verify, resolve)
    client = httpx.AsyncClient(
        base_url=base_url,
        auth=auth,
        timeout=timeouts,
        transport=transport,
        verify=verify or False,
        trust_env=policy.proxies,
        follow_redirects=policy.redirects,
        cookies=_NoCookies(),
        headers={"User-Agent": "cloudburst", "Accept-Encoding": "identity"},
    )
    install_filters()  # httpx logs URLs, which may be presigned
    # Weak references: httpcore holds each connection as long as it is open.
    connections: WeakSet[httpcore.AsyncNetworkStream] = WeakSet()
    client.event_hooks = {"request": [partial(_follow, client, connections)]}
    try:
        yield client
    finally:
        with suppress(TimeoutError):
            await finish_despite_cancel(partial(_close, client, connections), seconds=CLOSE_TIMEOUT)


async def get_page(
    url: str,
    policy: SessionPolicy = AWS_PAGES,
    *,
    seconds: float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> bytes:
    """Return the document at a URL.

    Raises:
        httpx.HTTPError: There is no successful answer of at most `PAGE_BYTES` in time.
    """
    try:
        with anyio.fail_after(seconds):
            async with (
                open_session(policy, timeouts=seconds, transport=transport) as client,
                client.stream("GET", url) as response,
            ):
                page = await read_up_to(response.raise_for_status(), PAGE_BYTES + 1)
    except TimeoutError:
        raise httpx.ReadTimeout(f"no answer within {seconds:g} s") from None
    if len(page) > PAGE_BYTES:
        raise InvalidResponseError(f"an answer of more than {PAGE_BYTES} bytes")
    return page


async def read_up_to(response: httpx.Response, size: int) -> bytes:
    """Return the body of an answer, or its first ``size`` bytes. The caller sets a deadline."""
    body = bytearray()
    async with aclosing(iter_pieces(response)) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) >= size:
                break
    return bytes(body[:size])


async def iter_pieces(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Yield the pieces of a body as they arrive.

    Raises:
        InvalidResponseError: The body is compressed although the client asked for it as it is, or
            its pieces are too small. Decompression could need gigabytes of memory, and each piece
            costs as much time as a large one.
    """
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise InvalidResponseError("the answer is compressed, although that was not asked for")
    count = size = 0
    started_at = anyio.current_time()
    stream = cast("httpx.AsyncByteStream", response.stream)
    async with aclosing(cast("AsyncGenerator[bytes]", aiter(stream))) as body:
        async for piece in body:
            count += 1
            size += len(piece)
            if count % PIECES_PER_CHECKPOINT == 0:
                allowed = INITIAL_PIECES + size // BYTES_PER_PIECE
                if count > allowed + PIECES_PER_SECOND * (anyio.current_time() - started_at):
                    raise InvalidResponseError(f"too small chunks: {size} bytes in {count} chunks")
                # The pieces of one network read arrive without a turn for other tasks.
                await anyio.lowlevel.checkpoint()
            yield piece


class _NoCookies(CookieJar):
    """Cookie jar that stores nothing; cookies are not even parsed."""

    def extract_cookies(self, response: object, request: object) -> None:
        pass


class _Transport(httpx.AsyncBaseTransport):
    """Transport that connects to the addresses of a policy, without proxies."""

    def __init__(self, policy: SessionPolicy, context: ssl.SSLContext, resolve: Resolve) -> None:
        everywhere = policy.addresses is Addresses.ALL
        private = policy.addresses is Addresses.PRIVATE
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=policy.connections,
            max_keepalive_connections=None if policy.reuse else 0,
            keepalive_expiry=policy.idle,
            network_backend=None if everywhere else PinnedBackend(private=private, resolve=resolve),
            socket_options=policy.socket_options,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, sent = request.url, _Sent(request)
        core_request = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=sent,
            extensions=request.extensions,
        )
        with _translated(request, sent):
            answer = await self._pool.handle_async_request(core_request)
        extensions = cast("dict[str, Any]", cast("Any", answer).extensions)
        connection: object = extensions.get("network_stream")
        if isinstance(connection, BoundedStream):  # not after "101 Switching Protocols"
            connection.head_complete()
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer, request, connection),
            extensions=extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Sent(httpx.AsyncByteStream):
    """Body of a request, whose errors are not those of the server."""

    def __init__(self, request: httpx.Request) -> None:
        self._pieces = aiter(cast("httpx.AsyncByteStream", request.stream))
        self.error: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            raise
        except Exception as exc:
            self.error = exc
            raise


class _Body(httpx.AsyncByteStream):
    def __init__(
        self, answer: httpcore.Response, request: httpx.Request, connection: object
    ) -> None:
        self._answer = answer
        self._request = request
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._request, connection=self._connection):
            async for piece in self._answer.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _translated(
    request: httpx.Request, sent: _Sent | None = None, connection: object = None
) -> Generator[None]:
    """Turn every error of the network and of the HTTP parser into an `httpx.RequestError`."""
    try:
        yield
    except httpx.RequestError:
        raise
    except Exception as exc:
        if sent is not None and exc is sent.error:
            raise
        text = str(exc)
        if isinstance(connection, BoundedStream) and connection.ended:
            kind: type[httpx.RequestError] = httpx.ReadError
            text = "the server closed the connection before the end of its answer"
        elif isinstance(exc, OSError):
            kind = httpx.ReadError
        else:  # the errors of httpcore have the names of those of httpx
            bases = type(exc).__mro__
            names = (found.__name__ for found in bases if found.__module__ == "httpcore")
            kind = getattr(httpx, next(names, ""), InvalidResponseError)
            if kind is InvalidResponseError:
                text = f"{type(exc).__name__}: {text}"
        # Errors of the parser may contain what the server sent, which may repeat a secret.
        repeated = repeats_secret(text, query_of(request))
        without_secrets(exc, in_messages=repeated)
        text = type(exc).__name__ if repeated else text  # tools show local variables
        raise kind(text) from exc


def query_of(request: httpx.Request) -> str:
    """Return the query with which a request is made, which may not be in ``request.url``."""
    target = cast("dict[str, bytes]", request.extensions).get("target", request.url.raw_path)
    return target.partition(b"?")[2].decode("ascii")


# httpx 0.28 and httpcore 1.0 leave some connections to the garbage collector: one whose TLS
# handshake is cancelled from outside, as the deadline of a whole request does, and all but the
# first if ``Task.cancel()`` interrupts the end of a client.


async def _close(
    client: httpx.AsyncClient, connections: WeakSet[httpcore.AsyncNetworkStream]
) -> None:
    for connection in list(connections):  # before the client, which would forget them
        await connection.aclose()
    await client.aclose()


async def _follow(
    client: httpx.AsyncClient,
    connections: WeakSet[httpcore.AsyncNetworkStream],
    request: httpx.Request,
) -> None:
    """Note the connection that is opened for a request. A trace function of the request is kept."""
    inner: Callable[[str, Mapping[str, Any]], Awaitable[None]] | None
    inner = request.extensions.get("trace")
    opened: httpcore.AsyncNetworkStream | None = None

    async def trace(step: str, result: Mapping[str, Any]) -> None:
        nonlocal opened
        if step.endswith(("connect_tcp.complete", "start_tls.complete")):
            opened = cast("httpcore.AsyncNetworkStream", result["return_value"])
            connections.add(opened)
            if client.is_closed:  # httpcore does not close what it has not yet opened
                await opened.aclose()
        elif step.endswith("start_tls.failed") and opened is not None:
            with anyio.CancelScope(shield=True):  # a connection without TLS waits for nothing
                await opened.aclose()
        if inner is not None:
            await inner(step, result)

    request.extensions = {**request.extensions, "trace": trace}
