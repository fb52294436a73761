"""Kinds of buckets and objects in companies: what works, and what is refused before a run."""

from __future__ import annotations

import uuid

import pytest
from botocore.exceptions import ClientError

from cloudburst.aws.client.responses import translate_errors
from cloudburst.aws.s3 import remote_files
from cloudburst.aws.s3.destination_check import check_destination
from cloudburst.aws.s3.folder_reader import S3FolderReader
from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.locations import S3Prefix
from cloudburst.models.transfers import TransferProblem
from cloudburst.net.transfers.errors import transfer_error
from cloudburst.outputs.s3_destination import S3Destination
from cloudburst.testing import Fault, s3_fault
from support.bucket_settings import KMS_KEY, deny, encrypt
from support.emulator_calls import client, new_client
from support.s3_account import (
    BUCKET,
    account,
    keys,
    make_two_videos,
    open_store,
    put,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def bucket(emulator):
    name = uuid.uuid4().hex
    client(emulator, "s3").create_bucket(Bucket=name)
    return name


async def make_videos(store, folder, monkeypatch):
    """Fetch an input and write two videos, one of them in parts, as a run does."""
    monkeypatch.setattr(remote_files, "MULTIPART_BYTES", 2)
    picture = folder.object("a.png")
    await store.put_small(picture, b"picture")
    found = await S3FolderReader(store).read(picture, 0, 100)
    remote = S3RemoteFiles(store, run="r", inputs={picture: found.file})
    await make_two_videos(remote, picture, folder)


def other_account(emulator):
    made = emulator.new_key(account="210987654321")
    key, secret = made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"]
    return new_client(emulator, "s3", key=key, secret=secret)


@pytest.mark.parametrize("algorithm", ["aws:kms", "aws:kms:dsse"])
async def test_a_bucket_with_a_key_of_kms(emulator, store, bucket, algorithm, monkeypatch):
    encrypt(client(emulator, "s3"), bucket, algorithm)
    folder = S3Prefix(bucket, "out/")
    assert await S3Destination(folder, store).find_faults(None) == []
    await make_videos(store, folder, monkeypatch)
    assert keys(emulator, bucket) == ["out/a.mp4", "out/a.png", "out/b.mp4"]


@pytest.mark.parametrize("denied", ["kms:GenerateDataKey", "kms:Decrypt"])
async def test_a_key_that_may_not_be_used_is_a_fault_of_the_folder(denied):
    with account(denied=frozenset({denied})) as emulator:
        encrypt(client(emulator, "s3"), BUCKET)
        async with open_store(emulator) as store:
            [fault] = await S3Destination(S3Prefix(BUCKET, ""), store).find_faults(None)
    assert f"{denied} on resource: {KMS_KEY}" in fault.found
    assert "may not use the key of KMS" in fault.found
    assert "--s3-key KEY" in fault.found


async def test_a_disabled_key_is_a_fault_of_the_folder(emulator, store, folder):
    emulator.add_fault(s3_fault("key disabled", "PutObject"))
    [fault] = await S3Destination(folder, store).find_faults(None)
    assert "KMS.DisabledException" in fault.found
    assert "enable the key" in fault.found


async def test_a_policy_that_denies_objects_is_a_fault_of_the_folder(emulator, store, bucket):
    deny(client(emulator, "s3"), bucket, "s3:PutObject", Null={"aws:SourceVpce": "true"})
    [fault] = await S3Destination(S3Prefix(bucket, ""), store).find_faults(None)
    assert "with an explicit deny in a resource-based policy" in fault.found
    assert "the policy of the bucket denies the request" in fault.found
    assert "init --policy" not in fault.found  # no permission helps


@pytest.mark.parametrize("encryption", ["AES256", KMS_KEY])
async def test_a_bucket_whose_policy_demands_a_header(emulator, bucket, encryption, monkeypatch):
    start = "s3:x-amz-server-side-encryption"
    wanted = {start: "aws:kms", f"{start}-aws-kms-key-id": KMS_KEY}
    condition = wanted if encryption == KMS_KEY else {start: "AES256"}
    deny(client(emulator, "s3"), bucket, "s3:PutObject", StringNotEquals=condition)
    folder = S3Prefix(bucket, "out/")
    async with open_store(emulator) as store:
        [fault] = await S3Destination(folder, store).find_faults(None)
    assert "CLOUDBURST_S3_ENCRYPTION" in fault.found
    async with open_store(emulator, CLOUDBURST_S3_ENCRYPTION=encryption) as store:
        assert await S3Destination(folder, store).find_faults(None) == []
        await make_videos(store, folder, monkeypatch)


async def test_a_bucket_of_another_account_that_bills_its_requesters(emulator, monkeypatch):
    owner = other_account(emulator)
    owner.create_bucket(Bucket="paid")
    owner.put_bucket_request_payment(
        Bucket="paid", RequestPaymentConfiguration={"Payer": "Requester"}
    )
    folder = S3Prefix("paid", "out/")
    async with open_store(emulator) as store:
        [fault] = await S3Destination(folder, store).find_faults(None)
    assert "CLOUDBURST_S3_REQUESTER_PAYS=1" in fault.found
    async with open_store(emulator, CLOUDBURST_S3_REQUESTER_PAYS="1") as store:
        assert await S3Destination(folder, store).find_faults(None) == []
        await make_videos(store, folder, monkeypatch)
        names = await S3FolderReader(store).list_names(folder)
    assert sorted(names) == ["a.mp4", "a.png", "b.mp4"]


async def test_init_reports_a_bucket_of_another_account(emulator, store, folder):
    account = emulator.config.account
    mine = await check_destination(store, folder, account=account)
    assert mine.detail == "in us-east-1; it accepts objects"
    other_account(emulator).create_bucket(Bucket="theirs")
    theirs = await check_destination(store, S3Prefix("theirs", ""), account=account)
    assert theirs.detail.startswith("in us-east-1, in another account (make sure")
    assert keys(emulator, "theirs") == []
    unknown = await check_destination(store, S3Prefix("theirs", ""))
    assert (unknown.detail, unknown.owned) == ("in us-east-1; it accepts objects", None)


async def test_init_reports_a_bucket_that_forbids_presigned_urls(emulator, store, bucket):
    account, folder = emulator.config.account, S3Prefix(bucket, "")
    deny(client(emulator, "s3"), bucket, "s3:*", StringEquals={"s3:authType": "REST-QUERY-STRING"})
    check = await check_destination(store, folder, account=account)
    assert "no presigned URL from this machine (HTTP 403 AccessDenied" in check.detail
    assert keys(emulator, bucket) == []
    # It may be that tasks are permitted to use them.
    assert await S3Destination(folder, store).find_faults(None) == []


@pytest.mark.parametrize("problem", [TransferProblem.UNREACHABLE, TransferProblem.BUSY])
async def test_only_a_refusal_of_a_presigned_url_is_reported(
    emulator, store, folder, monkeypatch, problem
):
    """Perhaps only a proxy leads to S3, which transfers do not use."""

    async def nobody(*_, **__):
        raise transfer_error(problem, "no connection in time", status=503)

    monkeypatch.setattr("cloudburst.aws.s3.destination_check.put_part", nobody)
    check = await check_destination(store, folder, account=emulator.config.account)
    assert check.detail == "in us-east-1; it accepts objects"


async def found_fault(store, location):
    with pytest.raises(InvalidInputError) as caught:
        await S3FolderReader(store).read(location, 0, 10)
    return str(caught.value)


async def test_an_archived_input_is_a_fault_of_its_scene(emulator, store, folder):
    put(emulator, folder.object("a.png"))
    emulator.add_fault(s3_fault("archived", "GetObject"))
    fault = await found_fault(store, folder.object("a.png"))
    assert fault == "archived; expected an object that was restored"


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"StorageClass": "INTELLIGENT_TIERING", "AccessTier": "ARCHIVE_ACCESS"}, "ARCHIVE_ACCESS"),
        ({"StorageClass": "\x1b[31m" * 100}, "[31m"),
        ({}, None),
    ],
)
async def test_the_archive_of_an_input_is_named(folder, more, place):
    error = {"Code": "InvalidObjectState", "Message": "archived"} | more
    response = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}

    class Archive:
        async def read_range(self, *_):
            with translate_errors("get_object"):
                raise ClientError(response, "GetObject")

    fault = await found_fault(Archive(), folder.object("a.png"))
    assert fault.isprintable()
    assert len(fault) < 100
    assert fault.startswith("archived (" if place else "archived;")
    assert (place or "") in fault


