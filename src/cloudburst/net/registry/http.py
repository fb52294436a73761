"""HTTP requests to one registry: login, retries, errors."""

from __future__ import annotations

import base64
import random
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

import anyio
import httpx

from cloudburst.net.registry.errors import (
    LoginError,
    NotInRegistryError,
    RegistryError,
    RegistryUnavailableError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPolicy:
    """Timeouts and retries. Times are in seconds; only delays may be 0."""

    connect_timeout: float = 10.0
    idle_timeout: float = 60.0
    """Time without a byte after which a connection counts as broken. Before the answer to an
    upload, the registry hashes the whole layer."""
    attempts: int = 6
    """Number of attempts before a request or the transfer of a blob fails."""
    first_delay: float = 0.5
    """Delay before the second attempt. It doubles with each further one."""
    max_delay: float = 15.0
    concurrent_blobs: int = 3
    """Number of blobs that are transferred at once."""


_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password of a registry."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """Value of the header ``Authorization`` for these credentials."""
        text = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(text).decode()}"


T = TypeVar("T")
# Body of a request, or a function that creates it for each attempt.
Body = bytes | Callable[[], AsyncIterable[bytes]]


class NoAnswerError(Exception):
    """Server error, or an upload that did not arrive: the request is repeated."""


class RegistryHttp:
    """HTTP client of one registry. URLs stay out of its errors: they may be presigned."""

    def __init__(
        self,
        http_client: httpx.AsyncClient,
        url: httpx.URL,
        credentials: Credentials | None,
        policy: TransferPolicy,
    ) -> None:
        self._http = http_client
        self._url = url
        self.policy = policy
        self._login = Login(url, credentials, self._fetch_token)

    @property
    def name(self) -> str:
        """Host of the registry, with its port, for messages."""
        return self._url.netloc.decode("ascii")

    async def repeat(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call a function until the registry answers its requests; ``what`` is for the error."""
        for attempt in count(1):
            try:
                return await call()
            except (httpx.RequestError, NoAnswerError) as exc:
                if attempt == self.policy.attempts or _is_certificate_error(exc):
                    reason = str(exc) or type(exc).__name__
                    raise RegistryUnavailableError(f"{self.name}: {what}: {reason}") from exc
            delay = min(self.policy.max_delay, self.policy.first_delay * 2 ** (attempt - 1))
            await anyio.sleep(random.uniform(delay / 2, delay))  # noqa: S311
        raise AssertionError("unreachable: the numbers do not end")

    async def request(
        self,
        method: str,
        url: str | httpx.URL,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
    ) -> httpx.Response:
        """Make a request once, and return the answer. Raises what `repeat` catches."""
        async with self.stream(method, url, scope, headers=headers, body=body) as answer:
            await answer.aread()
            return answer

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str | httpx.URL,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
    ) -> AsyncGenerator[httpx.Response]:
        """Make a request once, and yield the answer, whose body is not read yet.

        If the registry asks for a login, the request is sent again with it. Redirects of a GET
        request are followed: registries redirect to storage on other hosts, to which httpx does not
        send the login.
        """
        url = self._url.join(url)
        sent = self._login.header(scope) if self._is_own(url) else None
        answer = await self._send(method, url, headers, body, sent)
        if answer.status_code == 401 and self._is_own(answer.url):
            await answer.aclose()
            challenge = answer.headers.get("WWW-Authenticate", "")
            sent = await self._login.answer(scope, challenge, sent)
            answer = await self._send(method, url, headers, body, sent)
        try:
            _raise_if_temporary(answer)
            yield answer
        finally:
            await answer.aclose()

    def _is_own(self, url: httpx.URL) -> bool:
        return origin(url) == origin(self._url)

    def raise_for_status(self, answer: httpx.Response, what: str) -> None:
        """Raise the error that an answer states, which was read, unless it is successful."""
        if answer.is_success:
            return
        code, reason = parse_error(answer)
        message = f"{self.name}: {what}: HTTP {answer.status_code} {code} {reason}".rstrip()
        kinds = {401: LoginError, 403: LoginError, 404: NotInRegistryError}
        raise kinds.get(answer.status_code, RegistryError)(message, status=answer.status_code)

    async def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str] | None,
        body: Body,
        authorization: str | None,
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else body()
        request = self._http.build_request(method, url, headers=headers, content=content)
        if authorization:
            request.headers["Authorization"] = authorization
        follow = httpx.USE_CLIENT_DEFAULT if method == "GET" else False
        return await self._http.send(request, stream=True, follow_redirects=follow)

    async def _fetch_token(self, url: httpx.URL, authorization: str | None) -> httpx.Response:
        what = f"login at {url.host}"

        async def fetch() -> httpx.Response:
            answer = await self._send("GET", url, None, b"", authorization)
            await answer.aread()
            _raise_if_temporary(answer)
            return answer

        answer = await self.repeat(what, fetch)
        self.raise_for_status(answer, what)
        return answer


