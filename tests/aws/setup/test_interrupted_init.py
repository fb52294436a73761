"""An init that is killed, or that runs twice at once, is completed by the next one."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from operator import itemgetter
from pathlib import Path

import anyio
import pytest
from dotenv import dotenv_values

from cloudburst.aws.setup import init_account, own_image
from cloudburst.aws.setup.init_account import InitOptions, init
from cloudburst.errors import CloudburstError
from support.own_images import Builder
from support.setup_accounts import client, here, session, settings_of, wipe

pytestmark = [pytest.mark.anyio, pytest.mark.chaos]

SEEDS = range(20)
SCRIPT = f"""
import sys
from functools import partial
from pathlib import Path
import anyio
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from cloudburst.aws.setup import init_account, own_image
from cloudburst.models.settings import Settings
from support.own_images import Builder
from support.setup_accounts import here

builder = Builder(Path(sys.argv[1]), own=sys.argv[2].encode())
own_image.sources_hash = builder.sources_hash
init_account.ROLE_PROPAGATION_SECONDS = 0.0
anyio.run(partial(init_account.init, Settings(), find_address=here, build_image=builder))
"""


@pytest.fixture
def emulator(registry_account):
    wipe(registry_account)
    return registry_account


async def set_up(emulator, folder, own):
    """Run init here, with the settings that an earlier one has left in the folder."""
    builder = Builder(folder / f"images-{random.random()}", own=own.encode())
    own_image.sources_hash = builder.sources_hash
    env = folder / ".env"
    settings = settings_of(emulator, **(dotenv_values(env) if env.exists() else {}))
    options = InitOptions(env_file=env)
    return await init(
        settings, options=options, find_address=here, session=session(), build_image=builder
    )


@pytest.fixture(scope="module", autouse=True)
def own_sources():
    """Restore at the end what `set_up` replaces, also in the account of all these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_image, "sources_hash", own_image.sources_hash)
        # `undisturbed` is made before the fixture of each test sets it.
        patch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 0.0)
        yield


def found_in(emulator):
    """The account's resources without their ids, times, digests and revisions."""
    ecs, ec2, iam, logs, ecr = (
        client(emulator, name) for name in ("ecs", "ec2", "iam", "logs", "ecr")
    )
    repositories = ecr.describe_repositories()["repositories"]
    families = sorted({name.partition(":")[0] for name in revisions(emulator)})
    found = [
        ecs.describe_clusters(
            clusters=ecs.list_clusters()["clusterArns"], include=["TAGS", "SETTINGS"]
        ),
        *(
            (group, logs.list_tags_for_resource(resourceArn=group["logGroupArn"]))
            for group in logs.describe_log_groups()["logGroups"]
        ),
        *(
            (
                iam.get_role(RoleName=role["RoleName"]),
                *(
                    iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)
                    for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
                ),
                iam.list_attached_role_policies(RoleName=role["RoleName"]),
            )
            for role in sorted(iam.list_roles()["Roles"], key=itemgetter("RoleName"))
        ),
        ec2.describe_security_groups(),
        *(
            (
                repository,
                ecr.get_lifecycle_policy(repositoryName=repository["repositoryName"]),
                ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"]),
                ecr.describe_images(repositoryName=repository["repositoryName"]),
            )
            for repository in repositories
        ),
        *(
            ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])
            for family in families
        ),
    ]
    return without_ids(json.loads(json.dumps(found, default=str)))


IDS = re.compile(r".*(Metadata|At|Date|Time|RoleId|GroupId|GroupArn|revision|DefinitionArn|Size.*)")


def without_ids(value):
    if isinstance(value, dict):
        return {key: without_ids(one) for key, one in value.items() if not IDS.fullmatch(key)}
    if isinstance(value, list):
        return [without_ids(one) for one in value]
    return re.sub("sha256:[0-9a-f]{64}", "DIGEST", value) if isinstance(value, str) else value


def revisions(emulator):
    arns = client(emulator, "ecs").list_task_definitions()["taskDefinitionArns"]
    return [arn.rpartition("/")[2] for arn in arns]


@pytest.fixture(scope="module")
def undisturbed(registry_account, own_sources, tmp_path_factory):
    """The account after an init that nothing has disturbed, its settings, and its calls."""
    folder = tmp_path_factory.mktemp("undisturbed")
    account = registry_account
    wipe(account)
    since = len(account.calls)
    anyio.run(set_up, account, folder, "undisturbed")
    settings = (folder / ".env").read_text()
    return found_in(account), settings, [call.operation for call in account.calls[since:]]


def stable(text):
    """Settings without the id of the security group."""
    return re.sub(r"\bsg-\w+", "ID", text)


@pytest.mark.few(1)
@pytest.mark.parametrize("seed", SEEDS)
async def test_an_init_that_is_killed_is_completed_by_the_next(
    undisturbed, emulator, tmp_path, seed
):
    account, settings, operations = undisturbed
    chance = random.Random(seed)
    call, seconds = chance.randrange(1, len(operations) + 1), chance.choice([0, 0.01, 0.05])
    kill(emulator, tmp_path, f"seed {seed}", call=call, seconds=seconds)
    report = await set_up(emulator, tmp_path, f"seed {seed}")
    assert found_in(emulator) == account, f"killed {seconds} s after {operations[call - 1]}"
    assert stable((tmp_path / ".env").read_text()) == stable(settings)
    # ECS has no way to take a request back: what was registered last before the kill is the newest.
    assert sorted(revisions(emulator)) == sorted(set(revisions(emulator)))
    assert len(revisions(emulator)) == 2
    assert report.environment["ECS_TASK_DEFINITION"] == "cloudburst-render"
    assert not (await set_up(emulator, tmp_path, f"seed {seed}")).changed


def kill(emulator, folder, own, *, call, seconds):
    """Start init in a process of its own, and kill it some time after its n-th call of AWS."""
    since = len(emulator.calls)
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder / "killed"), own],
        cwd=folder,
        env=os.environ | emulator.environment,
    ) as process:
        try:
            while process.poll() is None and len(emulator.calls) - since < call:
                time.sleep(0.001)
            time.sleep(seconds)
        finally:
            process.kill()
    assert process.returncode in {0, -signal.SIGKILL}


async def test_two_inits_at_once_leave_one_account(undisturbed, emulator, tmp_path, monkeypatch):
    account, _, _ = undisturbed
    builder = Builder(tmp_path / "images", own=b"both")
    monkeypatch.setattr(own_image, "sources_hash", builder.sources_hash)
    errors = []

    async def start(number):
        try:
            await init(
                settings_of(emulator),
                options=InitOptions(env_file=tmp_path / str(number)),
                find_address=here,
                session=session(),
                build_image=builder,
            )
        except CloudburstError as exc:
            errors.append(str(exc))

    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(start, number)
    assert errors == []
    assert found_in(emulator) == account
