"""HTTP requests to one registry: login, limits, errors, redirects."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import cast

import anyio
import anyio.lowlevel
import httpx

from cloudburst.registry.documents import INDEX_TYPES, MANIFEST_TYPES, MAX_DOCUMENT_BYTES
from cloudburst.registry.errors import (
    InvalidImageError,
    LoginError,
    NotInRegistryError,
    RegistryError,
    printable,
)
from cloudburst.registry.login import Credentials, Login, Scope, origin
from cloudburst.registry.names import is_loopback_host
from cloudburst.registry.policy import TransferPolicy
from cloudburst.registry.private_urls import unlogged, without_secrets
from cloudburst.registry.retries import REPEATED, NoAnswerError, Retries

MAX_REDIRECTS = 5
MAX_LOCATION_LENGTH = 8192
MAX_SMALL_PIECES = 10_000
"""Maximum number of pieces of less than 128 bytes in a body: each costs as much time as a large
one."""
_REDIRECTS = {301, 302, 303, 307, 308}
_REPEATED_STATUSES = {408, 425, 429}
_CODE = re.compile(r"[A-Z_]{1,64}")

Body = Callable[[], AsyncIterable[bytes]]
"""Function that creates the body of an attempt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Complete answer of a registry with a short body."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def is_success(self) -> bool:
        """True if the status is 2xx."""
        return 200 <= self.status < 300


