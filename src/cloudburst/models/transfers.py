"""Transfers between a worker and S3 or a web server, as a client requests them from the worker."""

# These are the JSON values of the native protocol: see docs/internals/protocol.md. No I/O.

from __future__ import annotations

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
)

# Maximum length of a URL, in characters. A presigned URL with a session token has about 2,500.
MAX_TRANSFER_URL_CHARS = 8192
# Maximum number of parts of a multipart upload ("Amazon S3 multipart upload limits", Amazon S3
# User Guide, 2026-11).
MAX_PARTS = 10_000
# Size of a file, in bytes, above which it is uploaded in several parts.
MULTIPART_BYTES = 100 * 1024**2

# Regular expression for an ETag, weak or strong. Its length is a choice.
ETAG_PATTERN = r'(?:W/)?"[!#-~]{0,200}"'

Bytes: TypeAlias = Annotated[int, Field(ge=0, le=2**53)]
HeaderName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}\z")]
HeaderValue: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,2048}\z")]
ETag: TypeAlias = Annotated[str, StringConstraints(pattern=rf"^{ETAG_PATTERN}\z")]
# URL that gives access to everyone who knows it. Only the JSON for a worker shows it.
PrivateUrl: TypeAlias = Annotated[
    SecretStr,
    Field(max_length=MAX_TRANSFER_URL_CHARS),
    PlainSerializer(SecretStr.get_secret_value, return_type=str, when_used="json"),
]


def is_loopback_host(host: str | None) -> bool:
    """Return whether the host of a URL is this machine, so that a transfer may use plain HTTP."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost" or (host or "").endswith(".localhost")


class TransferProblem(StrEnum):
    """Kind of a failed transfer, from which the client decides what to do."""

    EXPIRED = "expired"
    """The URL is no longer valid: sign it again."""
    REFUSED = "refused"
    """The server refuses the request for another reason (401, 403 and other 4xx)."""
    MISSING = "missing"
    """The server does not have the file (404, 410)."""
    CHANGED = "changed"
    """The file is not the one that was requested: another ETag or size (412, 416)."""
    EXISTS = "exists"
    """The object to be written exists already (412)."""
    BUSY = "busy"
    """The server asks for fewer requests, or has a temporary fault (408, 425, 429, 5xx)."""
    UNREACHABLE = "unreachable"
    """There is no connection to the server, its answer ended early, or it is too slow."""
    FORBIDDEN_ADDRESS = "forbidden address"
    """The URL leads to an address that is not public, or the server answers with a redirect."""
    TOO_LARGE = "too large"
    INVALID = "invalid"
    NO_SPACE = "no space"


class TransferFailure(BaseModel):
    """Reason why a transfer failed."""

    problem: TransferProblem
    reason: Annotated[str, StringConstraints(max_length=500)]
    """Description of what happened, without the URL."""
    status: Annotated[int, Field(ge=100, le=599)] | None = None
    retry_after: Annotated[float, Field(ge=0, le=3600)] | None = None
    """Seconds after which the server asks to repeat the request."""


class FetchRequest(BaseModel):
    """Body of ``POST /fetches``: a file that the worker gets from a URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: PrivateUrl
    """URL with the scheme ``https``, or ``http`` for an S3 endpoint on this machine."""
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=16)] = {}
    size: Bytes | None = None
    max_bytes: Bytes
    public_only: bool = True
    """True if the URL is not trusted, so that it may only lead to public addresses."""


class FetchEvent(BaseModel):
    """Line of the response to ``POST /fetches``. The last line has a hash or a failure."""

    received: Bytes = 0
    """Bytes received so far."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}\z")] | None = None
    """SHA-256 of the whole file, under which the worker has stored it."""
    etag: ETag | None = None
    failure: TransferFailure | None = None


class PutPart(BaseModel):
    """Part of a file that the worker writes to a URL with ``PUT``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: PrivateUrl
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=16)] = {}
    """Headers of the request, which the URL's signature may cover."""
    offset: Bytes = 0
    size: Bytes


class UploadRequest(BaseModel):
    """Body of ``POST /jobs/{id}/uploads``: a result that the worker writes to S3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Literal["video", "cover", "subtitles"]
    """Result of the job; only films have subtitles of their own."""
    parts: Annotated[tuple[PutPart, ...], Field(min_length=1, max_length=MAX_PARTS)]
    """Parts of the file; one for a file that is written by a single request."""


class UploadEvent(BaseModel):
    """Line of the response to ``POST /jobs/{id}/uploads``. The last has ETags or a failure."""

    sent: Bytes = 0
    """Bytes sent so far."""
    etags: Annotated[tuple[ETag, ...], Field(max_length=MAX_PARTS)] | None = None
    """ETag of each part, once all parts are written."""
    failure: TransferFailure | None = None
