"""Multipart uploads of the emulated S3."""

from __future__ import annotations

import hashlib
import secrets
import shutil

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.access import Caller, check_conditions, check_key, requested_encryption
from cloudburst.emulator.s3.objects import BucketFolder, MultipartUpload, StoredObject, new_etag
from cloudburst.emulator.s3.requests import S3Request, parse_document
from cloudburst.emulator.s3.responses import S3Response, encoded_key, xml_response

# Minimum size of all parts but the last one, in bytes: "Amazon S3 multipart upload limits", Amazon
# S3 User Guide (2026-11).
MIN_PART_BYTES = 5 << 20


class MultipartUploads:
    """Operations on multipart uploads, named like those of S3."""

    def __init__(self, folder: BucketFolder) -> None:
        self._folder = folder

    def find(self, request: S3Request) -> MultipartUpload:
        """Return the upload that a request names."""
        upload = self._folder.bucket(request.bucket).uploads.get(request.query["uploadId"])
        if upload is None or upload.request.key != request.key:
            raise ApiError("NoSuchUpload", "The specified upload does not exist.", status=404)
        return upload

    def create_multipart_upload(self, request: S3Request, caller: Caller) -> S3Response:
        """Start an upload."""
        bucket, upload_id = self._folder.bucket(request.bucket), secrets.token_urlsafe(32)
        encryption = requested_encryption(request, bucket, caller)
        check_key(encryption, caller, "GenerateDataKey")
        bucket.uploads[upload_id] = MultipartUpload(request=request, encryption=encryption)
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
                    shutil.copyfileobj(file, joined)
        md5s = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        digest = hashlib.md5(md5s, usedforsecurity=False).digest()
        etag = new_etag(upload.encryption, digest).strip('"')
        stored = StoredObject(
            path=path,
            size=sum(part.size for part in parts),
            etag=f'"{etag}-{len(parts)}"',
            request=upload.request,
            checksums={},
            encryption=upload.encryption,
        )
        bucket.put(request.key, stored)
        bucket.drop_upload(request.query["uploadId"])
        content = {"Bucket": request.bucket, "Key": request.key, "ETag": stored.etag}
        return xml_response("CompleteMultipartUploadResult", content)

    def abort_multipart_upload(self, request: S3Request, _: Caller) -> S3Response:
        """Delete an upload with its parts."""
        self.find(request)
        self._folder.bucket(request.bucket).drop_upload(request.query["uploadId"])
        return S3Response(status=204)

    def list_multipart_uploads(self, request: S3Request, _: Caller) -> S3Response:
        """List the uploads of a bucket."""
        found = [
            {"Key": encoded_key(upload.request.key, request.query), "UploadId": upload_id}
            for upload_id, upload in self._folder.bucket(request.bucket).uploads.items()
            if upload.request.key.startswith(request.query.get("prefix", ""))
        ]
        return xml_response("ListMultipartUploadsResult", {"IsTruncated": False, "Upload": found})


def _chosen_parts(upload: MultipartUpload, document: bytes) -> list[StoredObject]:
    parts = list[StoredObject]()
    for entry in parse_document(document).findall("Part"):
        part = upload.parts.get(int(entry.findtext("PartNumber", "0")))
        if part is None or part.etag.strip('"') != entry.findtext("ETag", "").strip('"'):
            raise ApiError("InvalidPart", "One or more of the specified parts could not be found.")
        parts.append(part)
    if any(part.size < MIN_PART_BYTES for part in parts[:-1]):
        raise ApiError("EntityTooSmall", "Your proposed upload is smaller than the minimum size.")
    return parts
