"""``cloudburst doctor --live``, on an account that costs nothing."""

from __future__ import annotations

import io
import re
import sys
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from cloudburst.aws.setup import running_tasks
from cloudburst.aws.setup.init_account import write_settings
from cloudburst.aws.setup.permissions import (
    LIVE_NAME,
    LIVE_OBJECTS,
    PolicyScope,
    Purpose,
    policy_document,
)
from cloudburst.aws.setup.resource_definitions import tag_list
from cloudburst.cli import live_account, live_storage, live_tasks
from cloudburst.cli.app import run
from cloudburst.cli.live_check import Part, check_live, plan_live
from cloudburst.emulator.s3 import api
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.testing import Fault
from support.live_parts import findings_of, opened
from support.own_images import Builder, account_with_registry
from support.s3_account import FOLDER, account, keys, open_store, uploads
from support.setup_accounts import HERE, bare, client, set_up, settings_of

pytestmark = pytest.mark.timeout(120)

SUBNETS = 2
"""Enough to see that each gets a task."""
BUCKET = "checked"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(live_account, "POLL_INTERVAL", 0.1)
    monkeypatch.setattr(live_tasks, "BURST", 3)
    monkeypatch.setattr(running_tasks, "LIST_INTERVAL", 0.1)
    monkeypatch.setattr(live_tasks, "LIFETIME", 1.0)
    monkeypatch.setattr(live_storage, "EXPIRY_DELAY", 2.1)


@pytest.fixture
def bucket(emulator):
    """The name of a bucket in the account that tests share."""
    with suppress(client(emulator, "s3").exceptions.BucketAlreadyOwnedByYou):
        client(emulator, "s3").create_bucket(Bucket=BUCKET)
    return BUCKET


@pytest.fixture
def set_up_account():
    """An account as ``init`` leaves it, without moto, which takes seconds to start."""
    with bare(prepared=True, moto=False) as emulator:
        yield emulator


