"""Access to buckets and objects: owners, bucket policies, and keys for encryption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.policies import Access, decide, refusal
from cloudburst.emulator.s3.objects import Bucket, Encryption
from cloudburst.emulator.s3.requests import S3Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Owner of the access key with which a request is signed."""

    arn: str
    account: str
    foreign: bool
    """True if the account is not the emulated one."""
    presigned: bool
    """True if the signature is in the URL."""
    permits: Callable[[Access], bool]
    """Function that returns whether the caller's policies allow an access."""


def check_bucket(request: S3Request, bucket: Bucket, caller: Caller) -> None:
    """Check that a caller may send a request to a bucket.

    The emulated account may use the buckets of other accounts, as if their policies allowed it.

    Raises:
        ApiError: The bucket belongs to another account than expected, bills its requesters, has a
            policy that denies the request, or is not open to the caller.
    """
    expected = request.headers.get("x-amz-expected-bucket-owner", bucket.owner)
    pays = request.headers.get("x-amz-request-payer") or request.query.get("x-amz-request-payer")
    unpaid = bucket.requester_pays and caller.account != bucket.owner and pays != "requester"
    stranger = caller.foreign and caller.account != bucket.owner
    if expected != bucket.owner or unpaid or stranger:
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

    Raises:
        ApiError: The caller lacks the permission.
    """
    key = encryption.key
    if not key or encryption.managed:
        return
    via = {"kms:ViaService": f"s3.{key.split(':')[3]}.amazonaws.com"}
    access = Access(action=f"kms:{action}", resource=key, context=via)
    if not caller.permits(access):
        raise _denied(refusal("implicitDeny", access, caller.arn))


def check_customer_key(request: S3Request, encryption: Encryption) -> None:
    """Check that a request to read an object has the key with which its owner encrypted it.

    Raises:
        ApiError: It has another key or none.
    """
    if encryption.customer_md5 != request.headers.get(CUSTOMER_MD5, ""):
        raise ApiError(
            "InvalidRequest",
            "The object was stored using a form of Server Side Encryption. The correct parameters "
            "must be provided to retrieve the object.",
        )


CUSTOMER_MD5 = "x-amz-server-side-encryption-customer-key-md5"
"""Header with the MD5 of a key of the customer (SSE-C)."""


def _context(request: S3Request, bucket: Bucket, caller: Caller) -> dict[str, Any]:
    """Return the values of condition keys. A request counts as sent with TLS."""
    upload = bucket.uploads.get(request.query.get("uploadId", ""))
    headers = {**(upload.encryption_headers if upload else {}), **request.headers}
    return {
        **request.access.context,
        **{f"s3:{name}": value for name, value in headers.items() if name.startswith("x-amz-")},
        "aws:SecureTransport": "true",
        "s3:authType": "REST-QUERY-STRING" if caller.presigned else "REST-HEADER",
    }


def _denied(message: str, bucket: Bucket | None = None) -> ApiError:
    """Return the error for denied access, which names the region of the bucket as S3 does."""
    region = {} if bucket is None else {"x-amz-bucket-region": bucket.region}
    return ApiError("AccessDenied", message, status=403, more={"headers": region})
