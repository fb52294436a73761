"""Multipart uploads of the emulated S3."""

from __future__ import annotations

import hashlib
import secrets

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.access import Caller, check_key
from cloudburst.emulator.s3.buckets import requested_encryption
from cloudburst.emulator.s3.checksums import composite_checksum
from cloudburst.emulator.s3.conditions import check_conditions
from cloudburst.emulator.s3.objects import (
    BucketFolder,
    MultipartUpload,
    StoredObject,
    new_etag,
    now,
)
from cloudburst.emulator.s3.requests import S3Request, not_implemented, parse_document
from cloudburst.emulator.s3.responses import S3Response, encoded_key, xml_response

MIN_PART_BYTES = 5 << 20
"""Minimum size of all parts but the last one, in bytes: "Amazon S3 multipart upload limits",
Amazon S3 User Guide (2026-11)."""


class MultipartUploads:
    """Operations on multipart uploads, named like those of S3."""

    def __init__(self, folder: BucketFolder) -> None:
        self._folder = folder

    def find(self, request: S3Request) -> MultipartUpload:
        """Return the upload that a request names.

        Raises:
            ApiError: There is no such upload.
        """
        upload = self._folder.bucket(request.bucket).uploads.get(request.query["uploadId"])
        if upload is None or upload.key != request.key:
            raise ApiError("NoSuchUpload", "The specified upload does not exist.", status=404)
        return upload

    def create_multipart_upload(self, request: S3Request, caller: Caller) -> S3Response:
        """Start an upload."""
        bucket, upload_id = self._folder.bucket(request.bucket), secrets.token_urlsafe(32)
        algorithm = request.headers.get("x-amz-checksum-algorithm", "").lower()
        kind = request.headers.get("x-amz-checksum-type", "COMPOSITE")
        if algorithm not in {"", "crc32", "sha1", "sha256"} or kind != "COMPOSITE":
            raise not_implemented(f"checksum {algorithm} of type {kind}")
        encryption = requested_encryption(request, bucket, caller)
        check_key(encryption, caller, "GenerateDataKey")
        start = "x-amz-server-side-encryption"
        bucket.uploads[upload_id] = MultipartUpload(
            key=request.key,
            started=now(),
            content_type=request.headers.get("content-type", "binary/octet-stream"),
            metadata=request.metadata,
            algorithm=algorithm,
            encryption=encryption,
            encryption_headers={
                name: value for name, value in request.headers.items() if name.startswith(start)
            },
            storage_class=request.headers.get("x-amz-storage-class", "STANDARD"),
        )
        content = {"Bucket": request.bucket, "Key": request.key, "UploadId": upload_id}
        return xml_response("InitiateMultipartUploadResult", content)

    def complete_multipart_upload(self, request: S3Request, caller: Caller) -> S3Response:
        """Make an object of the parts of an upload."""
        bucket, upload = self._folder.bucket(request.bucket), self.find(request)
        check_key(upload.encryption, caller, "Decrypt")
        check_conditions(request, bucket.objects.get(request.key))
        parts = _chosen_parts(upload, request.document)
        path = self._folder.new_path()
        with path.open("wb") as joined:
            for part in parts:
                with part.path.open("rb") as file:
                    while block := file.read(1 << 20):
                        joined.write(block)
        md5s = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        digest = hashlib.md5(md5s, usedforsecurity=False).digest()
        etag = new_etag(upload.encryption, digest).strip('"')
        checksums = dict[str, str]()
        if name := upload.algorithm:
            checksums[name] = composite_checksum(name, [part.checksums[name] for part in parts])
        stored = StoredObject(
            path=path,
            size=sum(part.size for part in parts),
            etag=f'"{etag}-{len(parts)}"',
            modified=now(),
            content_type=upload.content_type,
            metadata=upload.metadata,
            checksums=checksums,
            checksum_type="COMPOSITE",
            version_id=secrets.token_hex(16) if bucket.versioned else None,
            encryption=upload.encryption,
            storage_class=upload.storage_class,
        )
        bucket.put(request.key, stored)
        bucket.drop_upload(request.query["uploadId"])
        content = {
            "Location": f"http://{request.bucket}.s3.amazonaws.com/{request.key}",
            "Bucket": request.bucket,
            "Key": request.key,
            "ETag": stored.etag,
        }
        return xml_response("CompleteMultipartUploadResult", content)

    def abort_multipart_upload(self, request: S3Request, _: Caller) -> S3Response:
        """Delete an upload with its parts."""
        self.find(request)
        self._folder.bucket(request.bucket).drop_upload(request.query["uploadId"])
        return S3Response(status=204)

    def list_multipart_uploads(self, request: S3Request, _: Caller) -> S3Response:
        """List the uploads of a bucket."""
        prefix = request.query.get("prefix", "")
        found = [
            {
                "Key": encoded_key(upload.key, request.query),
                "UploadId": upload_id,
                "Initiated": f"{upload.started:%Y-%m-%dT%H:%M:%S.000Z}",
            }
            for upload_id, upload in self._folder.bucket(request.bucket).uploads.items()
            if upload.key.startswith(prefix)
        ]
        content = {"Bucket": request.bucket, "IsTruncated": False, "Upload": found}
        return xml_response("ListMultipartUploadsResult", content)


def _chosen_parts(upload: MultipartUpload, document: bytes) -> list[StoredObject]:
    """Return the parts that a request to complete an upload names.

    Raises:
        ApiError: A part is missing or too small, or the parts are in the wrong order.
    """
    parts, previous = list[StoredObject](), 0
    for entry in parse_document(document).findall("Part"):
        number, etag = int(entry.findtext("PartNumber") or 0), entry.findtext("ETag") or ""
        part = upload.parts.get(number)
        if part is None or part.etag.strip('"') != etag.strip('"'):
            raise ApiError("InvalidPart", "One or more of the specified parts could not be found.")
        checksum = part.checksums.get(upload.algorithm, "")
        if upload.algorithm and (
            not checksum or entry.findtext(f"Checksum{upload.algorithm.upper()}") != checksum
        ):
            raise ApiError("InvalidPart", "The checksum of a part is missing or wrong.")
        if number <= previous:
            raise ApiError("InvalidPartOrder", "The list of parts was not in ascending order.")
        parts.append(part)
        previous = number
    if not parts:
        raise ApiError("MalformedXML", "You must specify at least one part.")
    if any(part.size < MIN_PART_BYTES for part in parts[:-1]):
        raise ApiError("EntityTooSmall", "Your proposed upload is smaller than the minimum size.")
    return parts