class RegistryHttp:
    """HTTP client of one registry."""

    def __init__(
        self,
        http_client: httpx.AsyncClient,
        url: httpx.URL,
        credentials: Credentials | None,
        policy: TransferPolicy,
    ) -> None:
        self._http = http_client
        self.url = url
        self.policy = policy
        self._login = Login(url, credentials, self._fetch_token)

    @property
    def name(self) -> str:
        """Host of the registry, with its port, for messages."""
        return self.url.netloc.decode("ascii", "replace")

    def path(self, *parts: str) -> httpx.URL:
        """Return the URL of a path of the API: ``path("NAME", "blobs", "sha256:…")``."""
        return self.url.copy_with(path="/".join(("/v2", *parts)))

    def upload_url(self, location: str) -> httpx.URL:
        """Return the URL of a header ``Location``, which may be relative.

        Raises `RegistryError` if it is on another host: uploads carry our credentials. The message
        does not contain its query, which may authorize uploads.
        """
        try:
            url = self.url.join(location)
        except (httpx.InvalidURL, ValueError) as exc:
            raise RegistryError(f"{self.name} sent an invalid location") from exc
        own = origin(url) == origin(self.url) and not url.userinfo
        if not location or len(location) > MAX_LOCATION_LENGTH or not own:
            raise RegistryError(f"{self.name} sent no location of its own: {without_secrets(url)}")
        return url

    async def request(
        self,
        method: str,
        url: httpx.URL,
        scope: Scope,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body = b"",
        transfer_bytes: int = 0,
    ) -> Answer:
        """Make a request once, with a login if the registry asks for one.

        ``transfer_bytes`` is the size of the body that is sent. Raises exceptions of `REPEATED`.
        """
        limit = self.policy.connect_timeout + self.policy.answer_timeout
        limit += transfer_bytes / self.policy.min_rate
        sent = self._login.header(scope)
        with anyio.fail_after(limit):
            answer = await self._attempt(method, url, _with(headers, sent), body)
        if answer.status == 401:
            challenge = answer.headers.get("WWW-Authenticate", "")
            sent = await self._login.answer(scope, challenge, sent)
            with anyio.fail_after(limit):
                answer = await self._attempt(method, url, _with(headers, sent), body)
        _raise_if_temporary(answer.status, answer.headers)
        return answer

    async def request_with_retries(
        self,
        method: str,
        url: httpx.URL,
        scope: Scope,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Repeat an idempotent request until the registry answers it.

        Raises `RegistryUnavailableError` if it does not.
        """
        retries = self.new_retries(f"{method} {url.path}")
        with retries.limited(len(body)):
            while True:
                try:
                    return await self.request(
                        method, url, scope, headers=headers, body=body, transfer_bytes=len(body)
                    )
                except REPEATED as exc:
                    await retries.wait(exc)

    async def exists(self, url: httpx.URL, scope: Scope, what: str) -> bool:
        """Return whether the registry has the blob or manifest at a URL."""
        headers = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES, "*/*"))}
        answer = await self.request_with_retries("HEAD", url, scope, headers=headers)
        # Registries redirect to the storage of content that they have.
        if answer.is_success or answer.status in _REDIRECTS:
            return True
        if answer.status != 404:
            self.raise_for_status(answer, what)
        return False

    def new_retries(self, what: str) -> Retries:
        """Return the delays between attempts of a request or transfer; ``what`` is for errors."""
        return Retries(self.policy, f"{self.name}: {what}")

    @asynccontextmanager
    async def stream(
        self, url: httpx.URL, scope: Scope, *, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[httpx.Response]:
        """Make a GET request, follow redirects, and yield the answer, whose body is not read yet.

        Registries redirect to storage on other hosts, to which our credentials are not sent.
        """
        with anyio.fail_after(self.policy.connect_timeout + self.policy.answer_timeout):
            response = await self._send_get(url, scope, headers)
            for _ in range(MAX_REDIRECTS):
                if response.status_code not in _REDIRECTS:
                    break
                await response.aclose()
                target = self._redirect_target(response)
                response = await self._send(self._build("GET", target, dict(headers or {})))
        try:
            _raise_if_temporary(response.status_code, response.headers)
            yield response
        finally:
            await response.aclose()

    def raise_for_status(self, answer: Answer, what: str) -> Answer:
        """Return a successful answer; raise the error that another one states."""
        if answer.is_success:
            return answer
        code, reason = parse_error(answer.content)
        message = f"{self.name}: {what}: HTTP {answer.status} {code} {reason}".rstrip()
        kinds = {401: LoginError, 403: LoginError, 404: NotInRegistryError}
        kind = kinds.get(answer.status, RegistryError)
        raise kind(message, status=answer.status, code=code)

    async def iter_body(self, response: httpx.Response, limit: int) -> AsyncGenerator[bytes]:
        """Yield the pieces of a body of at most ``limit`` bytes as they arrive.

        Raises `InvalidImageError` for a larger one. Raises exceptions of `REPEATED`, also if fewer
        bytes arrive than `TransferPolicy.min_rate`; time in which the caller uses a piece does not
        count.
        """
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in {"", "identity"}:
            raise NoAnswerError(
                f"a compressed answer ({printable(coding, 40)}), which was not asked for"
            )
        size = small = counted = 0
        waited = 0.0
        source = cast("httpx.AsyncByteStream", response.stream)
        async with aclosing(cast("AsyncGenerator[bytes]", aiter(source))) as body:
            while True:
                asked_at = anyio.current_time()
                piece = await _next_piece(body)
                if piece is None:
                    return
                waited += anyio.current_time() - asked_at
                size += len(piece)
                small += len(piece) < 128
                if size > limit:
                    raise InvalidImageError(f"an answer of more than {limit} bytes")
                if small > MAX_SMALL_PIECES:
                    raise NoAnswerError("an answer in too many small pieces")
                if small % 64 == 63:  # pieces of one packet arrive without a turn for other tasks
                    await anyio.lowlevel.checkpoint()
                yield piece
                if waited >= self.policy.idle_timeout:
                    if size - counted < self.policy.min_rate * waited:
                        raise NoAnswerError(f"too slow: {size - counted} bytes in {waited:.0f} s")
                    waited, counted = 0.0, size

    async def read_body(self, response: httpx.Response) -> bytes:
        """Return a body of at most `MAX_DOCUMENT_BYTES`; see `iter_body`."""
        data = bytearray()
        async with aclosing(self.iter_body(response, MAX_DOCUMENT_BYTES)) as body:
            async for piece in body:
                data += piece
        return bytes(data)

    async def _send_get(
        self, url: httpx.URL, scope: Scope, headers: Mapping[str, str] | None
    ) -> httpx.Response:
        sent = self._login.header(scope)
        response = await self._send(self._build("GET", url, _with(headers, sent)))
        if response.status_code == 401:
            await response.aclose()
            challenge = response.headers.get("WWW-Authenticate", "")
            sent = await self._login.answer(scope, challenge, sent)
            response = await self._send(self._build("GET", url, _with(headers, sent)))
        return response

    async def _attempt(
        self, method: str, url: httpx.URL, headers: dict[str, str], body: bytes | Body
    ) -> Answer:
        content = body if isinstance(body, bytes) else _guarded(body())
        response = await self._send(self._build(method, url, headers, content))
        try:
            data = await self.read_body(response)
            return Answer(response.status_code, response.headers, data)
        finally:
            await response.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            with unlogged():
                return await self._http.send(request, stream=True, follow_redirects=False)
        except REPEATED:
            raise
        except _BodyError as exc:
            raise exc.error from None
        except Exception as exc:  # a library rejected the answer
            raise NoAnswerError(f"{type(exc).__name__}: {exc}") from exc

    def _build(
        self,
        method: str,
        url: httpx.URL,
        headers: dict[str, str],
        content: bytes | AsyncIterable[bytes] = b"",
    ) -> httpx.Request:
        policy = self.policy
        timeout = httpx.Timeout(policy.idle_timeout, connect=policy.connect_timeout, pool=None)
        if method not in {"GET", "HEAD"}:
            timeout.read = policy.answer_timeout
        headers = {"Accept-Encoding": "identity", **headers}
        return self._http.build_request(
            method, url, headers=headers, content=content, timeout=timeout
        )

    def _redirect_target(self, response: httpx.Response) -> httpx.URL:
        try:
            target = response.url.join(response.headers.get("Location", ""))
        except (httpx.InvalidURL, ValueError) as exc:
            raise RegistryError(f"{self.name} sent an invalid redirect") from exc
        local = target.scheme == self.url.scheme == "http" and is_loopback_host(target.host)
        if not target.host or target.userinfo or (target.scheme != "https" and not local):
            msg = f"{self.name} redirects to an address without https, or with a password: "
            raise RegistryError(msg + without_secrets(target))
        return target

    async def _fetch_token(self, url: httpx.URL, authorization: str | None) -> bytes:
        retries = self.new_retries(f"login at {url.host}")
        while True:
            try:
                with anyio.fail_after(self.policy.answer_timeout):
                    answer = await self._attempt("GET", url, _with(None, authorization), b"")
                _raise_if_temporary(answer.status, answer.headers)
            except REPEATED as exc:
                await retries.wait(exc)
            else:
                return self.raise_for_status(answer, f"login at {url.host}").content


class _BodyError(Exception):
    """Exception of the function that creates a body, not of the HTTP library that calls it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


async def _guarded(body: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    try:
        async for piece in body:
            yield piece
    except Exception as exc:
        raise _BodyError(exc) from exc


async def _next_piece(body: AsyncGenerator[bytes]) -> bytes | None:
    try:
        return await anext(body, None)
    except REPEATED:
        raise
    except Exception as exc:  # a library rejected the answer
        raise NoAnswerError(f"{type(exc).__name__}: {exc}") from exc


def parse_error(content: bytes) -> tuple[str, str]:
    """Return code and message of a registry's error; they are empty if it states none."""
    try:
        match json.loads(content[:65_536]):
            case {"errors": [{"code": str(code), **rest}, *_]} if _CODE.fullmatch(code):
                return code, printable(str(rest.get("message", "")), 200)
            case _:
                return "", ""
    except (ValueError, RecursionError):
        return "", ""


def _raise_if_temporary(status: int, headers: httpx.Headers) -> None:
    if status < 500 and status not in _REPEATED_STATUSES:
        return
    after = headers.get("Retry-After", "")
    seconds = float(after) if re.fullmatch(r"[0-9]{1,20}", after) else 0.0
    raise NoAnswerError(f"HTTP {status}", retry_after=seconds)


def _with(headers: Mapping[str, str] | None, authorization: str | None) -> dict[str, str]:
    if authorization is None:
        return dict(headers or {})
    return {**(headers or {}), "Authorization": authorization}