def parse_error(answer: httpx.Response) -> tuple[str, str]:
    """Return code and message of a registry's error; they are empty if it states none."""
    try:
        error = answer.json()["errors"][0]
        return str(error["code"]), str(error.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""


def _raise_if_temporary(answer: httpx.Response) -> None:
    if answer.status_code >= 500 or answer.status_code in {408, 425, 429}:
        raise NoAnswerError(f"HTTP {answer.status_code}")


def _is_certificate_error(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


# Function that gets a token from a URL, with an optional header Authorization.
Fetch = Callable[[httpx.URL, str | None], Awaitable[httpx.Response]]


class Login:
    """Authorization of a client at one registry. A token is used until the registry refuses it."""

    def __init__(self, url: httpx.URL, credentials: Credentials | None, fetch: Fetch) -> None:
        self._url = url
        self._credentials = credentials
        self._fetch = fetch
        self._headers: dict[str, str] = {}

    def header(self, scope: str) -> str | None:
        """Return the value of ``Authorization`` for a request; ``None`` before a challenge."""
        return self._headers.get(scope)

    async def answer(self, scope: str, challenge: str, sent: str | None) -> str:
        """Return a new value of ``Authorization`` after an answer with the status 401.

        ``scope`` is ``repository:NAME:pull,push``; ``sent`` was refused.

        Raises:
            LoginError: The registry needs other credentials.
        """
        scheme = challenge.partition(" ")[0].lower()
        if scheme == "basic":
            self._headers[scope] = self._password(sent)
        elif scheme == "bearer":
            self._headers[scope] = await self._token(scope, dict(_PARAMETER.findall(challenge)))
        else:
            msg = f"{self._url.host} asks for an unknown kind of login: {scheme!r}"
            raise LoginError(msg, status=401)
        return self._headers[scope]

    def _password(self, sent: str | None) -> str:
        if self._credentials is None:
            raise LoginError(f"{self._url.host} requires a user name and a password", status=401)
        if sent == self._credentials.header:
            msg = f"{self._url.host} refuses the password of {self._credentials.username}"
            raise LoginError(msg, status=401)
        return self._credentials.header

    async def _token(self, scope: str, parameters: dict[str, str]) -> str:
        realm = httpx.URL(parameters.get("realm", ""))
        # The password is sent there. It may be another host, as that of Docker Hub is.
        if realm.scheme != "https" and origin(realm) != origin(self._url):
            msg = f"{self._url.host} names a token server without https: {realm.host}"
            raise LoginError(msg, status=401)
        # public.ecr.aws names a scope of its own, "aws".
        wanted = parameters.get("scope") or scope
        query = {"service": parameters.get("service", ""), "scope": wanted}
        header = self._credentials.header if self._credentials else None
        answer = await self._fetch(realm.copy_merge_params(query), header)
        try:
            body = answer.json()
            token: str = body.get("token") or body["access_token"]
        except (ValueError, AttributeError, KeyError) as exc:
            msg = f"{realm.host} sent no token; is it the token server of a registry?"
            raise RegistryError(msg) from exc
        return f"Bearer {token}"


def origin(url: httpx.URL) -> tuple[str, bytes]:
    """Return the scheme, host and port of a URL."""
    return url.scheme, url.netloc
