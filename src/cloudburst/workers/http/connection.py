"""HTTP connection to one worker, which repeats requests and raises errors of this package."""

from __future__ import annotations

import ipaddress
import logging
import math
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache

import anyio
import httpx
from anyio import to_thread

from cloudburst.concurrency import collapse_single
from cloudburst.errors import ConfigurationError, Remedy, WorkerStoppedError, WorkerUnfitError
from cloudburst.models.http_headers import KEY_HEADER
from cloudburst.models.limits import Timeouts
from cloudburst.models.task import Secrets
from cloudburst.net.session import WORKERS, open_session
from cloudburst.text import describe_error
from cloudburst.workers.http.response import (
    REQUEST_ERRORS,
    HealthResponse,
    InvalidAnswerError,
    UnavailableError,
    WorkerResponse,
    fail_after,
    parse_json_as,
    raise_for_worker_status,
    read_response,
)
from cloudburst.workers.http.retries import ConnectionRetries, ProcessPauseDetector

logger = logging.getLogger(__name__)

# Seconds to establish a connection; a running machine answers in one round trip.
CONNECT_TIMEOUT = 5.0
# Seconds for the complete answer to a health check, and seconds to establish its connection. They
# are short because a worker that is still starting is soon checked again.
HEALTH_CHECK_TIMEOUT, HEALTH_CHECK_CONNECT_TIMEOUT = 2.0, 0.5
# Endings of host names that no public DNS server resolves.
_PRIVATE_DOMAINS = (".internal", ".local", ".localhost", ".lan", ".home.arpa")


