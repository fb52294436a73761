"""Store of objects in S3, with checked answers and this package's errors."""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import error_code_of, headers_of
from cloudburst.aws.s3.object_info import ObjectInfo, ObjectRange, named_errors, object_info
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    ResourceMissingError,
)
from cloudburst.models.locations import S3Object, S3Prefix
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.settings import S3Encryption, Settings, parse_s3_encryption

# Maximum number of seconds for which a presigned URL is valid. A transfer has to begin, not to end,
# within this time. It is a choice: short, and longer than a scene waits for its worker.
URL_SECONDS = 3600
METADATA_FOLDER = ".cloudburst/"
"""Folder in the folder of the videos in which the check of the folder writes."""
PRECONDITION_FAILED = "PreconditionFailed"
"""Error code of S3 for a write whose condition does not hold."""
NO_SUCH_UPLOAD = "NoSuchUpload"
"""Error code of S3 for a multipart upload that was completed or aborted, or never existed."""
INVALID_RANGE = "InvalidRange"
"""Error code of S3 for a range behind the end of an object."""

# Codes of refused HEAD requests, whose reason only a request with a body in its answer shows.
_HEAD_CODES = {"301", "400", "403"}
# Headers of conditions, which a signature covers, by the parameters of boto.
_HEADERS = {"IfMatch": "if-match", "IfNoneMatch": "if-none-match"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedRequest:
    """Presigned request."""

    url: str = field(repr=False)
    headers: Mapping[str, str]
    """Headers that the request must have, because the signature covers them."""


class ObjectStore:
    """Objects in the buckets that the credentials reach.

    Every method raises the errors of `AWSClient.call`, with the location in the message:
    `ResourceMissingError` for a missing bucket or object, `AccessDeniedError` without permission,
    and `AWSError` with the code `PRECONDITION_FAILED` if a condition does not hold.
    """

    def __init__(self, aws: AWSClient, settings: Settings) -> None:
        self.aws = aws
        text, pays = settings.s3_encryption, settings.s3_requester_pays
        self._encryption = S3Encryption() if text is None else parse_s3_encryption(text)
        self._payer: dict[str, Any] = {"RequestPayer": "requester"} if pays else {}
        self._regions: dict[str, str] = {}
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def bucket_region(self, bucket: str) -> str:
        """Return the region of a bucket. It is asked for once for each bucket."""
        async with self._locks[bucket]:
            if (known := self._regions.get(bucket)) is None:
                known = self._regions[bucket] = await self._find_region(bucket)
            return known

    async def _find_region(self, bucket: str) -> str:
        headers: Mapping[str, str]
        with named_errors(S3Prefix(bucket, "")):
            try:
                response = await self.aws.call("s3", "head_bucket", Bucket=bucket)
                headers = response["ResponseMetadata"]["HTTPHeaders"]
            except (AccessDeniedError, AWSError) as exc:
                # The refusal names the region, too. Credentials that only reach objects are usual.
                headers = headers_of(exc)
                if "x-amz-bucket-region" not in headers:
                    # The answer to a list says what that to a HEAD request cannot. Without
                    # permission to list, the bucket may still be usable.
                    with suppress(AccessDeniedError):
                        await self.aws.call("s3", "list_objects_v2", Bucket=bucket, MaxKeys=1)
        return headers.get("x-amz-bucket-region") or self.aws.region

    async def head(self, location: S3Object) -> ObjectInfo:
        """Return the description of an object, with its SHA-256 if S3 has verified it."""
        try:
            response = await self._call(location, "head_object", ChecksumMode="ENABLED")
        except (AccessDeniedError, AWSError) as exc:
            if error_code_of(exc) not in _HEAD_CODES:
                raise
            # An answer to HEAD has no reason: expired credentials look like missing permission.
            await self._explain_object(location)
            response = await self._call(location, "head_object", ChecksumMode="ENABLED")
        return object_info(response, "head_object")

    async def find(self, location: S3Object) -> ObjectInfo | None:
        """Return the description of an object; ``None`` if it does not exist."""
        try:
            return await self.head(location)
        except ResourceMissingError:
            return None
        except AccessDeniedError:
            # Without unlimited permission to list the bucket, S3 says so of a missing object, too.
            # Of all keys that begin with this one, it is the first on a page.
            keys = S3Prefix(location.bucket, location.key)
            page = await self._call(
                keys, "list_objects_v2", Prefix=location.key, Delimiter="/", MaxKeys=1
            )
            if any(entry["Key"] == location.key for entry in page.get("Contents", ())):
                raise
            return None

    async def _explain_object(self, location: S3Object) -> None:
        """Raise the error that the answer to a HEAD request cannot express."""
        try:
            await self._call(location, "get_object", max_body=1, Range="bytes=0-0")
        except AWSError as exc:
            if exc.code != INVALID_RANGE:  # the object is empty
                raise

    async def read_range(
        self, location: S3Object, start: int, end: int, *, etag: str | None = None
    ) -> ObjectRange:
        """Return the bytes of an object from ``start`` to before ``end``, or to its end."""
        try:
            response = await self._call(
                location,
                "get_object",
                max_body=end - start,
                Range=f"bytes={start}-{end - 1}",
                **_conditions(etag=etag),
            )
        except AWSError as exc:
            if exc.code != INVALID_RANGE:
                raise
            info = await self.head(location)  # there is nothing at ``start``
            return ObjectRange(data=b"", info=info)
        return ObjectRange(data=response["Body"], info=object_info(response, "get_object"))

    async def list_folder(self, folder: S3Prefix, *, below: bool = False) -> list[S3Object]:
        """Return the objects directly in a folder, in the order of their keys.

        With ``below``, those in folders within the folder are included.
        """
        parameters: dict[str, Any] = {"Prefix": folder.prefix}
        if not below:
            parameters["Delimiter"] = "/"
        found: list[S3Object] = []
        while True:
            page = await self._call(folder, "list_objects_v2", **parameters)
            found += [S3Object(folder.bucket, entry["Key"]) for entry in page.get("Contents", ())]
            if not page["IsTruncated"]:
                return found
            parameters["ContinuationToken"] = page["NextContinuationToken"]

    async def put_small(self, location: S3Object, data: bytes, *, new: bool = False) -> None:
        """Write a small object, whose SHA-256 S3 verifies and keeps.

        A request without an answer is repeated, so that one for a ``new`` object may be refused
        with `PRECONDITION_FAILED` although the first request has written it.
        """
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        await self._call(
            location,
            "put_object",
            Body=data,
            ContentType="application/json",
            ChecksumSHA256=checksum,
            **self._encryption.parameters,
            **_conditions(new=new),
        )

    async def delete(self, location: S3Object) -> None:
        """Delete an object, if there is one."""
        await self._call(location, "delete_object")

    async def presign_get(self, file: RemoteFile) -> PresignedRequest:
        """Return a request for the version of an object that was checked."""
        location = file.location
        assert isinstance(location, S3Object), "only objects of S3 are signed"
        return await self._presign(location, "get_object", {}, **_conditions(etag=file.etag))

    async def presign_put(
        self,
        location: S3Object,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        new: bool,
        etag: str | None = None,
    ) -> PresignedRequest:
        """Return a request that writes an object in one piece. S3 verifies its SHA-256."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {
            "content-type": content_type,
            "x-amz-checksum-sha256": checksum,
            **self._encryption.headers,
            **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
        }
        return await self._presign(
            location,
            "put_object",
            headers,
            ContentType=content_type,
            ChecksumSHA256=checksum,
            Metadata=dict(metadata),
            **self._encryption.parameters,
            **_conditions(new=new, etag=etag),
        )

    async def presign_part(
        self, location: S3Object, upload_id: str, number: int
    ) -> PresignedRequest:
        """Return a request that writes a part of a multipart upload; parts start at number 1."""
        return await self._presign(
            location, "upload_part", {}, UploadId=upload_id, PartNumber=number
        )

    async def create_upload(
        self, location: S3Object, *, content_type: str, metadata: Mapping[str, str]
    ) -> str:
        """Start a multipart upload, and return its id."""
        response = await self._call(
            location,
            "create_multipart_upload",
            ContentType=content_type,
            Metadata=dict(metadata),
            **self._encryption.parameters,
        )
        return str(response["UploadId"])

    async def complete_upload(
        self,
        location: S3Object,
        upload_id: str,
        etags: Sequence[str],
        *,
        new: bool,
        etag: str | None = None,
    ) -> None:
        """Make an object of the parts of a multipart upload, under conditions as of `presign_put`.

        The error has the code `NO_SUCH_UPLOAD` if the upload was already completed.
        """
        parts = [{"PartNumber": number, "ETag": part} for number, part in enumerate(etags, 1)]
        await self._call(
            location,
            "complete_multipart_upload",
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
            **_conditions(new=new, etag=etag),
        )

    async def abort_upload(self, location: S3Object, upload_id: str) -> None:
        """Delete the parts of a multipart upload, if it was not completed."""
        try:
            await self._call(location, "abort_multipart_upload", UploadId=upload_id)
        except AWSError as exc:
            if exc.code != NO_SUCH_UPLOAD:
                raise

    async def _call(
        self, location: S3Object | S3Prefix, operation: str, *, max_body: int = 0, **parameters: Any
    ) -> dict[str, Any]:
        with named_errors(location):
            return await self.aws.call(
                "s3",
                operation,
                in_region=await self.bucket_region(location.bucket),
                max_body=max_body,
                **_names(location),
                **self._payer,
                **parameters,
            )

    async def _presign(
        self, location: S3Object, operation: str, headers: Mapping[str, str], **parameters: Any
    ) -> PresignedRequest:
        with named_errors(location):
            url = await self.aws.presign(
                "s3",
                operation,
                in_region=await self.bucket_region(location.bucket),
                max_seconds=URL_SECONDS,
                **_names(location),
                **self._payer,
                **parameters,
            )
        signed = {
            name: parameters[member] for member, name in _HEADERS.items() if member in parameters
        }
        payer = {"x-amz-request-payer": "requester"} if self._payer else {}
        return PresignedRequest(url=url, headers={**headers, **signed, **payer})


def _conditions(*, new: bool = False, etag: str | None = None) -> dict[str, Any]:
    return ({"IfNoneMatch": "*"} if new else {}) | ({} if etag is None else {"IfMatch": etag})


def _names(location: S3Object | S3Prefix) -> dict[str, Any]:
    key = {"Key": location.key} if isinstance(location, S3Object) else {}
    return {"Bucket": location.bucket, **key}