async def test_an_input_with_a_key_of_the_customer_is_a_fault_of_its_scene(emulator, store, folder):
    put(emulator, folder.object("a.png"))
    text = "The object was stored using a form of Server Side Encryption."
    emulator.add_fault(Fault(operation="s3:GetObject", code="InvalidRequest", message=text))
    assert text in await found_fault(store, folder.object("a.png"))


async def test_an_input_whose_key_may_not_be_used_is_a_fault_of_its_scene():
    with account(denied=frozenset({"kms:Decrypt"})) as emulator:
        encrypt(client(emulator, "s3"), BUCKET)
        location = S3Prefix(BUCKET, "").object("a.png")
        put(emulator, location)
        async with open_store(emulator) as store:
            fault = await found_fault(store, location)
    assert f"kms:Decrypt on resource: {KMS_KEY}" in fault
    assert "expected the permission kms:Decrypt" in fault


async def test_an_input_that_a_policy_denies_is_a_fault_of_its_scene(emulator, store, bucket):
    location = S3Prefix(bucket, "").object("a.png")
    put(emulator, location)
    deny(client(emulator, "s3"), bucket, "s3:GetObject", Null={"aws:SourceVpce": "true"})
    fault = await found_fault(store, location)
    assert "explicit deny in a resource-based policy" in fault
    assert "s3:ListBucket" not in fault