class HttpConnection:
    """HTTP client of one worker, which can repeat requests while the connection is broken."""

    def __init__(
        self, http_client: httpx.AsyncClient, timeouts: Timeouts, detector: ProcessPauseDetector
    ) -> None:
        self._http_client = http_client
        self.pause_detector = detector
        self.timeouts = timeouts
        self.health_failure = ""
        """Reason why the last health check failed; empty if it succeeded."""

    @property
    def closed(self) -> bool:
        """True if the connection was closed, after which no request can be made."""
        return self._http_client.is_closed

    @property
    def http_client(self) -> httpx.AsyncClient:
        """The httpx client that makes all requests to the worker.

        Raises `WorkerStoppedError` if the connection is closed.
        """
        if self.closed:
            raise WorkerStoppedError("the worker is being stopped")
        return self._http_client

    async def check_health(self) -> HealthResponse | None:
        """Return the worker's answer to a health check; ``None`` if there is no useful answer.

        The key is not sent, because the address may not yet belong to the worker, or may belong to
        another machine by now.

        Raises:
            WorkerUnfitError: The worker answers that it cannot render.
        """
        try:
            response = await self.request(
                "GET", "/health", answer_timeout=HEALTH_CHECK_TIMEOUT, with_key=False
            )
            health = _parse_health(response)
        except (*REQUEST_ERRORS, WorkerStoppedError) as exc:
            self.health_failure = f"GET /health: {describe_error(exc)}"
            return None
        if health.status == "unhealthy":
            reason = health.error or "it gives no reason"
            self.health_failure = f"the worker cannot render: {reason}"
            unfit = WorkerUnfitError(self.health_failure)
            unfit.remedy = Remedy.FIX_SETUP if health.final else Remedy.OTHER_WORKER
            raise unfit
        self.health_failure = ""
        return health

    def new_retries(self) -> ConnectionRetries:
        """Return new retry limits and delays for one operation, which may make several requests."""
        return ConnectionRetries(self.timeouts.silence, self.pause_detector)

    async def request(
        self,
        method: str,
        path: str,
        *,
        content: str | bytes | httpx.AsyncByteStream | None = None,
        headers: Mapping[str, str] | None = None,
        answer_timeout: float | None = None,
        with_key: bool = True,
    ) -> WorkerResponse:
        """Make one request; return its complete response, even if its status is an error.

        The complete response must arrive within ``Timeouts.silence`` seconds, or within
        ``answer_timeout`` seconds if that is less. The time begins with the request, or with the
        end of the request body if the body is a stream.

        Raises:
            httpx.RequestError, TimeoutError, UnavailableError: There is no useful answer
                (`REQUEST_ERRORS`).
            WorkerStoppedError: The connection is closed.
        """
        silence = self.timeouts.silence
        limit = silence if answer_timeout is None else min(answer_timeout, silence)
        stream = content if isinstance(content, httpx.AsyncByteStream) else None
        connect = min(CONNECT_TIMEOUT, limit) if with_key else HEALTH_CHECK_CONNECT_TIMEOUT
        with fail_after(limit, "no complete answer") as scope:
            if stream is not None:
                scope.deadline = math.inf

            async def start_deadline(event: str, _: object) -> None:
                if stream is not None and event == "http11.receive_response_headers.started":
                    scope.deadline = anyio.current_time() + limit

            request = self.http_client.build_request(
                method,
                path,
                content=None if isinstance(content, httpx.AsyncByteStream) else content,
                headers=headers,
                timeout=httpx.Timeout(limit, connect=connect, pool=None),
                extensions={"trace": start_deadline},
            )
            if stream is not None:
                # As ``content``, httpx would wrap it in a generator that nothing closes.
                request = httpx.Request(
                    method,
                    request.url,
                    headers=request.headers,
                    stream=stream,
                    extensions=request.extensions,
                )
            auth = httpx.USE_CLIENT_DEFAULT if with_key else None
            response = await self.http_client.send(request, stream=True, auth=auth)
            try:
                return await read_response(response)
            finally:
                await response.aclose()
        raise AssertionError("unreachable: a deadline raises")

    async def request_with_retries(
        self,
        method: str,
        path: str,
        *,
        content: Callable[[], httpx.AsyncByteStream] | None = None,
        headers: Mapping[str, str] | None = None,
        answer_timeout: float | None = None,
    ) -> WorkerResponse:
        """Repeat a request until the worker gives a useful response, and return the response.

        A response with a status such as 404 is useful, too. ``content`` creates the body of each
        attempt; for ``answer_timeout``, see `request`.

        Raises:
            WorkerError: The worker refuses the key or sends invalid answers.
            WorkerStoppedError: The worker has sent no answer, or only 5xx, for
                ``Timeouts.silence`` seconds.
        """
        retries = self.new_retries()
        while True:
            body = content() if content else None
            try:
                return raise_for_worker_status(
                    await self.request(
                        method, path, content=body, headers=headers, answer_timeout=answer_timeout
                    )
                )
            except REQUEST_ERRORS as exc:
                await retries.wait(exc)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        read_timeout: float,
        method: str = "GET",
        content: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[tuple[httpx.Response, WorkerResponse | None]]:
        """Make a request; yield the response and, if it is an error, its complete body.

        If the status is 2xx, the second value is ``None``, and the caller reads the body with
        `iter_pieces` or `iter_lines`. Otherwise no body is left to read. `REQUEST_ERRORS`
        are raised if the connection breaks.
        """
        timeout = httpx.Timeout(read_timeout, connect=CONNECT_TIMEOUT, pool=None)
        limit = min(CONNECT_TIMEOUT, read_timeout) + read_timeout
        with fail_after(limit, "no answer"):
            request = self.http_client.build_request(
                method, path, content=content, headers=headers, timeout=timeout
            )
            response = await self.http_client.send(request, stream=True)
        try:
            failed = None
            if not response.is_success:
                with fail_after(read_timeout, "no complete answer"):
                    failed = raise_for_worker_status(await read_response(response))
            yield response, failed
        finally:
            await response.aclose()


def _parse_health(response: WorkerResponse) -> HealthResponse:
    try:
        health = parse_json_as(HealthResponse, response.content)
    except InvalidAnswerError as exc:
        if response.is_success:
            raise
        raise UnavailableError(f"HTTP {response.status}") from exc
    if health.status == "unhealthy" or (response.is_success and health.status == "healthy"):
        return health
    raise UnavailableError(f"HTTP {response.status} with the status {health.status!r}")


