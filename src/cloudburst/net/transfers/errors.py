"""Errors of transfers, and how they follow from answers of S3 and of web servers."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import httpx
from anyio import move_on_after

from cloudburst.models.transfers import TransferFailure, TransferProblem
from cloudburst.net.network import ForbiddenAddressError, UntrustedCertificateError
from cloudburst.redaction import repeats_secret, without_secrets
from cloudburst.text import describe_error, printable_line, shorten

MAX_REASON_CHARS = 400
# Largest value in seconds of Retry-After that is passed on.
MAX_RETRY_AFTER = 3600

_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9._-]{1,80})\s*</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,1000})</Message>")
# Messages with which S3 answers AccessDenied to a presigned URL that has expired, or that was
# signed by a clock that is fast. The answer has no code of its own ("Error responses", Amazon S3
# API Reference, 2026-11).
_UNTIMELY_MESSAGES = {"Request has expired", "Request is not valid yet"}
_REDIRECTS = (301, 302, 303, 307, 308)

# Problems that the code of an S3 error determines, for any status ("Error responses", Amazon S3 API
# Reference, 2026-11).
_PROBLEMS_BY_CODE: Mapping[str, TransferProblem] = {
    code: problem
    for problem, codes in {
        TransferProblem.EXPIRED: (
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",  # of a session that has ended, or of a key that was replaced
            "InvalidToken",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "TokenRefreshRequired",
        ),
        TransferProblem.BUSY: (
            "ConditionalRequestConflict",
            "InternalError",
            "OperationAborted",
            "RequestLimitExceeded",
            "RequestTimeout",  # status 400
            "ServiceUnavailable",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
        ),
        TransferProblem.REFUSED: ("NotImplemented",),
        TransferProblem.MISSING: ("NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoSuchVersion"),
        TransferProblem.UNREACHABLE: ("IncompleteBody",),
        TransferProblem.INVALID: ("BadDigest", "XAmzContentChecksumMismatch"),
        TransferProblem.TOO_LARGE: ("EntityTooLarge",),
    }.items()
    for code in codes
}

_PROBLEMS_BY_STATUS: Mapping[int, TransferProblem] = {
    **dict.fromkeys(_REDIRECTS, TransferProblem.FORBIDDEN_ADDRESS),
    404: TransferProblem.MISSING,
    408: TransferProblem.BUSY,
    410: TransferProblem.MISSING,
    413: TransferProblem.TOO_LARGE,
    416: TransferProblem.CHANGED,
    425: TransferProblem.BUSY,
    429: TransferProblem.BUSY,
}


class TransferError(Exception):
    """Error for a failed transfer, with the reason as the client reads it."""

    def __init__(self, failure: TransferFailure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.problem}: {self.failure.reason}"


def transfer_error(
    problem: TransferProblem,
    reason: str,
    *,
    status: int | None = None,
    retry_after: float | None = None,
) -> TransferError:
    """Return an error with a reason, which is cut and made printable."""
    text = shorten(printable_line(reason, MAX_REASON_CHARS), MAX_REASON_CHARS)
    return TransferError(
        TransferFailure(problem=problem, reason=text, status=status, retry_after=retry_after)
    )


@contextmanager
def translated_errors() -> Generator[None]:
    """Turn the errors of a session into `TransferError`."""
    try:
        yield
    except httpx.RequestError as exc:
        problem = TransferProblem.UNREACHABLE
        if isinstance(exc, ForbiddenAddressError):
            problem = TransferProblem.FORBIDDEN_ADDRESS
        elif isinstance(exc, (httpx.ProtocolError, UntrustedCertificateError)):
            problem = TransferProblem.INVALID
        reason = describe_error(exc) if str(exc) else _TEXTS[type(exc)]
        without_secrets(exc)
        raise transfer_error(problem, reason) from exc


# Reasons for errors without a text of their own.
_TEXTS: Mapping[type[Exception], str] = defaultdict(
    lambda: "the connection broke",
    {
        httpx.ConnectTimeout: "no connection in time",
        httpx.ReadTimeout: "the server sends nothing",
        httpx.WriteTimeout: "the server receives too slowly",
        httpx.PoolTimeout: "too many transfers at the same time",
    },
)


@contextmanager
def time_limit(seconds: float | None, reason: str) -> Generator[None]:
    """Raise a `TransferError` with a reason if the block takes longer than ``seconds``."""
    with move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise transfer_error(TransferProblem.UNREACHABLE, reason)


def error_from_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, writing: bool, query: str
) -> TransferError:
    """Return the error that an unsuccessful answer of a server stands for.

    The query of the URL must not be shown even if the server repeats it.
    """
    match = _CODE.search(body)
    code = match.group(1).decode("ascii") if match else ""
    match = _MESSAGE.search(body)
    message = html.unescape(match.group(1).decode("utf-8", "replace")).strip() if match else ""
    problem = _problem(status, code, message, writing=writing)
    shown = [text for text in (code, message) if not repeats_secret(text, query)]
    reason = " ".join(filter(None, (f"HTTP {status}", *shown)))
    if status in _REDIRECTS:
        reason += " (redirects are not followed)"
    return transfer_error(
        problem,
        reason,
        status=status if 100 <= status <= 599 else None,
        retry_after=retry_after_seconds(headers),
    )


def _problem(status: int, code: str, message: str, *, writing: bool) -> TransferProblem:
    if code == "AccessDenied" and message in _UNTIMELY_MESSAGES:
        return TransferProblem.EXPIRED
    if status == 412:
        return TransferProblem.EXISTS if writing else TransferProblem.CHANGED
    families = {4: TransferProblem.REFUSED, 5: TransferProblem.BUSY}
    return (
        _PROBLEMS_BY_CODE.get(code)
        or _PROBLEMS_BY_STATUS.get(status)
        or families.get(status // 100, TransferProblem.INVALID)
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return the bounded number of seconds in ``Retry-After``; ``None`` if there is none."""
    text = headers.get("Retry-After", "")
    if not (text.isascii() and text.isdigit()):
        return None  # a date is ignored: it depends on the server's clock
    return float(min(int(text[:10]), MAX_RETRY_AFTER))
