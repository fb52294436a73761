"""Access to buckets and objects: owners, bucket policies, and keys for encryption."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.objects import Bucket, Encryption
from cloudburst.emulator.s3.requests import S3Request, not_implemented

_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "Bool": lambda found, wanted: found.lower() == wanted.lower(),
    "StringEquals": lambda found, wanted: found == wanted,
    "StringLike": fnmatchcase,
}
"""Operators of conditions; ``StringNotEquals`` and ``StringNotLike`` are the opposites of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Owner of the access key with which a request is signed."""

    arn: str
    account: str
    foreign: bool
    """True if the account is not the emulated one."""
    presigned: bool
    """True if the signature is in the URL."""
    permits: Callable[[str], bool]
    """Function that returns whether the caller has the permission for an action such as
    ``kms:Decrypt``."""


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
    resource = f"arn:aws:s3:::{request.bucket}" + (f"/{request.key}" if request.key else "")
    action = f"s3:{request.action}"
    for statement in bucket.policy:
        if (
            any(fnmatchcase(action, pattern) for pattern in _texts(statement["Action"]))
            and any(fnmatchcase(resource, pattern) for pattern in _texts(statement["Resource"]))
            and _holds(statement.get("Condition", {}), _context(request, bucket, caller))
        ):
            raise _denied(
                f"User: {caller.arn} is not authorized to perform: {action} on resource: "
                f'"{resource}" with an explicit deny in a resource-based policy',
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
    if not caller.permits(f"kms:{action}"):
        raise _denied(
            f"User: {caller.arn} is not authorized to perform: kms:{action} on resource: {key} "
            f"because no identity-based policy allows the kms:{action} action"
        )


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


def read_policy(document: bytes) -> list[dict[str, Any]]:
    """Return the statements of a bucket policy that deny something.

    Raises:
        ApiError: The emulator does not evaluate an operator.
    """
    statements = json.loads(document)["Statement"]
    denying = [one for one in statements if one["Effect"] == "Deny"]
    for statement in denying:
        for operator in statement.get("Condition", {}):
            plain = operator.removesuffix("IfExists").replace("StringNot", "String")
            if plain not in {*_OPERATORS, "Null"}:
                raise not_implemented(f"condition {operator}")
    return denying


def _context(request: S3Request, bucket: Bucket, caller: Caller) -> dict[str, str]:
    """Return the values of condition keys. A request counts as sent with TLS."""
    upload = bucket.uploads.get(request.query.get("uploadId", ""))
    headers = {**(upload.encryption_headers if upload else {}), **request.headers}
    return {
        **{f"s3:{name}": value for name, value in headers.items() if name.startswith("x-amz-")},
        "aws:SecureTransport": "true",
        "s3:authType": "REST-QUERY-STRING" if caller.presigned else "REST-HEADER",
    }


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    return all(
        _holds_for(operator, _texts(wanted), context.get(key))
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _holds_for(operator: str, wanted: list[str], found: str | None) -> bool:
    if operator == "Null":
        return (found is None) == (wanted[0].lower() == "true")
    plain, negated = operator.removesuffix("IfExists"), "StringNot" in operator
    if found is None:
        return negated or operator != plain
    matches = _OPERATORS[plain.replace("StringNot", "String")]
    return any(matches(found, value) for value in wanted) != negated


def _texts(value: Any) -> list[str]:
    """Return the values of an element of a policy, which may have one value or a list of them."""
    if isinstance(value, list):
        return [*map(str, value)]  # pyright: ignore[reportUnknownArgumentType]
    return [str(value)]


def _denied(message: str, bucket: Bucket | None = None) -> ApiError:
    """Return the error for denied access, which names the region of the bucket as S3 does."""
    region = {} if bucket is None else {"x-amz-bucket-region": bucket.region}
    return ApiError("AccessDenied", message, status=403, more={"headers": region})