@asynccontextmanager
async def open_connection(
    address: str,
    *,
    secrets: Secrets,
    timeouts: Timeouts,
    transport: httpx.AsyncBaseTransport | None,
    reuse: bool = True,
) -> AsyncGenerator[HttpConnection]:
    """Open a connection to the worker at a base URL.

    With ``reuse``, a TCP connection serves several requests one after another. A request fails if
    the worker closes the connection just as the request is sent, so pass ``reuse=False`` if
    requests must not be repeated.

    Proxies and other settings from environment variables are ignored and redirects are not
    followed, because both could disclose the key.

    Raises:
        ConfigurationError: The address or the key cannot be used for HTTP.
    """
    url, key = validate_address(address), validate_key(secrets.key)
    context = await create_ssl_context(url.scheme, secrets)
    if key and url.scheme == "http" and not _is_private(url.host):
        _warn_about_plain_http()

    def add_key(request: httpx.Request) -> httpx.Request:
        request.headers[KEY_HEADER] = key
        return request

    detector = ProcessPauseDetector()
    async with open_session(
        replace(WORKERS, reuse=reuse),
        verify=context,
        base_url=url,
        auth=add_key if key else None,
        timeouts=httpx.Timeout(timeouts.silence, connect=CONNECT_TIMEOUT, pool=None),
        transport=transport,
    ) as http_client:
        with collapse_single():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(detector.watch, name=f"cloudburst pause detector of {url.host}")
                yield HttpConnection(http_client, timeouts, detector)
                tasks.cancel_scope.cancel()


def validate_key(key: str) -> str:
    """Return a worker's key after a check that an HTTP header can contain it.

    Raises:
        ConfigurationError: The key has characters other than printable ASCII.
    """
    if not (key.isascii() and key.isprintable()):
        msg = "the worker's key contains characters that an HTTP header cannot carry"
        raise ConfigurationError(msg)
    return key


def validate_address(address: str) -> httpx.URL:
    """Return the address of a worker as a parsed base URL.

    Raises:
        ConfigurationError: The address is not an HTTP(S) URL with a host, or it contains a user
            name or a password.
    """
    try:
        url = httpx.URL(address)
        if url.userinfo:
            msg = f"the base URL of {url.host} contains a user name or a password; remove it"
            raise ConfigurationError(msg)
    except httpx.InvalidURL as exc:
        msg = f"{address!r} is not the base URL of a worker: {exc}"
        raise ConfigurationError(msg) from exc
    if url.scheme not in {"http", "https"} or not url.host:
        msg = f"{address!r} is not the base URL of a worker; expected http(s)://host:port"
        raise ConfigurationError(msg)
    return url


async def create_ssl_context(scheme: str, secrets: Secrets) -> ssl.SSLContext:
    """Return the TLS context for connections to a worker whose address has this scheme.

    If the secrets contain a certificate, only that certificate is trusted, and the host name is not
    checked. Otherwise the certificate authorities of this system are trusted. Connections over
    ``http`` do not use the context.

    Raises:
        ConfigurationError: The certificate in the secrets is invalid, or the secrets contain a
            certificate although the scheme is not ``https``.
    """
    if secrets.certificate:
        if scheme != "https":
            msg = "a worker with a certificate can be reached over https only"
            raise ConfigurationError(msg)
        return _context_of_certificate(secrets.certificate)
    if scheme == "https":
        # Reading the certificates of all authorities takes up to 0.2 s.
        return await to_thread.run_sync(_system_context)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # plain HTTP: never used


def _context_of_certificate(certificate: str) -> ssl.SSLContext:
    context = _restrict(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    context.check_hostname = False
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError) as exc:
        msg = "the worker's certificate is not PEM"
        raise ConfigurationError(msg) from exc
    return context


@cache
def _system_context() -> ssl.SSLContext:
    return _restrict(ssl.create_default_context())


def _restrict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


@cache
def _warn_about_plain_http() -> None:
    logger.warning(  # once per process
        "workers are reached over plain HTTP at public addresses: anyone on the network path can "
        "read their keys and the files; native workers with a certificate are reached over TLS"
    )


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:  # a host name
        return "." not in host or host.lower().rstrip(".").endswith(_PRIVATE_DOMAINS)
