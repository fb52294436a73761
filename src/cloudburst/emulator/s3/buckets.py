"""Operations on buckets of the emulated S3: their existence, their region and their settings."""

from __future__ import annotations

import json

from cloudburst.emulator.s3.access import Caller, encryption_of
from cloudburst.emulator.s3.objects import Bucket, BucketFolder
from cloudburst.emulator.s3.requests import S3Request, parse_document
from cloudburst.emulator.s3.responses import S3Response, xml_response

DEFAULT_REGION = "us-east-1"
"""Region whose buckets have no location constraint."""


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
        return S3Response()

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
