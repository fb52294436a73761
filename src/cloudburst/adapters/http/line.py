"""The line to one worker: requests, patience, and errors in this package's words."""

from __future__ import annotations

import importlib
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, suppress

import anyio
import httpx
from pydantic import BaseModel, ValidationError

from cloudburst.adapters.http.tls import trust, warn_of_clear_text
from cloudburst.engine.polling import insist
from cloudburst.errors import ConfigurationError, KeyRefusedError, WorkerStoppedError
from cloudburst.models import failures
from cloudburst.models.policy import Backoff, Timeouts
from cloudburst.models.task import Secrets

importlib.import_module("httpcore")  # else httpx does it with the first client, in the loop

KEY_HEADER = "X-Authentication-Key"
CONNECT = 5.0
"""Seconds for a connection; a machine that is there answers in one round trip."""
REFUSALS = 3
"""Refused connections in a row after which nobody listens any more: a worker that is merely busy
does not refuse, its kernel takes the connection."""
PROBE = httpx.Timeout(2.0, connect=0.5)
"""For a worker that may not be there yet: ask again rather than wait."""
CLOSE = 2.0
"""Seconds to close connections, which waits for nobody."""
KEEPALIVE = 2.0
"""Seconds for which an idle connection is kept: less than the 5 s of uvicorn, which would
otherwise close it just as we send a request."""


def _kept_alive() -> list[tuple[int, int, int]]:
    """Socket options by which a silent connection is known to live, or to be dead after 90 s.

    A worker that encodes may say nothing for minutes, and what lies between forgets a connection
    on which nothing travels: NAT gateways and load balancers of AWS after 350 s
    (https://aws.amazon.com/blogs/networking-and-content-delivery/implementing-long-running-tcp-connections-within-vpc-networking/,
    2026-11).
    """
    wanted = {
        "TCP_KEEPIDLE": 60,
        "TCP_KEEPALIVE": 60,  # macOS's name for it
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 90_000,  # milliseconds: what was sent and is never acknowledged
    }
    known = [(getattr(socket, name, None), value) for name, value in wanted.items()]
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *((socket.IPPROTO_TCP, name, value) for name, value in known if name is not None),
    ]


class UnableError(Exception):
    """The worker answers that it cannot now: a 5xx, or what makes no sense."""


BROKEN = (httpx.RequestError, TimeoutError, UnableError)
"""What a request raises that got no useful answer; how long that is borne says `Patience`."""

_SILENT = (httpx.TimeoutException, TimeoutError)

_RECONNECT = Backoff(first=0.1, factor=2.0, cap=2.0)


class Refusal(BaseModel):
    """What the service says when it refuses."""

    error: str = ""
    field: str | None = None
    found: str | None = None
    expected: str | None = None
    missing: tuple[str, ...] = ()
    """Hashes of contents that it does not have."""

    @classmethod
    def of(cls, response: httpx.Response) -> Refusal:
        """As the answer says; a proxy in between may say anything."""
        try:
            return cls.model_validate_json(response.content)
        except ValidationError:
            return cls(error=f"HTTP {response.status_code}")

    def __str__(self) -> str:
        if self.field and self.found and self.expected:
            return f"{self.field}: {self.found}; expected {self.expected}"
        return self.error


class HealthAnswer(BaseModel):
    """What ``GET /health`` says, of what we want to know."""

    status: str
    authentication: dict[str, object] = {}


