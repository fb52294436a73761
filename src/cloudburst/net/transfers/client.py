"""HTTP client for transfers, which connects to permitted addresses only and stores nothing."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import httpcore
import httpx
from anyio import to_thread
from pydantic import SecretStr

from cloudburst.models.transfers import TransferProblem
from cloudburst.net.http_connections import NoCookies, closing_connections
from cloudburst.net.transfers.bounded_stream import BoundedStream
from cloudburst.net.transfers.errors import TransferError, repeats_secret, transfer_error
from cloudburst.net.transfers.public_addresses import PinnedBackend, Resolve, resolve_name
from cloudburst.redaction import without_secrets
from cloudburst.text import describe_error

MAX_CONNECTIONS = 64
KEEPALIVE_EXPIRY = 3.0
"""Seconds for which an idle connection is kept. S3 closes idle connections after more than 5 s."""


@asynccontextmanager
async def open_transfer_client(
    *,
    public_only: bool,
    private_inputs: bool = False,
    verify: ssl.SSLContext | None = None,
    resolve: Resolve = resolve_name,
) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield an HTTP client for the functions of this package.

    It follows no redirects, stores no cookies, and asks for files as they are. Proxies of the
    environment are not used: a proxy would resolve the name again, and the check of the addresses
    would be worth nothing.

    Args:
        public_only: True for URLs that are not trusted, which may only lead to public addresses.
            False permits private and loopback addresses as well.
        private_inputs: True if URLs that are not trusted may lead to private and loopback
            addresses. Link-local addresses and metadata services are never permitted.
        verify: TLS settings; ``None`` trusts the certificate authorities of the package
            ``certifi``, or those of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``.
        resolve: Function that resolves host names.
    """
    if verify is None:  # reads a file with all certificate authorities
        verify = await to_thread.run_sync(httpx.create_ssl_context)
    backend = PinnedBackend(private=private_inputs or not public_only, resolve=resolve)
    http = httpx.AsyncClient(
        transport=_Transport(verify, backend),
        trust_env=False,
        follow_redirects=False,
        cookies=NoCookies(),
        headers={"User-Agent": "cloudburst", "Accept-Encoding": "identity"},
    )
    async with closing_connections(http):
        yield http


class _Transport(httpx.AsyncBaseTransport):
    """Transport of httpx whose network is a `PinnedBackend`, and whose errors are ours."""

    def __init__(self, context: ssl.SSLContext, backend: PinnedBackend) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_EXPIRY,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer, whose body is not read yet.

        Raises:
            TransferError: There is no valid answer.
        """
        url, query = request.url, secret_query(request)
        core_request = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _translated(query):
            answer = await self._pool.handle_async_request(core_request)
        extensions = cast("dict[str, Any]", cast("Any", answer).extensions)
        connection: object = extensions.get("network_stream")
        if isinstance(connection, BoundedStream):  # not after "101 Switching Protocols"
            connection.head_complete()
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer, connection, query),
            extensions=extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """Body of an answer."""

    def __init__(self, answer: httpcore.Response, connection: object, query: SecretStr) -> None:
        self._answer = answer
        self._connection = connection
        self._query = query

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._query, self._connection):
            async for piece in self._answer.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


class LocalReadError(Exception):
    """Error for a file that cannot be read while it is sent."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


def secret_query(request: httpx.Request) -> SecretStr:
    """Return the query of the URL that a request is made to, which is not in ``request.url``."""
    target = cast("dict[str, bytes]", request.extensions).get("target", b"")
    return SecretStr(target.partition(b"?")[2].decode("ascii"))


@contextmanager
def _translated(query: SecretStr, connection: object = None) -> Generator[None]:
    """Turn every error of the network and of the HTTP parser into a `TransferError`."""
    try:
        yield
    except (TransferError, LocalReadError):
        raise
    except Exception as exc:
        raise _error_for(exc, query, connection) from exc


def _error_for(exc: Exception, query: SecretStr, connection: object) -> TransferError:
    problem, reason = _explained(exc, connection)
    # Errors of the parser may contain what the server sent, also behind the end of the reason.
    repeated = repeats_secret(str(exc), query.get_secret_value())
    without_secrets(exc, in_messages=repeated)
    return transfer_error(problem, type(exc).__name__ if repeated else reason)


def _explained(exc: Exception, connection: object) -> tuple[TransferProblem, str]:
    if isinstance(exc, httpcore.TimeoutException | httpcore.NetworkError | OSError):
        return TransferProblem.UNREACHABLE, describe_error(exc) if str(exc) else _TEXTS[type(exc)]
    if isinstance(connection, BoundedStream) and connection.ended:
        reason = "the server closed the connection before the end of its answer"
        return TransferProblem.UNREACHABLE, reason
    return TransferProblem.INVALID, describe_error(exc)


_TEXTS: Mapping[type[Exception], str] = defaultdict(
    lambda: "the connection broke",
    {
        httpcore.ConnectTimeout: "no connection in time",
        httpcore.ReadTimeout: "the server sends nothing",
        httpcore.WriteTimeout: "the server receives too slowly",
        httpcore.PoolTimeout: "too many transfers at the same time",
    },
)
"""Reasons for errors without a text of their own."""
