"""Settings of buckets in the emulated S3: default encryption and policies."""

from __future__ import annotations

import json

KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/1234"


def encrypt(s3, bucket, algorithm="aws:kms", key=KMS_KEY):
    """Encrypt new objects by default; an empty key stands for the one of AWS."""
    rule = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]},
    )


def deny(s3, bucket, action, folder="", **condition):
    """Deny an action to everybody if a condition holds."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": f"arn:aws:s3:::{bucket}/{folder}*",
        "Condition": condition,
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": [statement]}))
