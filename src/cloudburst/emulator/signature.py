"""AWS Signature Version 4: parsing and verification of signatures.

The rules are those of "AWS Signature Version 4 for API requests" in the IAM user guide (2026-11).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from cloudburst.emulator.errors import ApiError

ALGORITHM = "AWS4-HMAC-SHA256"
DATE_FORMAT = "%Y%m%dT%H%M%SZ"
MAX_PRESIGNED_LIFETIME = timedelta(days=7)
# Maximum difference between a caller's clock and AWS's: for most services, and for S3.
SKEW, S3_SKEW = timedelta(minutes=5), timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """HTTP request as it was received."""

    method: str
    target: str
    """Path and query of the URL, still percent-encoded."""
    headers: Mapping[str, str]
    """Headers by lower-case name; several values of a header are joined with commas."""
    body: bytes

    @property
    def path(self) -> str:
        """Path of the URL, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """Query of the URL, still percent-encoded."""
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Parts of a request's signature."""

    key: str
    """Id of the access key with which the request was signed."""
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    value: str
    at: datetime
    token: str
    """Session token; empty if the request has none."""
    lasts: timedelta | None
    """Lifetime of a presigned URL; ``None`` for a signature in a header."""

    def is_timely(self, now: datetime) -> bool:
        """Return whether the signature is neither too old nor from the future."""
        return not self.has_expired(now) and now - self.at >= -self._skew

    def has_expired(self, now: datetime) -> bool:
        """Return whether the signature is too old."""
        return now - self.at > (self.lasts or self._skew)

    @property
    def _skew(self) -> timedelta:
        return S3_SKEW if self.service == "s3" else SKEW

    def fits(self, request: SignedRequest, secret: str) -> bool:
        """Return whether this signature is correct for a request and the caller's secret key."""
        if not self._covers_what_it_must(request.headers):
            return False
        payload = self._payload(request)
        if payload is None:
            return False
        right = _signature(self, _canonical(self, request, payload), secret)
        return hmac.compare_digest(right.encode(), self.value.encode())

    def _covers_what_it_must(self, headers: Mapping[str, str]) -> bool:
        """Return whether all headers that change the meaning of the request are signed."""
        needed = {"host"}
        if self.service == "s3":
            needed |= {name for name in headers if name.startswith("x-amz-")}
        elif self.lasts is None:
            needed |= {name for name in ("x-amz-date", "x-amz-target") if headers.get(name)}
        return needed <= set(self.signed_headers) and self.day == self.at.strftime("%Y%m%d")

    def _payload(self, request: SignedRequest) -> str | None:
        """Return the signed hash of the body; ``None`` if the request declares a wrong hash.

        For S3, the body is compared with its hash when it is read.
        """
        declared = request.headers.get("x-amz-content-sha256", "")
        if self.service == "s3":
            return declared or ("UNSIGNED-PAYLOAD" if self.lasts is not None else None)
        actual = hashlib.sha256(request.body).hexdigest()
        return actual if declared in {"", actual} else None


def read_signature(request: SignedRequest) -> Signature:
    """Return the signature of a request, whose body need not have been read yet."""
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    header = request.headers.get("authorization", "")
    if header:
        algorithm, _, rest = header.partition(" ")
        members = (part.strip().partition("=") for part in rest.split(","))
        parts = {name: value for name, _, value in members}
        parts["Algorithm"] = algorithm
        parts["Date"] = request.headers.get("x-amz-date", "")
        parts["Token"] = request.headers.get("x-amz-security-token", "")
    elif "X-Amz-Signature" in query:
        parts = {name.removeprefix("X-Amz-"): value for name, value in query.items()}
        parts["Token"] = query.get("X-Amz-Security-Token", "")
    else:
        code = "MissingAuthenticationTokenException"
        raise ApiError(code, "Missing Authentication Token", status=403)
    return _read(parts, presigned=not header)


def _read(parts: Mapping[str, str], *, presigned: bool) -> Signature:
    try:
        if parts["Algorithm"] != ALGORITHM:
            raise _malformed(f"Unsupported AWS 'algorithm': '{parts['Algorithm']}'.")
        key, day, region, service, end = parts["Credential"].split("/")
        lasts = timedelta(seconds=int(parts["Expires"])) if presigned else None
        at = datetime.strptime(parts["Date"], DATE_FORMAT).replace(tzinfo=UTC)
        signed = tuple(parts["SignedHeaders"].lower().split(";"))
        value = parts["Signature"]
    except KeyError as missing:
        raise _malformed(f"Authorization requires {missing} parameter.") from None
    except (ValueError, OverflowError):
        raise _malformed("The credential, date or expiry cannot be read.") from None
    if end != "aws4_request" or (lasts and not timedelta() < lasts <= MAX_PRESIGNED_LIFETIME):
        raise _malformed("The credential's scope or its expiry is not valid.")
    return Signature(
        key=key,
        day=day,
        region=region,
        service=service,
        signed_headers=signed,
        value=value,
        at=at,
        token=parts["Token"],
        lasts=lasts,
    )


def _malformed(message: str) -> ApiError:
    return ApiError("IncompleteSignatureException", message)


def _canonical(signature: Signature, request: SignedRequest, payload: str) -> str:
    # S3 signs the path as it is; all other services encode it once more.
    path = request.path if signature.service == "s3" else quote(request.path, safe="/~")
    pairs = sorted(
        (name, value)
        for name, _, value in (part.partition("=") for part in request.query.split("&") if part)
        if name != "X-Amz-Signature"
    )
    headers = [
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n"
        for name in signature.signed_headers
    ]
    return "\n".join(
        (
            request.method,
            path or "/",
            "&".join(f"{name}={value}" for name, value in pairs),
            "".join(headers),
            ";".join(signature.signed_headers),
            payload,
        )
    )


def _signature(signature: Signature, canonical: str, secret: str) -> str:
    scope = (signature.day, signature.region, signature.service, "aws4_request")
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join(
        (
            ALGORITHM,
            signature.at.strftime(DATE_FORMAT),
            "/".join(scope),
            hashlib.sha256(canonical.encode()).hexdigest(),
        )
    )
    return hmac.digest(key, text.encode(), "sha256").hex()
