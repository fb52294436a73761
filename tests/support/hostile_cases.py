"""Answers of web servers that break the rules, and the problem that each of them is."""

from __future__ import annotations

from typing import NamedTuple

from support import hostile_servers as servers
from support.hostile_servers import CONTENT, HOST, OK, Handler

SECRET = "X-Amz-Signature=0123456789abcdef&token=ab%2Fcd%2Fefgh"
DECODED = "ab/cd/efgh"


class Case(NamedTuple):
    problem: str
    handler: Handler
    reason: str
    headers: dict[str, str] | None = None
    size: int | None = None
    max_bytes: int = 100_000
    slow: bool = False
    """True if the server is given up because it is slow."""


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
    "slow body": Case("unreachable", servers.slow_body, "less than 4096 bytes", slow=True),
    "silent body": Case("unreachable", servers.silent_body, "less than 4096 bytes", slow=True),
    "slow head": Case("unreachable", servers.slow_head, "no answer", slow=True),
    "silent head": Case("unreachable", servers.silent_head, "sends nothing", slow=True),
    "slow early hints": Case("unreachable", servers.slow_early_hints, "no answer", slow=True),
    "slow error": Case("refused", servers.slow_error, "HTTP 403", slow=True),
    "error in crumbs": Case("refused", servers.error_in_crumbs, "HTTP 403", slow=True),
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
