"""Requests to S3: the operation that a request calls, and the objects and headers it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree as ET

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.policies import Access
from cloudburst.emulator.signature import SignedRequest

SUBRESOURCES = {
    "encryption",
    "object-lock",
    "partNumber",
    "policy",
    "requestPayment",
    "uploadId",
    "uploads",
    "versioning",
}
"""Parameters of a query that select an operation, and that the emulator knows."""
ARGUMENTS = {
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "max-keys",
    "max-uploads",
    "prefix",
    "start-after",
    "versionId",
    "x-amz-request-payer",
    "x-id",
}
"""Parameters of a query that do not select an operation."""
RESPONSE_HEADERS: Mapping[str, str] = {
    f"response-{name.lower()}": name
    for name in (
        "Cache-Control",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Expires",
    )
}
"""Headers that a request for an object may set in its response, by parameter of the query:
GetObject, Amazon S3 API reference (2026-11)."""
OPERATIONS: Mapping[tuple[str, str, frozenset[str]], str] = {
    ("GET", "service", frozenset()): "ListBuckets",
    ("PUT", "bucket", frozenset()): "CreateBucket",
    ("HEAD", "bucket", frozenset()): "HeadBucket",
    ("DELETE", "bucket", frozenset()): "DeleteBucket",
    ("GET", "bucket", frozenset()): "ListObjectsV2",
    ("GET", "bucket", frozenset({"uploads"})): "ListMultipartUploads",
    ("PUT", "bucket", frozenset({"versioning"})): "PutBucketVersioning",
    ("PUT", "bucket", frozenset({"encryption"})): "PutBucketEncryption",
    ("PUT", "bucket", frozenset({"object-lock"})): "PutObjectLockConfiguration",
    ("PUT", "bucket", frozenset({"policy"})): "PutBucketPolicy",
    ("PUT", "bucket", frozenset({"requestPayment"})): "PutBucketRequestPayment",
    ("GET", "object", frozenset()): "GetObject",
    ("HEAD", "object", frozenset()): "HeadObject",
    ("PUT", "object", frozenset()): "PutObject",
    ("DELETE", "object", frozenset()): "DeleteObject",
    ("POST", "object", frozenset({"uploads"})): "CreateMultipartUpload",
    ("PUT", "object", frozenset({"partNumber", "uploadId"})): "UploadPart",
    ("POST", "object", frozenset({"uploadId"})): "CompleteMultipartUpload",
    ("DELETE", "object", frozenset({"uploadId"})): "AbortMultipartUpload",
}
"""Operations by method, target and parameters of the query: Amazon S3 API reference (2026-11)."""
ACTIONS: Mapping[str, str] = {
    "ListBuckets": "ListAllMyBuckets",
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
}
"""IAM actions of operations that have another name: "Required permissions for Amazon S3 API
operations", Amazon S3 User Guide (2026-11)."""
LIST_KEYS = {"prefix", "delimiter", "max-keys"}
"""Parameters of a query that conditions of policies can test."""
READ_BODY = {"PutObject", "UploadPart"}
"""Operations with a body that is streamed to a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Request:
    """Request to S3, without its body."""

    operation: str
    bucket: str
    """Name of the bucket; empty for ListBuckets."""
    key: str
    """Key of the object; empty for operations on buckets."""
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    """Headers by lower-case name."""
    region: str
    """Region for which the request is signed."""
    document: bytes = field(default=b"", repr=False)
    """Body of a request with an XML document."""

    @property
    def access(self) -> Access:
        """Permission that the request needs."""
        name = f"{self.bucket}/{self.key}" if self.key else self.bucket
        return Access(
            action=f"s3:{ACTIONS.get(self.operation, self.operation)}",
            resource=f"arn:aws:s3:::{name}" if name else "*",
            context={f"s3:{key}": value for key, value in self.query.items() if key in LIST_KEYS},
        )

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata of the object that the request writes, by name without ``x-amz-meta-``."""
        start = "x-amz-meta-"
        return {
            name.removeprefix(start): value
            for name, value in self.headers.items()
            if name.startswith(start)
        }


def parse_request(head: SignedRequest, region: str) -> S3Request:
    """Return the call of S3 that an HTTP request is. Buckets are the first part of the path.

    Raises:
        ApiError: The emulator does not implement the operation.
    """
    bucket, _, key = unquote(head.path).removeprefix("/").partition("/")
    query = dict(parse_qsl(head.query, keep_blank_values=True))
    given = {name for name in query if not name.startswith("X-Amz-")}
    target = "object" if key else "bucket" if bucket else "service"
    selecting = frozenset(given & SUBRESOURCES)
    operation = OPERATIONS.get((head.method, target, selecting))
    unknown = given - SUBRESOURCES - ARGUMENTS
    if operation in {"GetObject", "HeadObject"}:
        unknown -= RESPONSE_HEADERS.keys()
    copied = "x-amz-copy-source" in head.headers
    old_list = operation == "ListObjectsV2" and query.get("list-type") != "2"
    if operation is None or unknown or copied or old_list:
        raise not_implemented(f"{head.method} of {target} with {sorted(given)}")
    return S3Request(
        operation=operation,
        bucket=bucket,
        key=key,
        query=query,
        headers=head.headers,
        region=region,
    )


def not_implemented(feature: str) -> ApiError:
    """Return S3's error for a feature that the emulator does not have."""
    return ApiError(
        "NotImplemented",
        f"A header or query you provided is not implemented by the emulator: {feature}",
        status=501,
    )


def parse_document(document: bytes) -> ET.Element:
    """Return the root of an XML document, whose names have no namespaces.

    Raises:
        ApiError: It is not XML.
    """
    try:
        root = ET.fromstring(document)  # noqa: S314 - only the owner of the emulator's key sends it
    except ET.ParseError:
        raise ApiError("MalformedXML", "The XML you provided was not well-formed.") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root
