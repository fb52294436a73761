"""Operations on buckets of the emulated S3: their existence, their region and their settings."""

from __future__ import annotations

import json
import re

from cloudburst.emulator.errors import ApiError
from cloudburst.emulator.s3.access import Caller
from cloudburst.emulator.s3.objects import MANAGED_KEY, Bucket, BucketFolder, Encryption, now
from cloudburst.emulator.s3.requests import S3Request, parse_document
from cloudburst.emulator.s3.responses import S3Response, xml_response

DEFAULT_REGION = "us-east-1"
"""Region whose buckets have no location constraint."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


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
        """Create a bucket, which belongs to the caller."""
        if not _BUCKET.fullmatch(request.bucket):
            raise ApiError("InvalidBucketName", "The specified bucket is not valid.")
        region = DEFAULT_REGION
        if request.document:
            region = (
                parse_document(request.document).findtext("LocationConstraint") or DEFAULT_REGION
            )
        if request.bucket in self._folder.buckets:
            raise ApiError(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded.",
                status=409,
            )
        locked = request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true"
        self._folder.buckets[request.bucket] = Bucket(
            region=region, created=now(), owner=caller.account, versioned=locked
        )
        return S3Response(headers={"Location": f"/{request.bucket}"})

    def head_bucket(self, request: S3Request, _: Caller) -> S3Response:
        """Report the region of a bucket."""
        bucket = self._folder.bucket(request.bucket)
        return S3Response(headers={"x-amz-bucket-region": bucket.region})

    def delete_bucket(self, request: S3Request, _: Caller) -> S3Response:
        """Delete an empty bucket."""
        bucket = self._folder.bucket(request.bucket)
        if bucket.objects or bucket.older:
            raise ApiError("BucketNotEmpty", "The bucket is not empty", status=409)
        for upload_id in list(bucket.uploads):
            bucket.drop_upload(upload_id)
        del self._folder.buckets[request.bucket]
        return S3Response(status=204)

    def put_bucket_versioning(self, request: S3Request, _: Caller) -> S3Response:
        """Let a bucket keep versions, or not."""
        enabled = parse_document(request.document).findtext("Status") == "Enabled"
        self._folder.bucket(request.bucket).versioned = enabled
        return S3Response()

    def put_bucket_encryption(self, request: S3Request, caller: Caller) -> S3Response:
        """Set the encryption of objects whose requests name no other."""
        rule = parse_document(request.document).find("Rule/ApplyServerSideEncryptionByDefault")
        if rule is None:
            raise ApiError("MalformedXML", "The XML you provided is not valid.")
        bucket = self._folder.bucket(request.bucket)
        bucket.encryption = encryption_of(
            bucket,
            caller,
            rule.findtext("SSEAlgorithm", "AES256"),
            rule.findtext("KMSMasterKeyID", ""),
        )
        return S3Response()

    def put_object_lock_configuration(self, request: S3Request, _: Caller) -> S3Response:
        """Set the mode in which new objects are locked; the length of the lock is not kept."""
        rule = parse_document(request.document).find("Rule/DefaultRetention")
        bucket = self._folder.bucket(request.bucket)
        bucket.retention = "" if rule is None else rule.findtext("Mode", "")
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


def encryption_of(bucket: Bucket, caller: Caller, algorithm: str, key: str) -> Encryption:
    """Return the encryption with an algorithm and a key of KMS, which may be named by its id."""
    if not algorithm.startswith("aws:kms"):
        return Encryption(algorithm=algorithm)
    name = key or MANAGED_KEY
    arn = (
        name
        if name.startswith("arn:")
        else f"arn:aws:kms:{bucket.region}:{caller.account}:key/{name}"
    )
    return Encryption(algorithm=algorithm, key=arn)


def requested_encryption(request: S3Request, bucket: Bucket, caller: Caller) -> Encryption:
    """Return the encryption of an object that a request writes."""
    start, headers = "x-amz-server-side-encryption", request.headers
    if customer := headers.get(f"{start}-customer-key-md5"):
        return Encryption(algorithm="", customer_md5=customer)
    if algorithm := headers.get(start):
        return encryption_of(bucket, caller, algorithm, headers.get(f"{start}-aws-kms-key-id", ""))
    return bucket.encryption
