"""Settings of buckets in the emulated S3: encryption, policies, owners and payers."""

from __future__ import annotations

import base64
import hashlib
import uuid
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.bucket_settings import KMS_KEY, deny, encrypt
from support.emulator_calls import client, new_client

PART = 5 << 20
OTHER_ACCOUNT = "210987654321"


@pytest.fixture(scope="module")
def emulator():
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as running:
        yield running


@pytest.fixture
def s3(emulator):
    return client(emulator, "s3")


@pytest.fixture
def bucket(s3):
    name = uuid.uuid4().hex
    s3.create_bucket(Bucket=name)
    return name


@contextmanager
def refused(code, status=None, text="."):
    with pytest.raises(ClientError, match=text) as refusal:
        yield
    response = refusal.value.response
    assert response["Error"]["Code"] == code
    assert status in {None, response["ResponseMetadata"]["HTTPStatusCode"]}


@pytest.mark.parametrize("algorithm", ["aws:kms", "aws:kms:dsse"])
def test_keys_of_kms_hide_the_md5(s3, bucket, algorithm):
    encrypt(s3, bucket, algorithm)
    where = {"Bucket": bucket, "Key": "a"}
    written = s3.put_object(**where, Body=b"x")
    found = s3.head_object(**where)
    assert written["ETag"] == found["ETag"] != f'"{hashlib.md5(b"x").hexdigest()}"'
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == (algorithm, KMS_KEY)
    upload = s3.create_multipart_upload(**where)["UploadId"]
    etags = [
        s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        for number, body in enumerate((b"1" * PART, b"2"), 1)
    ]
    md5s = b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    etag = s3.head_object(**where)["ETag"]
    assert etag.endswith('-2"')
    assert etag != f'"{hashlib.md5(md5s).hexdigest()}-2"'


def test_an_object_without_a_setting_has_the_key_of_s3(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert s3.head_object(Bucket=bucket, Key="a")["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("denied", ["kms:GenerateDataKey", "kms:Decrypt"])
def test_keys_of_kms_need_permissions(denied):
    with FargateEmulator(EmulatorConfig.quick(moto=False, denied=frozenset({denied}))) as emulator:
        s3 = client(emulator, "s3")
        s3.create_bucket(Bucket="mine")
        where = {"Bucket": "mine", "Key": "a"}
        upload = s3.create_multipart_upload(Bucket="mine", Key="b")["UploadId"]
        encrypt(s3, "mine", key="")
        s3.put_object(**where, Body=b"x")
        assert s3.get_object(**where)["Body"].read() == b"x"  # aws/s3 is open to the account
        encrypt(s3, "mine")
        s3.upload_part(Bucket="mine", Key="b", UploadId=upload, PartNumber=1, Body=b"x")
        if denied == "kms:GenerateDataKey":
            with refused("AccessDenied", 403, f"{denied} on resource: {KMS_KEY}"):
                s3.put_object(**where, Body=b"x")
            with refused("AccessDenied", 403, denied):
                s3.create_multipart_upload(**where)
            return
        checksum = base64.b64encode(hashlib.sha256(b"x").digest()).decode()
        s3.put_object(**where, Body=b"x", ChecksumSHA256=checksum)
        s3.head_object(**where)
        with refused("403"):
            s3.head_object(**where, ChecksumMode="ENABLED")
        with refused("AccessDenied", 403, denied):
            s3.get_object(**where)
        upload = s3.create_multipart_upload(**where)["UploadId"]
        with refused("AccessDenied", 403, denied):
            s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")


def test_keys_of_the_customer_are_refused(s3, bucket):
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    with refused("NotImplemented", 501):
        s3.put_object(Bucket=bucket, Key="a", Body=b"x", **key)


def test_a_policy_denies_objects_without_a_header(s3, bucket):
    header = "s3:x-amz-server-side-encryption"
    deny(s3, bucket, "s3:PutObject", StringNotEquals={header: ["AES256", "aws:kms"]})
    where = {"Bucket": bucket, "Key": "a"}
    for call in (s3.put_object, s3.create_multipart_upload):
        with refused("AccessDenied", 403, "explicit deny in a resource-based policy"):
            call(**where)
    encrypted = {"ServerSideEncryption": "AES256"}
    s3.put_object(**where, Body=b"x", **encrypted)
    upload = s3.create_multipart_upload(**where, **encrypted)["UploadId"]
    part = s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(
        **where,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"Bool": {"aws:SecureTransport": "false"}}, True),
        ({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}, False),
        ({"StringNotEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}, False),
        ({"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}, False),
        ({"StringLike": {"aws:SourceVpce": "*"}}, True),
        ({"Null": {"s3:x-amz-acl": "true"}}, False),
        ({"Null": {"s3:x-amz-acl": "false"}}, True),
        ({"StringNotLike": {"s3:authType": "REST-HEADER*"}}, True),
    ],
)
def test_conditions_of_a_policy(s3, bucket, condition, allowed):
    deny(s3, bucket, ["s3:Put*"], **condition)
    if allowed:
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")
        return
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")


def test_a_condition_that_is_not_evaluated_denies(s3, bucket):
    deny(s3, bucket, "s3:PutObject", IpAddress={"aws:SourceIp": "192.0.2.0/24"})
    with refused("AccessDenied", 403):
        s3.put_object(Bucket=bucket, Key="a", Body=b"x")


def test_buckets_of_another_account(emulator, s3):
    keys = emulator.new_key(account=OTHER_ACCOUNT)
    other = new_client(
        emulator, "s3", key=keys["AWS_ACCESS_KEY_ID"], secret=keys["AWS_SECRET_ACCESS_KEY"]
    )
    other.create_bucket(Bucket="theirs")
    where = {"Bucket": "theirs", "Key": "a"}
    s3.put_object(**where, Body=b"x", ExpectedBucketOwner=OTHER_ACCOUNT)
    with refused("AccessDenied", 403):
        s3.put_object(**where, Body=b"x", ExpectedBucketOwner=emulator.config.account)
    payment = {"Payer": "Requester"}
    other.put_bucket_request_payment(Bucket="theirs", RequestPaymentConfiguration=payment)
    other.get_object(**where)
    with refused("AccessDenied", 403):
        s3.get_object(**where)
    assert s3.get_object(**where, RequestPayer="requester")["Body"].read() == b"x"
