"""Requests of transfers: checks of the URL and headers, and the answers."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
from anyio import current_time, move_on_after
from pydantic import SecretStr, TypeAdapter, ValidationError

from cloudburst.models.transfers import ETag, TransferProblem, is_loopback_host
from cloudburst.net.session import iter_pieces, query_of
from cloudburst.net.transfers.errors import (
    error_from_answer,
    time_limit,
    transfer_error,
    translated_errors,
)

KiB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPolicy:
    """Limits of one transfer. Times are in seconds, sizes in bytes."""

    connect_timeout: float = 10.0
    """Time for the lookup of the server's name and the TCP connection, and again for the TLS
    handshake."""
    answer_timeout: float = 30.0
    """Time from the end of the request to the end of the answer's head, and again for the body of
    an answer that reports an error."""
    pace_window: float = 30.0
    """Time in which at least `pace_bytes` must be received, or the rest of the file; and in which a
    block of `put.BLOCK_BYTES` must be sent."""
    pace_bytes: int = 960 * KiB
    """Smallest number of bytes in a `pace_window`: with the defaults, 32 KiB per second."""
    total_timeout: float = 3600.0
    """Time for the whole transfer. The service keeps a file for as long after its last use."""


DEFAULT_POLICY = TransferPolicy()


# Maximum number of bytes that are read of the body of an unsuccessful answer.
MAX_ERROR_BYTES = 64 * 1024

# Headers that only this module sets, because they change the meaning of the request.
_OWN_HEADERS = {
    *("accept-encoding", "connection", "content-length", "expect", "host", "range"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}
_TARGET = re.compile(r"/[!#-\[\]_a-z~]*")
_ETAG: TypeAdapter[str] = TypeAdapter(ETag)


@dataclass(frozen=True, slots=True)
class _Target:
    shown: str
    """URL without its query, which may be logged."""
    path: bytes = field(repr=False)
    """Path and query, as the server receives them."""


@asynccontextmanager
async def open_answer(
    client: httpx.AsyncClient,
    method: str,
    url: SecretStr,
    *,
    headers: Mapping[str, str],
    own_headers: Mapping[str, str] | None = None,
    public_only: bool,
    content: AsyncIterable[bytes] | None = None,
    expected: frozenset[int] = frozenset({200}),
    policy: TransferPolicy,
) -> AsyncGenerator[httpx.Response]:
    """Make a request and yield the successful answer, whose body is not read yet.

    The query of the URL is passed to httpcore beside the request, so that no log line and no error
    of httpx and httpcore can contain it. Each block of ``content`` must be sent, and the answer
    begin, within the ``pace_window``; the caller limits the whole request.

    Raises:
        TransferError: The URL or a header is not accepted, there is no answer, or its status is
            none of ``expected``.
    """
    target = _parse_url(url.get_secret_value(), public_only=public_only)
    for name in headers:
        if name.lower() in _OWN_HEADERS:
            raise transfer_error(TransferProblem.INVALID, f"the header {name} cannot be set")
    request = client.build_request(
        method,
        target.shown,
        headers={**headers, **(own_headers or {})},
        content=content,
        timeout=httpx.Timeout(
            policy.pace_window, connect=policy.connect_timeout, pool=policy.answer_timeout
        ),
        extensions={"target": target.path},
    )
    # The time for the connection, with two timeouts of its own, is not part of the server's time.
    limit = 2 * policy.connect_timeout + policy.answer_timeout if content is None else None
    with time_limit(limit, f"no answer within {policy.answer_timeout:g} s"), translated_errors():
        response = await client.send(request, stream=True)
    try:
        if response.status_code not in expected:
            raise error_from_answer(
                response.status_code,
                response.headers,
                await _start_of_body(response, policy),
                writing=content is not None,
                query=query_of(request),
            )
        yield response
    finally:
        await response.aclose()


async def iter_body(response: httpx.Response, policy: TransferPolicy) -> AsyncGenerator[bytes]:
    """Yield the pieces of a body as they arrive.

    The time in which the caller uses a piece does not count as the server's.

    Raises:
        TransferError: The body is slower than the policy allows, comes in too many small pieces, or
            ends early.
    """
    left, received = policy.pace_window, 0
    too_slow = f"less than {policy.pace_bytes} bytes within {policy.pace_window:g} s"
    async with aclosing(iter_pieces(response)) as body:
        while True:
            begin = current_time()
            with time_limit(left, too_slow), translated_errors():
                piece = await anext(body, None)
            if piece is None:
                return
            left -= current_time() - begin
            received += len(piece)
            if received >= policy.pace_bytes:
                left, received = policy.pace_window, 0
            yield piece


def content_length(response: httpx.Response) -> int | None:
    """Return the length of the body that an answer announces; ``None`` if it announces none."""
    text = response.headers.get("Content-Length", "")
    if not text or "Transfer-Encoding" in response.headers:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise transfer_error(TransferProblem.INVALID, "the Content-Length is not a number")
    return int(text)


def entity_tag(response: httpx.Response) -> str | None:
    """Return the ETag of an answer; ``None`` if there is none or it is not valid."""
    try:
        return _ETAG.validate_python(response.headers.get("ETag"))
    except ValidationError:
        return None


def check_version(response: httpx.Response, headers: Mapping[str, str]) -> None:
    """Check that an answer has the ETag, or the date, for which the request asks.

    Servers may ignore ``If-Match`` and ``If-Unmodified-Since``.

    Raises:
        TransferError: The file is another version.
    """
    wanted = {name.lower(): value for name, value in headers.items()}
    etag, date = wanted.get("if-match"), wanted.get("if-unmodified-since")
    ignored = ""
    if etag is not None and entity_tag(response) != etag:
        ignored = "If-Match"
    elif date is not None and response.headers.get("Last-Modified", date) != date:
        ignored = "If-Unmodified-Since"
    if ignored:
        reason = f"the server ignores {ignored} and sends another version of the file"
        raise transfer_error(TransferProblem.CHANGED, reason, status=response.status_code)


def _parse_url(url: str, *, public_only: bool) -> _Target:
    try:
        parts = urlsplit(url)
        valid = (
            parts.scheme in {"https", "http"}
            and bool(parts.hostname)
            and (parts.port or 443) > 0
            and parts.username is None
            and "#" not in url
        )
        if (
            valid
            and parts.scheme == "http"
            and (public_only or not is_loopback_host(parts.hostname))
        ):
            reason = "the URL has the scheme http, by which it may only lead to this machine"
            raise transfer_error(TransferProblem.FORBIDDEN_ADDRESS, reason)
        origin = f"{parts.scheme}://{parts.netloc}"
        path = url[len(origin) :]
        path = path if path.startswith("/") else f"/{path}"
        if valid and url.lower().startswith(origin.lower()) and _TARGET.fullmatch(path):
            shown = str(httpx.URL(origin + path.partition("?")[0]))
            return _Target(shown, path.encode("ascii"))
    except (ValueError, httpx.InvalidURL):
        pass
    raise transfer_error(TransferProblem.INVALID, "the URL is not valid")


async def _start_of_body(response: httpx.Response, policy: TransferPolicy) -> bytes:
    body = bytearray()
    # What is known about the error counts, even if the rest of the answer is missing.
    with move_on_after(policy.answer_timeout), suppress(httpx.RequestError):
        async with aclosing(iter_pieces(response)) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) >= MAX_ERROR_BYTES:
                    break
    return bytes(body[:MAX_ERROR_BYTES])