class Line:
    """Requests to one worker, repeated while the line is broken."""

    def __init__(self, http: httpx.AsyncClient, timeouts: Timeouts) -> None:
        self._http = http
        self.timeouts = timeouts

    @property
    def closed(self) -> bool:
        """Whether the worker is being given back: there is nothing to ask any more."""
        return self._http.is_closed

    @property
    def http(self) -> httpx.AsyncClient:
        """What requests go through. Raises `WorkerStoppedError` when it is closed."""
        if self.closed:
            raise WorkerStoppedError("the worker is being given back")
        return self._http

    async def health(self) -> HealthAnswer | None:
        """What the worker says of itself when it is well, else ``None``; never raises.

        Asked without the key: who answers may not be the worker yet, nor any more.
        """
        try:
            response = await self.http.get("/health", timeout=PROBE, auth=None)
            answer = HealthAnswer.model_validate_json(response.content)
        except (*BROKEN, WorkerStoppedError, ValidationError):
            return None
        return answer if response.is_success and answer.status == "healthy" else None

    def patience(self) -> Patience:
        """For one operation of one or more requests."""
        return Patience(self.timeouts.silence)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        content: Callable[[], AsyncIterable[bytes]] | None = None,
        headers: Mapping[str, str] | None = None,
        within: float | None = None,
    ) -> httpx.Response:
        """The answer to a request that may be repeated, be it yes or no.

        ``content`` makes the body anew for each try; ``within`` are the seconds for one, without
        limit for a body that takes its time.

        Raises:
            WorkerError: the key was refused.
            WorkerStoppedError: nothing, or nothing but 5xx, for ``Timeouts.silence``.
        """
        patience = self.patience()
        while True:
            try:
                with anyio.fail_after(within):
                    body = content() if content else None
                    return able(
                        await self.http.request(method, path, content=body, headers=headers)
                    )
            except BROKEN as exc:
                await patience.bear(exc)

    @asynccontextmanager
    async def stream(
        self, path: str, *, silence: float, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[httpx.Response]:
        """One GET whose body is read as it comes; it raises what is in `BROKEN` when cut."""
        timeout = httpx.Timeout(silence, connect=CONNECT, pool=None)
        async with self.http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                await response.aread()
            yield able(response)


class Patience:
    """Bears a broken line until the worker has been silent for too long."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.heard()

    def heard(self) -> None:
        """The worker gave a sign of life."""
        self._since = anyio.current_time()
        self._failing = False
        self._refused = 0
        self._delays = _RECONNECT.delays()

    async def bear(self, exc: Exception) -> None:
        """Return when it is time for another try.

        Raises:
            WorkerStoppedError: there is no point in one.
        """
        if not self._failing and not isinstance(exc, _SILENT):
            self._since = anyio.current_time()  # a line that broke was alive until then
        self._failing = True
        self._refused = self._refused + 1 if _is_refusal(exc) else 0
        left = self._since + self._seconds - anyio.current_time()
        if self._refused >= REFUSALS:
            msg = "the worker is gone: its machine refuses connections"
            raise WorkerStoppedError(msg) from exc
        if left <= 0:
            msg = f"no useful answer from the worker for {self._seconds:g} s ({told(exc)})"
            raise WorkerStoppedError(msg) from exc
        await anyio.sleep(min(next(self._delays), left))


def able(response: httpx.Response) -> httpx.Response:
    """The same answer, unless it says that the worker is not able, or our key not right.

    Raises:
        UnableError: 5xx, or 408, with which it gives up a body that has stalled.
        WorkerError: 401 or 403.
    """
    match failures.of_status(response.status_code, on="worker"):
        case failures.KEY:
            raise refused_key(response.status_code)
        case failures.UNABLE:
            raise UnableError(f"HTTP {response.status_code}: {Refusal.of(response)}")
        case _:
            return response


def refused_key(status: int) -> KeyRefusedError:
    """What a 401 or 403 means."""
    return KeyRefusedError(f"the worker refused the key (HTTP {status})")


def told(exc: Exception) -> str:
    """An error in a few words."""
    return str(exc) or type(exc).__name__


def _is_refusal(exc: BaseException | None) -> bool:
    """Whether the machine is there and nobody listens on the port."""
    match exc:
        case None:
            return False
        case BaseExceptionGroup(exceptions=(first, *_)):  # trio tried several addresses
            return _is_refusal(first)
        case _ if failures.of_exception(exc, on="worker") is failures.REFUSED:
            return True
        case _:
            return _is_refusal(exc.__cause__ or exc.__context__)


@asynccontextmanager
async def open_line(
    address: str,
    *,
    secrets: Secrets,
    timeouts: Timeouts,
    transport: httpx.AsyncBaseTransport | None,
    reuse: bool = True,
) -> AsyncGenerator[Line]:
    """A line to the worker at a base URL.

    With ``reuse`` a connection serves several requests in turn. One that the worker closes just
    then breaks a request, which does not matter for those that may be repeated.

    Proxies and other settings of the environment are not for it, and redirects are not followed:
    both would give the key away.

    Raises:
        ConfigurationError: the address or the key is nothing for HTTP.
    """
    url, key = checked_address(address), checked_key(secrets.key)
    context = await trust(url.scheme, secrets)
    if key:
        warn_of_clear_text(url.scheme, url.host)
    http = httpx.AsyncClient(
        base_url=url,
        auth=_Key(key) if key else None,
        headers={"Accept-Encoding": "identity"},
        timeout=httpx.Timeout(timeouts.silence, connect=CONNECT, pool=None),
        trust_env=False,
        transport=transport or _transport(context, reuse=reuse),
    )
    try:
        yield Line(http, timeouts)
    finally:
        with suppress(TimeoutError):
            await insist(http.aclose, seconds=CLOSE)


class _Key(httpx.Auth):
    """Adds the key to a request."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[KEY_HEADER] = self._key
        yield request


def _transport(context: ssl.SSLContext, *, reuse: bool) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(
        max_connections=None,  # the engine's lanes are the limit
        max_keepalive_connections=None if reuse else 0,
        keepalive_expiry=KEEPALIVE,
    )
    return httpx.AsyncHTTPTransport(
        verify=context, trust_env=False, limits=limits, socket_options=_kept_alive()
    )


def checked_key(key: str) -> str:
    """The key, if a header can carry it.

    Raises:
        ConfigurationError: it cannot.
    """
    if not (key.isascii() and key.isprintable()):
        msg = "the worker's key has characters that no HTTP header can carry"
        raise ConfigurationError(msg)
    return key


def checked_address(address: str) -> httpx.URL:
    """A worker's base URL.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        url = httpx.URL(address)
        if url.userinfo:
            msg = f"the base URL of {url.host} has a user or password in it; there is no use for it"
            raise ConfigurationError(msg)
    except httpx.InvalidURL as exc:
        msg = f"{address!r} is no base URL of a worker: {exc}"
        raise ConfigurationError(msg) from exc
    if url.scheme not in {"http", "https"} or not url.host:
        msg = f"{address!r} is no base URL of a worker; expected http(s)://host:port"
        raise ConfigurationError(msg)
    return url
