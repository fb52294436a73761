"""The script for an account that costs money, on one that does not."""

from __future__ import annotations

import importlib
import io
import json
import sys

import pytest
from rich.console import Console

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.setup.env_file import write_settings
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from support.own_images import Builder, account_with_registry
from support.project import DOCS
from support.s3_account import FOLDER, account, keys, open_store, uploads
from support.s3_account import settings_of as s3_settings
from support.setup_accounts import HERE, bare, client, session, set_up, settings_of, wipe

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SEEN = {"provisioning": 0.2, "pending": 0.6, "deprovisioning": 0.1}
"""Slow enough to be seen in each state."""
SUBNETS = 2
"""Enough to see that each gets a task."""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    module = importlib.import_module("check_aws")
    monkeypatch.setattr(sys.modules["aws_checks"], "POLL_INTERVAL", 0.1)
    monkeypatch.setattr(sys.modules["aws_checks"], "LOG_DELAY", 0.5)
    yield module
    for name in ("check_aws", "aws_checks", "aws_findings", "aws_image_check", "aws_s3_check"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def seen_account():
    """Return one account for the tests that need moto, which takes seconds to start."""
    with bare(**SEEN, image_platforms={}) as emulator:  # every image is for both processors
        yield emulator


@pytest.fixture
def emulator(seen_account):
    wipe(seen_account)
    return seen_account


@pytest.fixture
def told():
    return Console(file=io.StringIO(), width=80)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """A folder with the .env that ``init`` writes."""
    monkeypatch.chdir(tmp_path)

    async def prepare(emulator, **plan):
        env = tmp_path / ".env"
        await set_up(emulator, env_file=env, sources=("127.0.0.0/8", HERE), **plan)
        few = Settings(_env_file=env).subnets[:SUBNETS]
        write_settings(env, {"AWS_SUBNET_ID": ",".join(few)})
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)

    return prepare


def registered(emulator, *, containers=None, **health):
    """A new revision by hand: with some of the containers, or another health check."""
    ecs = client(emulator, "ecs")
    known = ecs.describe_task_definition(taskDefinition="cloudburst-task")["taskDefinition"]
    kept = ("cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn")
    first, *others = known["containerDefinitions"][:containers]
    first["healthCheck"] |= health
    ecs.register_task_definition(
        family="cloudburst-task",
        containerDefinitions=[first, *others],
        **{name: known[name] for name in kept},
    )


@pytest.mark.long(15)
async def test_every_promise_is_kept_by_the_emulator(script, told, in_folder, emulator):
    await in_folder(emulator, arm64=True)
    registered(emulator, interval=1)
    tasks_before, calls_before = len(emulator.tasks), len(emulator.calls)
    code = await script.main(script.Options(yes=True, lifetime=1.0), told)
    text = told.file.getvalue()
    assert code == 0, text
    assert "BROKEN" not in text
    assert text.count("kept ") == 18
    assert "a task runs in" in text
    assert "25 requests at once: 24 started, 1 without capacity" in text  # 6 vCPU / 0.25
    assert "processor" in text
    tasks = 4 + SUBNETS + 24 + 1 + 1
    assert len(emulator.tasks) - tasks_before == tasks
    assert not emulator.live
    calls = emulator.calls[calls_before:]
    stopped = [c for c in calls if c.operation == "StopTask" and c.status == 200]
    assert len(stopped) == tasks - 1  # one has ended by itself
    # What was registered for one check is gone.
    families = client(emulator, "ecs").list_task_definitions(familyPrefix="cloudburst-check")
    assert families["taskDefinitionArns"] == []


async def test_a_broken_promise_is_told_and_nothing_runs_on(
    script, told, in_folder, emulator, monkeypatch
):
    monkeypatch.setattr(sys.modules["aws_findings"], "MAX_TASK_SECONDS", 4.0)
    await in_folder(emulator, protocol=Protocol.ONESTEP)
    registered(emulator, containers=1, interval=1)  # without watchdog
    before = len(emulator.tasks)
    options = script.Options(yes=True, quick=True, spot=False, lifetime=1.0)
    code = await script.main(options, told)
    text = told.file.getvalue()
    assert code == 1
    assert "BROKEN A task that ends by itself" in text
    assert len(emulator.tasks) - before == 3
    assert not emulator.live