@pytest.fixture
def in_folder(set_up_account, tmp_path, monkeypatch):
    """An empty folder, and the settings of the account in the environment."""
    monkeypatch.chdir(tmp_path)
    for name, value in set_up_account.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A folder with the .env that ``init`` writes, and the settings in it."""
    monkeypatch.chdir(tmp_path)

    def prepare(emulator, **plan):
        env = tmp_path / ".env"

        async def init():
            await set_up(emulator, env_file=env, sources=("127.0.0.0/8", HERE), **plan)

        anyio.run(init)
        few = Settings(_env_file=env).subnets[:SUBNETS]
        write_settings(env, {"AWS_SUBNET_ID": ",".join(few)})
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        return Settings(_env_file=env)

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
def test_every_promise_is_kept_by_the_emulator_with_the_printed_policy(
    prepared, emulator, bucket, capsys, monkeypatch
):
    folder = S3Prefix(bucket, "a/")
    settings = prepared(emulator, arm64=True)
    registered(emulator, interval=1)
    allowed = policy_document(
        PolicyScope(settings, "us-east-1", emulator.config.account, s3=[folder]), [Purpose.LIVE]
    )
    for name, value in emulator.new_key(policies=[allowed]).items():
        monkeypatch.setenv(name, value)
    tasks_before, calls_before = len(emulator.tasks), len(emulator.calls)
    code = run(["doctor", "--live", "--yes", "--s3", str(folder)])
    text = capsys.readouterr().out
    assert code == 0, text
    of_tasks, of_s3, of_all = 10 + 1 + 1 + SUBNETS + 1 + 1 + 2, 15, 1
    assert f"\n{of_tasks + of_s3 + of_all} kept, 0 broken, 1 not tried.\n" in text
    assert "this part: the image is not ours" in text
    (started,) = re.findall(r"(\d+) started", text)
    tasks = 3 + 1 + SUBNETS + int(started) + 1
    assert len(emulator.tasks) - tasks_before == tasks
    assert not emulator.live
    calls = emulator.calls[calls_before:]
    stopped = [c for c in calls if c.operation == "StopTask" and c.status == 200]
    assert len(stopped) == tasks - 1  # one has ended by itself
    assert keys(emulator, bucket) == uploads(emulator, bucket) == []


def test_a_broken_promise_is_the_exit_code_and_nothing_runs_on(
    prepared, emulator, capsys, monkeypatch
):
    monkeypatch.setattr("cloudburst.cli.live_check.MAX_TASK_SECONDS", 1)
    prepared(emulator, protocol=Protocol.ONESTEP)
    registered(emulator, containers=1, interval=1)  # without watchdog
    before = len(emulator.tasks)
    assert run(["doctor", "--live", "--yes", "--quick"]) == 1
    text = capsys.readouterr().out
    lifetime = text.partition("\nLifetime\n")[2].partition("\n\n")[0]
    assert lifetime == "broken    the rest of this part: TimeoutError"
    assert text.count("not tried this part: --quick") == 4
    assert len(emulator.tasks) - before == 4
    assert not emulator.live


def answering(monkeypatch, answer):
    lines = io.StringIO(answer)
    lines.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", lines)


@pytest.mark.parametrize("answer", ["no\n", ""])
def test_without_a_yes_nothing_is_started(in_folder, set_up_account, capsys, monkeypatch, answer):
    answering(monkeypatch, answer)
    assert run(["doctor", "--live"]) == 1
    assert not set_up_account.tasks
    text = " ".join(capsys.readouterr().out.split())
    assert "Burst 25 tasks, 0.25 vCPU $0.0072" in text
    assert "S3 not tried: no --s3" in text
    assert "$0.0632 at most. All of it" in text


def test_without_a_terminal_the_question_is_an_error(in_folder, set_up_account, capsys):
    assert run(["doctor", "--live"]) == 2
    assert "there is no terminal: add --yes" in capsys.readouterr().err
    assert not set_up_account.tasks


def test_an_account_that_is_not_set_up_is_not_charged(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    with bare(moto=False) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        assert run(["doctor", "--live", "--yes"]) == 1
        assert not emulator.tasks
    text = capsys.readouterr().out
    assert "a run on Fargate would not work" in text
    assert "this starts" not in text


@pytest.mark.parametrize("arguments", [["--yes"], ["--quick"], ["--s3", "a/b"]])
def test_options_of_the_live_check_need_it(arguments, capsys):
    assert run(["doctor", *arguments]) == 2
    assert "need --live" in capsys.readouterr().err
    assert run(["doctor", "--live", "--json", "--yes"]) == 2


@pytest.mark.anyio
async def test_the_check_of_six_subnets_costs_less_than_ten_cents():
    with bare(prepared=True, moto=False) as emulator:
        emulator.register(family="cloudburst-task-arm64", architecture="ARM64")
        six = ",".join(f"subnet-{n}" for n in range(6))
        settings = settings_of(emulator, AWS_SUBNET_ID=six)
        plan = await plan_live(settings, s3=FOLDER)
        large = await plan_live(settings.model_copy(update={"ephemeral_storage": 200}))
    assert [part.name for part in plan.parts if part.omitted] == []
    assert Decimal("0.05") < plan.usd < Decimal("0.10")
    # Their limit of time, and the longest stop.
    tasks = {part.name: part.usd for part in plan.parts if part.starts}
    address = 540 * 0.005 / 3600
    second = 1 * 0.000011244 + 2 * 0.000001235  # ECONOMY
    assert float(tasks["One task"]) == pytest.approx(540 * second + address, rel=0.001)
    assert float(tasks["Subnets"]) == pytest.approx(6 * (135 * second + address), rel=0.001)
    disk = 180 * 0.000111 / 3600
    more = disk * (540 * (5 + 6) + 60 * 25)
    assert float(large.usd - plan.usd) == pytest.approx(more, rel=0.001)


async def checked(settings, *named, s3=None):
    """Outcome and text of each finding of a check of the parts with these names and functions."""
    plan = await plan_live(settings, s3=s3)
    plan = replace(plan, parts=tuple(Part(name, check) for name, check in named))
    found = await check_live(settings, plan)
    return {one.subject: (str(one.outcome), one.seen) for one in found}


LEFT = "nothing of this check is left in the account"


@pytest.mark.anyio
async def test_what_a_killed_check_has_left_is_removed_by_the_next_one(emulator, bucket):
    report, settings = await set_up(emulator, sources=("127.0.0.0/8", HERE))
    s3, folder = client(emulator, "s3"), S3Prefix(bucket, "left/")
    # Until then, a role that init has just corrected lets no task start.
    await anyio.sleep(emulator.config.role_policy_lag)
    async with opened(emulator, **report.environment) as killed:
        for _ in range(2):
            await killed.launch(tiny=True)
    tags = tag_list(key="Key", value="Value")
    client(emulator, "ecr").create_repository(repositoryName=LIVE_NAME, tags=tags)
    s3.put_object(Bucket=BUCKET, Key=f"left/{LIVE_OBJECTS}abc/video.mp4", Body=b"1")
    s3.create_multipart_upload(Bucket=BUCKET, Key=f"left/{LIVE_OBJECTS}abc/parts.mp4")
    s3.put_object(Bucket=BUCKET, Key="left/.cloudburst/check-of-a-run", Body=b"")
    assert len(emulator.live) == 2
    found = await checked(settings, s3=folder)
    removed = (
        "tasks (2), repository cloudburst-check, objects and uploads (2) in s3://checked/left/"
    )
    assert found == {
        "left by an earlier check, and removed": ("note", removed),
        LEFT: ("kept", ""),
    }
    assert not emulator.live
    assert client(emulator, "ecr").describe_repositories()["repositories"] == []
    assert keys(emulator, BUCKET) == ["left/.cloudburst/check-of-a-run"]
    s3.delete_object(Bucket=BUCKET, Key="left/.cloudburst/check-of-a-run")


@pytest.mark.nightly
@pytest.mark.anyio
async def test_what_aws_does_not_delete_is_told(emulator, bucket, monkeypatch):
    _, settings = await set_up(emulator, sources=("127.0.0.0/8", HERE))
    s3, key = client(emulator, "s3"), f"kept/{LIVE_OBJECTS}abc/video.mp4"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    with monkeypatch.context() as kept:
        kept.setattr(api.S3, "delete_object", lambda *_: api.S3Response(status=204))
        found = await checked(settings, s3=S3Prefix(BUCKET, "kept/"))
    assert found[LEFT] == ("broken", "removed: objects and uploads (1) in s3://checked/kept/")
    s3.delete_object(Bucket=BUCKET, Key=key)


@pytest.mark.anyio
async def test_a_repository_that_no_check_has_created_is_kept(emulator, bucket):
    _, settings = await set_up(emulator, sources=("127.0.0.0/8", HERE))
    client(emulator, "ecr").create_repository(repositoryName=LIVE_NAME)
    key = f"left/{LIVE_OBJECTS}abc/video.mp4"
    client(emulator, "s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")
    found = await checked(settings, s3=S3Prefix(bucket, "left/"))
    assert found["the rest of this part"][0] == "broken"
    assert "is not ours" in found["the rest of this part"][1]
    kind, command = found["if something is left"]
    assert kind == "note"
    assert command.startswith(f"cloudburst cleanup --run {LIVE_NAME} stops its tasks")
    assert keys(emulator, BUCKET) == []
    assert len(client(emulator, "ecr").describe_repositories()["repositories"]) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("tasks", [0, 1, 3])
async def test_a_cancelled_check_leaves_nothing(set_up_account, tasks):
    emulator, settings = set_up_account, settings_of(set_up_account)

    async def start(shared):
        for _ in range(tasks):
            await shared.launch(tiny=True)
        scope.cancel()
        await anyio.sleep(60)

    with anyio.CancelScope() as scope:
        await checked(settings, ("tasks", start))
    assert scope.cancelled_caught
    assert not emulator.live


@pytest.mark.anyio
async def test_an_error_of_a_part_ends_only_that_part(emulator):
    _, settings = await set_up(emulator, sources=("127.0.0.0/8", HERE))

    async def fail(shared):
        await shared.launch(tiny=True)
        raise KeyError("executionStoppedAt")

    async def go_on(shared):
        assert not emulator.live
        shared.findings.report("another promise", kept=True)

    found = await checked(settings, ("first", fail), ("second", go_on))
    assert found["the rest of this part"] == ("broken", "KeyError: 'executionStoppedAt'")
    assert found["another promise"][0] == found[LEFT][0] == "kept"


@pytest.mark.anyio
@pytest.mark.few(1)
@pytest.mark.parametrize("encrypted", [True, False])
async def test_the_promises_of_s3_are_kept_by_the_emulator_and_nothing_is_left(encrypted):
    with account() as emulator:
        if encrypted:
            rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "1234"}
            client(emulator, "s3").put_bucket_encryption(
                Bucket=FOLDER.bucket,
                ServerSideEncryptionConfiguration={
                    "Rules": [{"ApplyServerSideEncryptionByDefault": rule}]
                },
            )
        found = await findings_of(emulator, lambda shared: live_storage.check_s3(shared, FOLDER))
        kinds = [kind for kind, _ in found.values()]
        assert kinds == ["kept"] * 15
        assert len(keys(emulator)) == 1
        assert len(uploads(emulator)) == 1
        async with open_store(emulator) as store:
            assert await live_storage.remove_objects(store, FOLDER) == 2
        assert keys(emulator) == uploads(emulator) == []


@pytest.mark.anyio
@pytest.mark.parametrize("young", [False, True])
async def test_the_image_is_pushed_in_parts_and_its_repository_is_removed(
    registry_server, tmp_path, monkeypatch, young
):
    monkeypatch.setattr(live_storage, "build_image", Builder(tmp_path / "images"))
    with account_with_registry(registry_server, moto=False, prepared=True) as emulator:
        if young:
            emulator.add_fault(Fault(operation="PutLifecyclePolicy", code="AccessDeniedException"))
        found = await findings_of(emulator, live_storage.check_image)
        async with opened(emulator) as shared:
            assert await live_storage.remove_repository(shared.aws)
            assert not await live_storage.remove_repository(shared.aws)
        (repository,) = client(emulator, "ecr").describe_repositories()["repositories"]
    assert repository["repositoryName"] == "cloudburst"
    configured = found["a new repository can be configured, by its tags"][1]
    assert ("AccessDeniedException" in configured) == young
    assert [kind for kind, _ in found.values() if kind != "note"] == ["kept"] * 5, found


@pytest.mark.anyio
async def test_a_lifecycle_policy_keeps_nothing_if_the_image_is_not_in_ecr(
    registry_server, tmp_path, monkeypatch
):
    async def no_images(*_):
        return []

    monkeypatch.setattr(live_storage, "build_image", Builder(tmp_path / "images"))
    monkeypatch.setattr(live_storage, "read_images", no_images)
    with account_with_registry(registry_server, moto=False, prepared=True) as emulator:
        found = await findings_of(emulator, live_storage.check_image)
    assert found["ECR has the index and the image of each architecture"] == ("broken", "0 of 3")
    assert found["the rest of this part"][0] == "not tried"
