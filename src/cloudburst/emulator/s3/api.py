"""Operations of the emulated S3."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.access import (
    Caller,
    check_bucket,
    check_conditions,
    check_key,
    encryption_of,
    requested_encryption,
)
from cloudburst.emulator.s3.checksums import BodyHash
from cloudburst.emulator.s3.multipart import MultipartUploads
from cloudburst.emulator.s3.objects import (
    Bucket,
    BucketFolder,
    StoredObject,
    new_etag,
)
from cloudburst.emulator.s3.requests import (
    READ_BODY,
    RESPONSE_HEADERS,
    S3Request,
    not_implemented,
    parse_document,
)
from cloudburst.emulator.s3.responses import (
    S3Response,
    encoded_key,
    object_headers,
    xml_response,
)

# Region whose buckets have no location constraint.
DEFAULT_REGION = "us-east-1"


class BucketOperations:
    """Operations on buckets, named like those of S3."""

    def __init__(self, folder: BucketFolder) -> None:
        self._folder = folder

    def list_buckets(self, _: S3Request, caller: Caller) -> S3Response:
        """List the buckets of the account."""
        found = [
            {"Name": name, "CreationDate": f"{bucket.created:%Y-%m-%dT%H:%M:%S.000Z}"}
            for name, bucket in sorted(self._folder.buckets.items())
            if bucket.owner == caller.account
        ]
        return xml_response("ListAllMyBucketsResult", {"Buckets": {"Bucket": found}})

    def create_bucket(self, request: S3Request, caller: Caller) -> S3Response:
        """Create a bucket, which belongs to the caller, unless there is one of its name."""
        region = ""
        if request.document:
            region = parse_document(request.document).findtext("LocationConstraint", "")
        bucket = Bucket(region=region or DEFAULT_REGION, owner=caller.account)
        self._folder.buckets.setdefault(request.bucket, bucket)
        return S3Response(headers={"location": f"/{request.bucket}"})

    def head_bucket(self, request: S3Request, _: Caller) -> S3Response:
        """Report the region of a bucket."""
        bucket = self._folder.bucket(request.bucket)
        return S3Response(headers={"x-amz-bucket-region": bucket.region})

    def put_bucket_encryption(self, request: S3Request, caller: Caller) -> S3Response:
        """Set the encryption of objects whose requests name no other."""
        bucket, document = self._folder.bucket(request.bucket), parse_document(request.document)
        rule = "Rule/ApplyServerSideEncryptionByDefault"
        algorithm = document.findtext(f"{rule}/SSEAlgorithm", "AES256")
        key = document.findtext(f"{rule}/KMSMasterKeyID", "")
        bucket.encryption = encryption_of(bucket, caller, algorithm, key)
        return S3Response()

    def put_bucket_policy(self, request: S3Request, _: Caller) -> S3Response:
        """Set the policy, of which only the statements that deny something are evaluated."""
        self._folder.bucket(request.bucket).policy = json.loads(request.document)["Statement"]
        return S3Response(status=204)

    def put_bucket_request_payment(self, request: S3Request, _: Caller) -> S3Response:
        """Set who pays for requests: the owner of the bucket, or the account that sends them."""
        payer = parse_document(request.document).findtext("Payer")
        self._folder.bucket(request.bucket).requester_pays = payer == "Requester"
        return S3Response()


# Maximum number of keys in one response.
MAX_LISTED = 1000
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class S3:
    """Emulated S3 API, with a new folder for the contents of objects."""

    def __init__(self, folder: Path) -> None:
        self._folder = BucketFolder(folder)
        self._buckets = BucketOperations(self._folder)
        self._uploads = MultipartUploads(self._folder)

    def check_region(self, request: S3Request, region: str) -> None:
        """Check that the region for which a request is signed is that of its bucket.

        The emulator stands for the endpoints of all regions. As on AWS, the global endpoint, for
        which requests are signed with ``us-east-1``, and other endpoints answer differently.
        """
        bucket = self._folder.buckets.get(request.bucket)
        if bucket is None or region == bucket.region:
            return
        code, status = "PermanentRedirect", 301
        message = "The bucket must be addressed using the specified endpoint."
        if region == DEFAULT_REGION:
            code, status = "AuthorizationHeaderMalformed", 400
            message = f"The region '{region}' is wrong; expecting '{bucket.region}'"
        more = {"Region": bucket.region, "headers": {"x-amz-bucket-region": bucket.region}}
        raise ApiError(code, message, status=status, more=more)

    async def answer(
        self, request: S3Request, body: AsyncIterable[bytes], *, caller: Caller
    ) -> S3Response:
        """Execute an operation."""
        if request.headers.get("content-encoding", "").startswith("aws-chunked"):
            raise not_implemented("aws-chunked")
        if bucket := self._folder.buckets.get(request.bucket):
            check_bucket(request, bucket, caller)
        if request.operation in READ_BODY:
            return await self._write(request, body, caller)
        request = replace(request, document=b"".join([block async for block in body]))
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", request.operation).lower()
        owner = next(o for o in (self, self._buckets, self._uploads) if hasattr(o, name))
        try:
            response: S3Response = getattr(owner, name)(request, caller)
        except ApiError as error:
            listing = replace(request, operation="HeadBucket", key="").access
            if error.code == "NoSuchKey" and not caller.permits(listing):
                raise ApiError("AccessDenied", "Access Denied", status=403) from error
            raise
        return response

    async def _write(
        self, request: S3Request, body: AsyncIterable[bytes], caller: Caller
    ) -> S3Response:
        bucket, path = self._folder.bucket(request.bucket), self._folder.new_path()
        if request.operation == "PutObject":
            encryption = requested_encryption(request, bucket, caller)
            check_key(encryption, caller, "GenerateDataKey")
        else:
            encryption = self._uploads.find(request).encryption
            check_key(encryption, caller, "Decrypt")
        if "content-length" not in request.headers:
            raise ApiError("MissingContentLength", "You must provide Content-Length.", status=411)
        hashed = BodyHash(request.headers)
        with path.open("wb") as file:
            async for block in body:
                hashed.update(block)
                file.write(block)
        stored = StoredObject(
            path=path,
            size=hashed.size,
            etag=new_etag(encryption, hashed.md5),
            request=request,
            checksums=hashed.check(),
            encryption=encryption,
        )
        if request.operation == "PutObject":
            check_conditions(request, bucket.objects.get(request.key))
            bucket.put(request.key, stored)
        else:
            # The upload may have been completed or aborted meanwhile.
            self._uploads.find(request).parts[int(request.query["partNumber"])] = stored
        return S3Response(headers={"ETag": stored.etag, **encryption.headers})

    def list_objects_v2(self, request: S3Request, _: Caller) -> S3Response:
        """List objects, and the folders of their keys."""
        bucket, query = self._folder.bucket(request.bucket), request.query
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = min(int(query.get("max-keys", MAX_LISTED)), MAX_LISTED)
        after = query.get("continuation-token", "")
        found = dict[str, StoredObject | None]()
        for key, stored in bucket.objects.items():
            if key.startswith(prefix):
                end = key.find(delimiter, len(prefix)) if delimiter else -1
                folder = key[: end + len(delimiter)] if end >= 0 else ""
                found[folder or key] = None if folder else stored
        names = sorted((name for name in found if name.encode() > after.encode()), key=str.encode)
        page = {name: found[name] for name in names[:limit]}
        content: dict[str, Any] = {
            "KeyCount": len(page),
            "IsTruncated": len(names) > limit,
            "Contents": [
                {
                    "Key": encoded_key(key, query),
                    "LastModified": f"{stored.modified:%Y-%m-%dT%H:%M:%S.000Z}",
                    "ETag": stored.etag,
                    "Size": stored.size,
                }
                for key, stored in page.items()
                if stored
            ],
            "CommonPrefixes": [
                {"Prefix": encoded_key(name, query)} for name, stored in page.items() if not stored
            ],
        }
        if len(names) > limit:
            content["NextContinuationToken"] = names[limit - 1]
        if "encoding-type" in query:
            content["EncodingType"] = query["encoding-type"]
        return xml_response("ListBucketResult", content)

    def get_object(self, request: S3Request, caller: Caller) -> S3Response:
        """Return an object, or a range of it."""
        stored = self._folder.bucket(request.bucket).find(request.key)
        check_key(stored.encryption, caller, "Decrypt")
        return self.head_object(request, caller)

    def head_object(self, request: S3Request, caller: Caller) -> S3Response:
        """Describe an object. The content of this response is not sent."""
        stored = self._folder.bucket(request.bucket).find(request.key)
        check_conditions(request, stored)
        enabled = request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
        if enabled and stored.checksums:
            check_key(stored.encryption, caller, "Decrypt")
        part = _range(request.headers.get("range", ""), stored.size)
        start, end = part or (0, stored.size)
        headers = object_headers(stored, checksums=enabled and part is None)
        if part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
        for parameter, name in RESPONSE_HEADERS.items():
            if parameter in request.query:
                headers[name] = request.query[parameter]
        content = stored.path.open("rb")
        content.seek(start)
        status = 206 if part else 200
        return S3Response(status=status, headers=headers, content=content, size=end - start)

    def delete_object(self, request: S3Request, _: Caller) -> S3Response:
        """Delete an object."""
        bucket = self._folder.bucket(request.bucket)
        check_conditions(request, bucket.objects.get(request.key))
        bucket.remove(request.key)
        return S3Response(status=204)


def _range(header: str, size: int) -> tuple[int, int] | None:
    if (match := _RANGE.fullmatch(header)) is None:
        return None
    start, end = int(match[1]), min(int(match[2] or size) + 1, size)
    if start >= end:
        raise ApiError("InvalidRange", "The requested range is not satisfiable", status=416)
    return start, end
