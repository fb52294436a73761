"""Rows of the failure table for error codes of Amazon S3, and for messages about denied access."""

# A response to a HEAD request has no body, so botocore takes its HTTP status as the error code.

from __future__ import annotations

from functools import partial

from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    NoAnswerError,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.failures.failure import Failure, row

_SOURCE = "Error responses, Amazon S3 API reference (2026-11)"
_DENIED = "Troubleshoot access denied errors, Amazon S3 User Guide (2026-11)"
_HEAD = ("head_bucket", "head_object")
# Calls of a run.
_CALLS = (
    *_HEAD,
    "abort_multipart_upload",
    "complete_multipart_upload",
    "create_multipart_upload",
    "delete_object",
    "get_object",
    "list_objects_v2",
    "put_object",
)

# Error code of S3 for an object in an archive, which must be restored before it can be read.
OBJECT_ARCHIVED = "InvalidObjectState"

_s3 = partial(row, source=_SOURCE)

# Row for a lack of permission to use the key of KMS of a bucket or object.
KEY_DENIED = row(
    AccessDeniedError,
    "*is not authorized to perform: kms:*",
    meaning="the credentials may not use the key of KMS of the bucket or object",
    action="grant what cloudburst init --policy --s3 BUCKET/PREFIX --s3-key KEY prints; the policy "
    "of a key in another account must also allow it",
    source="https://github.com/buildkite/docs/pull/2344 (2023-08)",
)
# Row for a request that the policy of a bucket denies.
POLICY_DENIED = row(
    AccessDeniedError,
    "*to perform: s3:*with an explicit deny in a resource-based policy*",
    meaning="the policy of the bucket denies the request, even if the credentials allow it",
    action="find out what it demands, such as a header for the encryption "
    "(CLOUDBURST_S3_ENCRYPTION) or a network",
    source=_DENIED,
)
# Rows for messages of ``AccessDenied``; without such a message, the row for the code applies.
DENIALS = (
    KEY_DENIED,
    POLICY_DENIED,
    row(
        AccessDeniedError,
        "*with an explicit deny in *",
        meaning="a policy denies the request, and no further permission changes that",
        action="ask the administrator of the policy that the message names",
        source=_DENIED,
    ),
)

S3_ERRORS: tuple[Failure, ...] = (
    _s3(
        ResourceMissingError,
        "404",
        contexts=("head_bucket",),
        meaning="the bucket does not exist",
        action="check its name, or create it",
    ),
    _s3(
        ResourceMissingError,
        "InvalidBucketName",
        "NoSuchBucket",
        meaning="the bucket does not exist",
        action="check its name, or create it",
    ),
    _s3(
        ResourceMissingError,
        "404",
        contexts=("head_object",),
        meaning="the object does not exist",
        action="check its key",
    ),
    _s3(
        ResourceMissingError,
        "NoSuchKey",
        "NoSuchVersion",
        meaning="the object does not exist",
        action="check its key",
    ),
    _s3(
        AccessDeniedError,
        "403",
        "AccessDenied",
        contexts=_CALLS,
        meaning="the credentials do not have permission for this bucket or object",
        action="grant what cloudburst init --policy --s3 BUCKET/PREFIX prints; a bucket with "
        "Requester Pays of another account needs CLOUDBURST_S3_REQUESTER_PAYS=1",
    ),
    _s3(
        AWSError,
        "301",
        "307",
        "400",
        contexts=_HEAD,
        meaning="S3 rejects the request without a reason",
    ),
    _s3(
        AWSError,
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
        meaning="the bucket is in another region",
        action="check AWS_REGION and AWS_ENDPOINT_URL_S3",
    ),
    _s3(
        AWSError,
        "PreconditionFailed",
        "412",
        contexts=_CALLS,
        meaning="the object exists already, or was changed meanwhile",
    ),
    _s3(
        AWSError,
        "NotImplemented",
        contexts=_CALLS,
        meaning="the store does not have a function of S3 that runs need",
        action="use S3, or a store with conditional writes (If-None-Match and If-Match) and "
        "SHA-256 checksums",
    ),
    _s3(
        ThrottledError,
        "ConditionalRequestConflict",
        "OperationAborted",
        meaning="another request changes the same object",
    ),
    _s3(
        NoAnswerError,
        "BadDigest",
        "IncompleteBody",
        "XAmzContentSHA256Mismatch",
        meaning="the content of the request was changed or cut off on its way",
    ),
    _s3(
        AWSError,
        OBJECT_ARCHIVED,
        meaning="the object is archived",
        action="restore it, or use another storage class",
    ),
    row(
        AWSError,
        "KMS.*",
        meaning="the key of KMS of the bucket or object is disabled or does not exist",
        action="enable the key, or set another one as the default of the bucket",
        source="https://github.com/localstack/localstack/issues/8422 (2023-06); "
        "https://github.com/aws/aws-cli/issues/4507 (2019-09)",
    ),
)