async def test_without_a_yes_nothing_is_started(script, told, in_folder, emulator, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "no")
    await in_folder(emulator)
    before = len(emulator.tasks)
    assert await script.main(script.Options(), told) == 1
    assert len(emulator.tasks) == before
    text = told.file.getvalue()
    assert "A burst: 25 tiny, $0.00" in text
    assert "They cost $0.0" in text


async def test_an_account_that_is_not_set_up_is_not_charged(script, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with bare(moto=False) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        assert await script.main(script.Options(yes=True), told) == 1
        assert "Nothing was started" in told.file.getvalue()


def test_its_estimate_is_below_what_its_first_line_promises(script):
    assert "ten cents" in script.__doc__
    assert script.Decimal("0.10") == script.MAX_USD
    options = script.read_options(
        ["--no-spot", "--lifetime", "30", "--quick", "--cloudtrail", "20", "--s3", "films/out"]
    )
    assert options == script.Options(
        spot=False, lifetime=30.0, quick=True, cloudtrail=20.0, s3=S3Prefix("films", "out/")
    )


def test_a_record_of_cloudtrail_is_searched_for_the_key(script):
    shown = sys.modules["aws_findings"].keys_shown
    keys = {"arn:aws:ecs:us-east-1:1:task/c/one": "secret-key"}

    def record(task, value):
        text = json.dumps({"responseElements": {"taskArn": task}, "environment": value})
        return {"CloudTrailEvent": text}

    (task,) = keys
    assert shown([record("arn:aws:ecs:us-east-1:1:task/c/other", "secret-key")], keys) is None
    assert shown([record(task, "HIDDEN_DUE_TO_SECURITY_REASONS")], keys) is False
    assert shown([record(task, "secret-key")], keys) is True
    assert shown([], keys) is None


@pytest.mark.parametrize(("encrypted", "promises"), [(False, 17), (True, 16)])
async def test_the_promises_of_s3_are_kept_by_the_emulator_and_nothing_is_left(
    script, told, monkeypatch, encrypted, promises
):
    module = sys.modules["aws_s3_check"]
    monkeypatch.setattr(module, "EXPIRY_DELAY", 2.1)
    findings = sys.modules["aws_findings"].Findings(told)
    with account() as emulator:
        if encrypted:
            rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "1234"}
            client(emulator, "s3").put_bucket_encryption(
                Bucket=FOLDER.bucket,
                ServerSideEncryptionConfiguration={
                    "Rules": [{"ApplyServerSideEncryptionByDefault": rule}]
                },
            )
        async with open_store(emulator) as store:
            await module.check_s3(store.aws, findings, FOLDER, s3_settings(emulator))
        text = told.file.getvalue()
        assert "BROKEN" not in text, text
        assert text.count("kept ") == promises, text
        kind = "aws:kms, SSEKMSKeyId arn:aws:kms:us-east-1:" if encrypted else "AES256"
        assert f"objects of the bucket: ServerSideEncryption {kind}" in " ".join(text.split())
        assert keys(emulator) == []
        assert uploads(emulator) == []


async def test_the_image_is_pushed_and_its_repository_is_removed(
    script, told, registry_server, tmp_path
):
    module = sys.modules["aws_image_check"]
    findings = sys.modules["aws_findings"].Findings(told)
    with account_with_registry(registry_server, moto=False) as emulator:
        async with open_aws(settings_of(emulator), session=session()) as aws:
            await module.check_image(aws, findings, build=Builder(tmp_path / "images"))
        text = told.file.getvalue()
        assert text.count("kept ") == 4, text
        assert client(emulator, "ecr").describe_repositories()["repositories"] == []
