"""Rows of the failure table for error codes of Amazon S3.

A response to a HEAD request has no body, so botocore takes its HTTP status as the error code.
"""

from __future__ import annotations

from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    NoAnswerError,
    Remedy,
    ResourceMissingError,
    ThrottledError,
)
from cloudburst.models.failures.failure import Evidence, Failure

_SOURCE = "Error responses, Amazon S3 API reference (2026-11)"
_HEAD = ("head_bucket", "head_object")
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
"""Calls of a run."""

S3_ERRORS: tuple[Failure, ...] = (
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("404",),
        contexts=("head_bucket",),
        error=ResourceMissingError,
        remedy=Remedy.FIX_SETUP,
        meaning="the bucket does not exist",
        action="check its name, or create it",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("InvalidBucketName", "NoSuchBucket"),
        error=ResourceMissingError,
        remedy=Remedy.FIX_SETUP,
        meaning="the bucket does not exist",
        action="check its name, or create it",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("404",),
        contexts=("head_object",),
        error=ResourceMissingError,
        remedy=Remedy.FIX_SETUP,
        meaning="the object does not exist",
        action="check its key",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("NoSuchKey", "NoSuchVersion"),
        error=ResourceMissingError,
        remedy=Remedy.FIX_SETUP,
        meaning="the object does not exist",
        action="check its key",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("403", "AccessDenied"),
        contexts=_CALLS,
        error=AccessDeniedError,
        remedy=Remedy.FIX_SETUP,
        meaning="the credentials do not have permission for this bucket or object",
        action="grant the permissions that cloudburst init --policy --s3 BUCKET/PREFIX prints",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("301", "307", "400"),
        contexts=_HEAD,
        error=AWSError,
        remedy=Remedy.FIX_SETUP,
        meaning="S3 rejects the request without a reason",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"),
        error=AWSError,
        remedy=Remedy.FIX_SETUP,
        meaning="the bucket is in another region",
        action="check AWS_REGION and AWS_ENDPOINT_URL_S3",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("PreconditionFailed",),
        error=AWSError,
        remedy=Remedy.FIX_SETUP,
        meaning="the object exists already, or was changed meanwhile",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("NotImplemented",),
        contexts=_CALLS,
        error=AWSError,
        remedy=Remedy.FIX_SETUP,
        meaning="the store does not have a function of S3 that runs need",
        action="use S3, or a store with conditional writes (If-None-Match) and SHA-256 checksums",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("412",),
        contexts=("head_object",),
        error=AWSError,
        remedy=Remedy.FIX_SETUP,
        meaning="the object was changed meanwhile",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("ConditionalRequestConflict", "OperationAborted"),
        error=ThrottledError,
        remedy=Remedy.REPEAT_REQUEST,
        meaning="another request changes the same object",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),
        error=NoAnswerError,
        remedy=Remedy.REPEAT_REQUEST,
        meaning="the content of the request was changed or cut off on its way",
        source=_SOURCE,
    ),
    Failure(
        evidence=Evidence.ERROR_CODE,
        patterns=("InvalidObjectState",),
        error=ResourceMissingError,
        remedy=Remedy.FIX_SETUP,
        meaning="the object is archived",
        action="restore it, or use another storage class",
        source=_SOURCE,
    ),
)
