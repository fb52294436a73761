"""Requests to S3: the operation that a request calls, and the objects and headers it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree as ET

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.policies import Access
from cloudburst.emulator.signature import SignedRequest

# Parameters of a query that do not select an operation, and that the emulator knows.
ARGUMENTS = {
    "continuation-token",
    "delimiter",
    "encoding-type",
    "list-type",
    "max-keys",
    "prefix",
    "x-amz-request-payer",
    "x-id",
}
# Headers that a request for an object may set in its response, by parameter of the query:
# GetObject, Amazon S3 API reference (2026-11).
RESPONSE_HEADERS: Mapping[str, str] = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-type": "Content-Type",
}
# Operations by method, target and parameters of the query: Amazon S3 API reference (2026-11).
OPERATIONS: Mapping[tuple[str, str, frozenset[str]], str] = {
    ("GET", "service", frozenset()): "ListBuckets",
    ("PUT", "bucket", frozenset()): "CreateBucket",
    ("HEAD", "bucket", frozenset()): "HeadBucket",
    ("GET", "bucket", frozenset()): "ListObjectsV2",
    ("GET", "bucket", frozenset({"uploads"})): "ListMultipartUploads",
    ("PUT", "bucket", frozenset({"encryption"})): "PutBucketEncryption",
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
# IAM actions of operations that have another name: "Required permissions for Amazon S3 API
# operations", Amazon S3 User Guide (2026-11).
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
}
# Operations with a body that is streamed to a file.
READ_BODY = {"PutObject", "UploadPart"}


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
    document: bytes = field(default=b"", repr=False)
    """Body of a request with an XML document."""

    @property
    def access(self) -> Access:
        """Permission that the request needs."""
        name = f"{self.bucket}/{self.key}" if self.key else self.bucket
        return Access(
            action=f"s3:{ACTIONS.get(self.operation, self.operation)}",
            resource=f"arn:aws:s3:::{name}" if name else "*",
            context={f"s3:{key}": value for key, value in self.query.items()},
        )


def parse_request(head: SignedRequest) -> S3Request:
    """Return the call of S3 that an HTTP request is. Buckets are the first part of the path."""
    bucket, _, key = unquote(head.path).removeprefix("/").partition("/")
    query = dict(parse_qsl(head.query, keep_blank_values=True))
    target = "object" if key else "bucket" if bucket else "service"
    known = ARGUMENTS | RESPONSE_HEADERS.keys()
    selecting = frozenset(n for n in query if n not in known and not n.startswith("X-Amz-"))
    operation = OPERATIONS.get((head.method, target, selecting))
    copied = "x-amz-copy-source" in head.headers
    old_list = operation == "ListObjectsV2" and query.get("list-type") != "2"
    if operation is None or copied or old_list:
        raise not_implemented(f"{head.method} of {target} with {sorted(query)}")
    return S3Request(
        operation=operation,
        bucket=bucket,
        key=key,
        query=query,
        headers=head.headers,
    )


def not_implemented(feature: str) -> ApiError:
    """Return S3's error for a feature that the emulator does not have."""
    return ApiError(
        "NotImplemented",
        f"A header or query you provided is not implemented by the emulator: {feature}",
        status=501,
    )


def parse_document(document: bytes) -> ET.Element:
    """Return the root of an XML document, whose names have no namespaces."""
    root = ET.fromstring(document)  # noqa: S314 - only the owner of the emulator's key sends it
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root
