"""Whole runs in buckets with settings of companies: a worker's requests must satisfy them, too."""

from __future__ import annotations

import uuid

import pytest

from support.bucket_settings import KMS_KEY, deny, encrypt
from support.emulator_calls import client, new_client
from support.s3_account import settings_of

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

NAMES = ["scene 0", "scene 1"]


@pytest.fixture
def bucket(world):
    world.bucket = uuid.uuid4().hex
    return world.bucket


async def test_a_key_of_kms_that_a_policy_demands(world, bucket):
    s3 = client(world.emulator, "s3")
    s3.create_bucket(Bucket=bucket)
    encrypt(s3, bucket)
    header = "s3:x-amz-server-side-encryption-aws-kms-key-id"
    deny(s3, bucket, "s3:PutObject", world.folder, StringNotEquals={header: KMS_KEY})
    scenes = world.scenes(2)
    settings = settings_of(world.emulator, CLOUDBURST_S3_ENCRYPTION=KMS_KEY)
    told = await world.run(scenes, settings=settings)
    world.hold(told, NAMES)
    found = s3.head_object(Bucket=bucket, Key=f"{world.folder}{NAMES[0]}.mp4")
    assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", KMS_KEY)


async def test_a_bucket_of_another_account_that_bills_its_requesters(world, bucket):
    made = world.emulator.new_key(account="210987654321")
    key, secret = made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"]
    world.s3 = new_client(world.emulator, "s3", key=key, secret=secret)
    # Only the refusal of its description names the region.
    region = {"LocationConstraint": "eu-west-1"}
    world.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=region)
    world.s3.put_bucket_request_payment(
        Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"}
    )
    scenes = world.scenes(2)
    settings = settings_of(world.emulator, CLOUDBURST_S3_REQUESTER_PAYS="1")
    told = await world.run(scenes, settings=settings)
    world.hold(told, NAMES)


async def test_objects_that_are_stored_as_web_pages_are_read_as_what_they_are(world):
    scenes = world.scenes(2)
    for path in (scene[name] for scene in scenes for name in ("image_path", "audio_path")):
        key = path.partition(f"{world.bucket}/")[2]
        data = world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read()
        world.s3.put_object(Bucket=world.bucket, Key=key, Body=data, ContentType="text/html")
    told = await world.run(scenes)
    world.hold(told, NAMES)
