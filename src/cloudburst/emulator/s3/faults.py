"""Faults of S3 that clients must survive, for tests."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cloudburst.emulator.faults import Fault

AWS_S3_FAULTS: Mapping[str, Fault] = {
    "access denied": Fault(code="AccessDenied", message="Access Denied", status=403),
    "no such key": Fault(code="NoSuchKey", message="The specified key does not exist.", status=404),
    "slow down": Fault(code="SlowDown", message="Please reduce your request rate.", status=503),
    "internal error": Fault(
        code="InternalError", message="We encountered an internal error.", status=500
    ),
    "url expired": Fault(code="AccessDenied", message="Request has expired", status=403),
    "url not valid yet": Fault(code="AccessDenied", message="Request is not valid yet", status=403),
    "token expired": Fault(
        code="ExpiredToken", message="The provided token has expired.", status=400
    ),
    "clock skew": Fault(
        code="RequestTimeTooSkewed",
        message="The difference between the request time and the current time is too large.",
        status=403,
    ),
    "key disabled": Fault(
        code="KMS.DisabledException",
        message="arn:aws:kms:us-east-1:123456789012:key/of-the-bucket is disabled.",
    ),
    "conflict": Fault(
        code="ConditionalRequestConflict",
        message="A conflicting operation occurred during the processing of this request.",
        status=409,
    ),
    "wrong region": Fault(
        code="PermanentRedirect",
        message="The bucket you are attempting to access must be addressed using the specified "
        "endpoint. Please send all future requests to this endpoint.",
        status=301,
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
TEMPORARY_FAULTS = ("slow down", "internal error", "truncated", "slow", "lost", "dropped")
"""Names of the faults after which the same request may be repeated."""


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


def s3_fault_mix(
    seed: int, operations: Iterable[str], *, names: Iterable[str] = TEMPORARY_FAULTS, count: int = 3
) -> list[Fault]:
    """Return random faults for random calls of these operations, the same for each seed."""
    chance = random.Random(seed)  # noqa: S311 - not for cryptography
    kinds, targets = sorted(names), sorted(operations)
    return [
        s3_fault(chance.choice(kinds), chance.choice(targets), skip=chance.randrange(4))
        for _ in range(count)
    ]
