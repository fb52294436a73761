"""Operations of the emulated S3."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.access import Caller, check_bucket, check_customer_key, check_key
from cloudburst.emulator.s3.buckets import (
    DEFAULT_REGION,
    BucketOperations,
    requested_encryption,
)
from cloudburst.emulator.s3.checksums import BodyHash
from cloudburst.emulator.s3.conditions import check_conditions, failed_condition
from cloudburst.emulator.s3.multipart import MultipartUploads
from cloudburst.emulator.s3.objects import (
    ARCHIVES,
    Bucket,
    BucketFolder,
    StoredObject,
    new_etag,
    now,
)
from cloudburst.emulator.s3.requests import (
    READ_BODY,
    RESPONSE_HEADERS,
    S3Request,
    not_implemented,
)
from cloudburst.emulator.s3.responses import (
    S3Response,
    encoded_key,
    object_headers,
    xml_response,
)

MAX_LISTED = 1000
"""Maximum number of keys in one response."""
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class S3:
    """Emulated S3 API. Methods are called on one event loop only."""

    def __init__(self) -> None:
        self._folder = BucketFolder()
        self._buckets = BucketOperations(self._folder)
        self._uploads = MultipartUploads(self._folder)

    def close(self) -> None:
        """Delete the contents of all objects."""
        self._folder.close()

    def check_region(self, request: S3Request) -> None:
        """Check that a request is signed for the region of its bucket.

        The emulator stands for the endpoints of all regions. As on AWS, the global endpoint, for
        which requests are signed with ``us-east-1``, and other endpoints answer differently.

        Raises:
            ApiError: The bucket is in another region.
        """
        bucket = self._folder.buckets.get(request.bucket)
        if request.operation == "CreateBucket" or bucket is None:
            return
        if request.region == bucket.region:
            return
        more = {"headers": {"x-amz-bucket-region": bucket.region}}
        if request.region == DEFAULT_REGION:
            raise ApiError(
                "AuthorizationHeaderMalformed",
                f"The authorization header is malformed; the region '{request.region}' is wrong; "
                f"expecting '{bucket.region}'",
                more={"Region": bucket.region, **more},
            )
        raise ApiError(
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified "
            "endpoint. Please send all future requests to this endpoint.",
            status=301,
            more={"Endpoint": f"{request.bucket}.s3.amazonaws.com", **more},
        )

    async def answer(
        self, request: S3Request, body: AsyncIterable[bytes], *, caller: Caller
    ) -> S3Response:
        """Execute an operation.

        Args:
            request: The request.
            body: Blocks of its body.
            caller: Owner of the access key. If the owner may not list the bucket, a missing
                object is reported as a lack of permission, as on AWS.

        Raises:
            ApiError: The operation is refused.
        """
        if request.headers.get("content-encoding", "").startswith("aws-chunked"):
            raise not_implemented("aws-chunked")
        if bucket := self._folder.buckets.get(request.bucket):
            check_bucket(request, bucket, caller)
        if request.operation in READ_BODY:
            self._folder.bucket(request.bucket)
            path = self._folder.new_path()
            try:
                return await self._write(request, body, path, caller)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        request = replace(request, document=b"".join([block async for block in body]))
        name = _snake(request.operation)
        function = (
            getattr(self._buckets, name, None)
            or getattr(self._uploads, name, None)
            or getattr(self, f"_{name}")
        )
        try:
            response: S3Response = function(request, caller)
        except ApiError as error:
            listing = replace(request, operation="HeadBucket", key="").access
            if error.code in {"NoSuchKey", "NoSuchVersion"} and not caller.permits(listing):
                raise ApiError("AccessDenied", "Access Denied", status=403) from error
            raise
        return response

    async def _write(
        self, request: S3Request, body: AsyncIterable[bytes], path: Path, caller: Caller
    ) -> S3Response:
        bucket = self._folder.bucket(request.bucket)
        if request.operation == "PutObject":
            encryption = requested_encryption(request, bucket, caller)
            check_key(encryption, caller, "GenerateDataKey")
            _check_retention(request, bucket)
            check_conditions(request, bucket.objects.get(request.key))
        else:
            encryption = self._uploads.find(request).encryption
            check_key(encryption, caller, "Decrypt")
        hashed = BodyHash(request.headers)
        if "content-length" not in request.headers:
            raise ApiError("MissingContentLength", "You must provide Content-Length.", status=411)
        with path.open("wb") as file:
            async for block in body:
                hashed.update(block)
                file.write(block)
        if hashed.size != int(request.headers["content-length"]):
            raise ApiError("IncompleteBody", "You did not provide the number of bytes specified.")
        checksums = hashed.check()
        bucket = self._folder.bucket(request.bucket)
        stored = StoredObject(
            path=path,
            size=hashed.size,
            etag=new_etag(encryption, hashed.md5),
            modified=now(),
            content_type=request.headers.get("content-type", "binary/octet-stream"),
            metadata=request.metadata,
            checksums=checksums,
            version_id=secrets.token_hex(16) if bucket.versioned else None,
            encryption=encryption,
            storage_class=request.headers.get("x-amz-storage-class", "STANDARD"),
        )
        if request.operation == "PutObject":
            # Another request may have written it meanwhile.
            check_conditions(request, bucket.objects.get(request.key))
            bucket.put(request.key, stored)
        else:
            number = int(request.query["partNumber"])
            if not 1 <= number <= 10_000:
                raise ApiError("InvalidArgument", "Part number must be from 1 to 10000.")
            upload = self._uploads.find(request)
            if old := upload.parts.get(number):
                old.path.unlink(missing_ok=True)
            upload.parts[number] = stored
        headers = {"ETag": stored.etag, **encryption.headers}
        headers |= {f"x-amz-checksum-{name}": value for name, value in checksums.items()}
        if stored.version_id and request.operation == "PutObject":
            headers["x-amz-version-id"] = stored.version_id
        return S3Response(headers=headers)

    def _list_objects_v2(self, request: S3Request, _: Caller) -> S3Response:
        bucket, query = self._folder.bucket(request.bucket), request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = min(int(query.get("max-keys") or MAX_LISTED), MAX_LISTED)
        after = query.get("continuation-token") or query.get("start-after", "")
        contents, folders, last = list[dict[str, Any]](), list[str](), ""
        for key in bucket.keys(prefix, after):
            folder, found, __ = key.removeprefix(prefix).partition(delimiter or "\0")
            name = f"{prefix}{folder}{delimiter}" if delimiter and found else ""
            if name and (name == after or name in folders or after.startswith(name)):
                continue
            if len(contents) + len(folders) == limit:
                break
            last = name or key
            if name:
                folders.append(name)
                continue
            stored = bucket.objects[key]
            contents.append(
                {
                    "Key": encoded_key(key, query),
                    "LastModified": f"{stored.modified:%Y-%m-%dT%H:%M:%S.000Z}",
                    "ETag": stored.etag,
                    "Size": stored.size,
                    "StorageClass": stored.storage_class,
                }
            )
        else:
            last = ""
        content: dict[str, Any] = {
            "Name": request.bucket,
            "Prefix": encoded_key(prefix, query),
            "KeyCount": len(contents) + len(folders),
            "MaxKeys": limit,
            "IsTruncated": bool(last),
            "Contents": contents,
            "CommonPrefixes": [{"Prefix": encoded_key(name, query)} for name in folders],
        }
        if last:
            content["NextContinuationToken"] = last
        if "encoding-type" in query:
            content["EncodingType"] = query["encoding-type"]
        return xml_response("ListBucketResult", content)

    # Objects.

    def _head_object(self, request: S3Request, caller: Caller) -> S3Response:
        response = self._read(request, caller)
        response.close()
        response.file = None
        return response

    def _get_object(self, request: S3Request, caller: Caller) -> S3Response:
        stored = self._folder.bucket(request.bucket).find(
            request.key, request.query.get("versionId")
        )
        if stored.storage_class in ARCHIVES:
            raise ApiError(
                "InvalidObjectState",
                "The operation is not valid for the object's storage class",
                status=403,
                more={"StorageClass": stored.storage_class},
            )
        check_key(stored.encryption, caller, "Decrypt")
        return self._read(request, caller)

    def _read(self, request: S3Request, caller: Caller) -> S3Response:
        bucket, headers = self._folder.bucket(request.bucket), request.headers
        stored = bucket.find(request.key, request.query.get("versionId"))
        check_customer_key(request, stored.encryption)
        wanted, unwanted = headers.get("if-match"), headers.get("if-none-match")
        if wanted and wanted.strip('"') not in {"*", stored.etag.strip('"')}:
            raise failed_condition("If-Match")
        if unwanted and unwanted.strip('"') in {"*", stored.etag.strip('"')}:
            return S3Response(status=304, headers={"ETag": stored.etag})
        enabled = headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
        if enabled and stored.checksums:
            check_key(stored.encryption, caller, "Decrypt")
        part = _range(headers.get("range", ""), stored.size)
        start, end = part or (0, stored.size)
        shown = object_headers(stored, checksums=enabled and part is None)
        if part:
            shown["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
        for parameter, name in RESPONSE_HEADERS.items():
            if parameter in request.query:
                shown[name] = request.query[parameter]
        file = stored.path.open("rb")
        file.seek(start)
        return S3Response(status=206 if part else 200, headers=shown, file=file, size=end - start)

    def _delete_object(self, request: S3Request, _: Caller) -> S3Response:
        if "versionId" in request.query:
            raise not_implemented("deletion of a version")
        bucket = self._folder.bucket(request.bucket)
        check_conditions(request, bucket.objects.get(request.key))
        bucket.remove(request.key)
        headers: dict[str, str] = {}
        if bucket.versioned:  # the delete marker is not kept: it hides nothing but what is removed
            headers = {"x-amz-delete-marker": "true", "x-amz-version-id": secrets.token_hex(16)}
        return S3Response(status=204, headers=headers)


def _check_retention(request: S3Request, bucket: Bucket) -> None:
    """Check that a request has a hash of its body if the object will be locked."""
    names = request.headers.keys()
    hashed = "content-md5" in names or any(n.startswith("x-amz-checksum-") for n in names)
    if bucket.retention and not hashed:
        raise ApiError(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with "
            "Object Lock parameters",
        )


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first position that a ``Range`` header selects, and the end of the range.

    Return ``None`` if there is no valid header.
    """
    match = _RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(int(match[2] or size) + 1, size)
    if start >= end:
        raise ApiError(
            "InvalidRange",
            "The requested range is not satisfiable",
            status=416,
            more={"headers": {"Content-Range": f"bytes */{size}"}, "ActualObjectSize": size},
        )
    return start, end


def _snake(operation: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
