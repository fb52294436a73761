"""Faults of S3 that clients must survive, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cloudburst.emulator.faults import Fault


def _error(code: str, message: str, status: int) -> Fault:
    return Fault(code=code, message=message, status=status)


AWS_S3_FAULTS: Mapping[str, Fault] = {
    "access denied": _error("AccessDenied", "Access Denied", 403),
    "no such key": _error("NoSuchKey", "The specified key does not exist.", 404),
    "slow down": _error("SlowDown", "Please reduce your request rate.", 503),
    "internal error": _error("InternalError", "We encountered an internal error.", 500),
    "url expired": _error("AccessDenied", "Request has expired", 403),
    "url not valid yet": _error("AccessDenied", "Request is not valid yet", 403),
    "token expired": _error("ExpiredToken", "The provided token has expired.", 400),
    "clock skew": _error(
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
        403,
    ),
    "key disabled": _error(
        "KMS.DisabledException",
        "arn:aws:kms:us-east-1:123456789012:key/of-the-bucket is disabled.",
        400,
    ),
    "archived": _error(
        "InvalidObjectState", "The operation is not valid for the object's storage class", 403
    ),
    "conflict": _error(
        "ConditionalRequestConflict",
        "A conflicting operation occurred during the processing of this request.",
        409,
    ),
    "wrong region": _error(
        "PermanentRedirect",
        "The bucket you are attempting to access must be addressed using the specified "
        "endpoint. Please send all future requests to this endpoint.",
        301,
    ),
    "truncated": Fault(kind="truncated"),
    "slow": Fault(kind="slow", seconds=0.2),
    "lost": Fault(kind="lost"),
    "dropped": Fault(kind="dropped"),
    "doubled": Fault(kind="doubled"),
}
"""Typical faults by name, for any operation of S3: "Error responses", Amazon S3 API reference
(2026-11). With "wrong region", the bucket is no longer where it was; a bucket that is in another
region from the start is no fault: create it with its location."""


def s3_fault(
    name: str,
    operation: str,
    *,
    skip: int = 0,
    times: int | None = 1,
    presigned: bool | None = None,
) -> Fault:
    """Return a fault of `AWS_S3_FAULTS` for an operation such as ``GetObject``."""
    return replace(
        AWS_S3_FAULTS[name],
        operation=f"s3:{operation}",
        skip=skip,
        times=times,
        presigned=presigned,
    )
