"""The policy for a folder in S3 allows the calls of a run, and no others."""

from __future__ import annotations

import pytest

from cloudburst.aws.s3 import remote_files
from cloudburst.aws.s3.destination_check import check_destination
from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.aws.setup.permissions import PolicyScope, Purpose, policy_document
from cloudburst.emulator.s3.requests import ACTIONS
from cloudburst.errors import ConfigurationError
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import Settings
from support.bucket_settings import KMS_KEY
from support.s3_account import make_two_videos, put, sha256

pytestmark = pytest.mark.anyio

OTHER_KEY = "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-1234"
SETTINGS = Settings(_env_file=None)


def statements(purpose, *folders, region="us-east-1", keys=()):
    document = policy_document(
        PolicyScope(SETTINGS, region, "1", s3=folders, s3_keys=keys), [purpose]
    )
    return {
        one["Sid"]: one
        for one in document["Statement"]
        if all(action.startswith(("s3:", "kms:")) for action in one["Action"])
    }


def test_folders_are_named_and_others_are_not():
    found = statements(Purpose.RUN, S3Prefix("in", "a*/"), S3Prefix("out", ""), region="cn-north-1")
    assert found["UseS3Objects"]["Resource"] == [
        "arn:aws-cn:s3:::in/a${*}/*",
        "arn:aws-cn:s3:::out/*",
    ]
    assert found["DeleteS3Checks"]["Resource"] == [
        "arn:aws-cn:s3:::in/a${*}/.cloudburst/*",
        "arn:aws-cn:s3:::in/a${*}/*/.cloudburst/*",
        "arn:aws-cn:s3:::out/.cloudburst/*",
        "arn:aws-cn:s3:::out/*/.cloudburst/*",
    ]
    assert found["ListS3Folder1"]["Condition"] == {"StringLike": {"s3:prefix": "a${*}/*"}}
    assert found["ListS3Folder2"]["Resource"] == "arn:aws-cn:s3:::out"
    assert statements(Purpose.RUN) == statements(Purpose.DOCTOR, S3Prefix("in", "")) == {}


async def test_the_actions_are_those_of_a_run(emulator, store, folder, monkeypatch):
    monkeypatch.setattr(remote_files, "MULTIPART_BYTES", 2)
    picture, since = folder.object("a.png"), len(emulator.calls)
    put(emulator, picture, b"picture")
    inputs = {picture: (await store.head(picture)).remote_file(picture)}
    remote = S3RemoteFiles(store, run="r", inputs=inputs)
    await check_destination(store, folder, account=emulator.config.account)
    await store.list_folder(folder)
    await make_two_videos(remote, picture, folder)
    async with remote.delivery(
        "c", folder.object("c.mp4"), size=9, sha256=sha256(b"b"), content_type="video/mp4"
    ) as delivery:
        await delivery.parts()
    used = {ACTIONS.get(call.operation, call.operation) for call in emulator.calls[since:]}
    allowed = {
        action.removeprefix("s3:")
        for one in statements(Purpose.RUN, folder).values()
        for action in one["Action"]
    }
    assert used == allowed


async def test_the_actions_of_init_are_those_of_the_check(emulator, store, folder):
    await store.bucket_region(folder.bucket)
    since = len(emulator.calls)
    await check_destination(store, folder, account=emulator.config.account)
    allowed = {
        action for one in statements(Purpose.INIT, folder).values() for action in one["Action"]
    }
    used = {f"s3:{ACTIONS.get(call.operation, call.operation)}" for call in emulator.calls[since:]}
    assert used == allowed


@pytest.mark.parametrize("purpose", [Purpose.RUN, Purpose.INIT])
def test_keys_of_kms_may_be_used_through_s3_only(purpose):
    found = statements(purpose, S3Prefix("in", ""), keys=[KMS_KEY, OTHER_KEY, KMS_KEY])["UseS3Keys"]
    assert found["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert found["Resource"] == [KMS_KEY, OTHER_KEY]
    assert found["Condition"] == {"StringLike": {"kms:ViaService": "s3.*"}}
    assert "UseS3Keys" not in statements(purpose, S3Prefix("in", ""))


@pytest.mark.parametrize("alias", ["films-abc-s3alias", "films--ol-s3"])
@pytest.mark.parametrize("purpose", [Purpose.RUN, Purpose.INIT])
def test_an_alias_of_an_access_point_is_refused(purpose, alias):
    with pytest.raises(ConfigurationError, match=rf"^s3://{alias}/a/: .*name its bucket"):
        statements(purpose, S3Prefix(alias, "a/"))
