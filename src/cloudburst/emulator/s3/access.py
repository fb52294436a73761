"""Checks of requests: owners and policies of buckets, keys for encryption, and conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.policies import Access, decide, refusal
from cloudburst.emulator.s3.objects import Bucket, Encryption, StoredObject
from cloudburst.emulator.s3.requests import S3Request, not_implemented

# Id of the key `aws/s3` of each account in the emulator.
MANAGED_KEY = "aws-s3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Owner of the access key with which a request is signed."""

    arn: str
    account: str
    presigned: bool
    """True if the signature is in the URL."""
    permits: Callable[[Access], bool]
    """Function that returns whether the caller's policies allow an access."""


def check_bucket(request: S3Request, bucket: Bucket, caller: Caller) -> None:
    """Check that a caller may send a request to a bucket.

    All accounts may use the buckets of each other, as if their policies allowed it.
    """
    expected = request.headers.get("x-amz-expected-bucket-owner", bucket.owner)
    pays = request.headers.get("x-amz-request-payer") or request.query.get("x-amz-request-payer")
    unpaid = bucket.requester_pays and caller.account != bucket.owner and pays != "requester"
    if expected != bucket.owner or unpaid:
        raise _denied("Access Denied", bucket)
    access = replace(request.access, context=_context(request, bucket, caller))
    if decide([{"Statement": bucket.policy}], access) == "explicitDeny":
        raise _denied(
            f"User: {caller.arn} is not authorized to perform: {access.action} on resource: "
            f'"{access.resource}" with an explicit deny in a resource-based policy',
            bucket,
        )


def check_key(encryption: Encryption, caller: Caller, action: str) -> None:
    """Check that a caller may use the key with which an object is encrypted.

    Everyone in the account may use its key ``aws/s3`` through S3.
    """
    key = encryption.key
    if not key or key.endswith(f"/{MANAGED_KEY}"):
        return
    via = {"kms:ViaService": f"s3.{key.split(':')[3]}.amazonaws.com"}
    access = Access(action=f"kms:{action}", resource=key, context=via)
    if not caller.permits(access):
        raise _denied(refusal("implicitDeny", access, caller.arn))


def check_conditions(request: S3Request, current: StoredObject | None) -> None:
    """Check ``If-None-Match`` and ``If-Match`` of a request."""
    wanted, unwanted = (request.headers.get(n) for n in ("if-match", "if-none-match"))
    if unwanted not in {None, "*"}:
        raise not_implemented("If-None-Match with an ETag")
    if wanted and current is None:
        raise ApiError("NoSuchKey", "The specified key does not exist.", status=404)
    changed = current and wanted and wanted.strip('"') not in {"*", current.etag.strip('"')}
    if (unwanted and current) or changed:
        raise ApiError(
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
            status=412,
            more={"Condition": "If-Match" if changed else "If-None-Match"},
        )


def requested_encryption(request: S3Request, bucket: Bucket, caller: Caller) -> Encryption:
    """Return the encryption of an object that a request writes."""
    start, headers = "x-amz-server-side-encryption", request.headers
    if f"{start}-customer-algorithm" in headers:
        raise not_implemented("keys of the customer")
    if algorithm := headers.get(start):
        return encryption_of(bucket, caller, algorithm, headers.get(f"{start}-aws-kms-key-id", ""))
    return bucket.encryption


def encryption_of(bucket: Bucket, caller: Caller, algorithm: str, key: str) -> Encryption:
    """Return the encryption with an algorithm and a key of KMS, named by its ARN or its id."""
    if not algorithm.startswith("aws:kms"):
        return Encryption(algorithm=algorithm)
    if not key.startswith("arn:"):
        key = f"arn:aws:kms:{bucket.region}:{caller.account}:key/{key or MANAGED_KEY}"
    return Encryption(algorithm=algorithm, key=key)


def _context(request: S3Request, bucket: Bucket, caller: Caller) -> dict[str, Any]:
    upload = bucket.uploads.get(request.query.get("uploadId", ""))
    headers = {**(upload.request.headers if upload else {}), **request.headers}
    return {
        **request.access.context,
        **{f"s3:{name}": value for name, value in headers.items() if name.startswith("x-amz-")},
        "aws:SecureTransport": "true",
        "s3:authType": "REST-QUERY-STRING" if caller.presigned else "REST-HEADER",
    }


def _denied(message: str, bucket: Bucket | None = None) -> ApiError:
    region = {} if bucket is None else {"x-amz-bucket-region": bucket.region}
    return ApiError("AccessDenied", message, status=403, more={"headers": region})
