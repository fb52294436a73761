"""Each command with a key that may only do what the policy printed for it allows."""

from __future__ import annotations

import json
from functools import partial

import anyio
import pytest
from pydantic import SecretStr

from cloudburst import Client, Status, fargate
from cloudburst.aws.client.client import open_aws
from cloudburst.aws.setup import own_image
from cloudburst.aws.setup.changes import AccountChanges
from cloudburst.aws.setup.check_account import doctor
from cloudburst.aws.setup.checks import CheckStatus
from cloudburst.aws.setup.destroy_account import destroy
from cloudburst.aws.setup.ecr_repository import read_image_repository
from cloudburst.aws.setup.init_account import InitOptions, init
from cloudburst.aws.setup.logs import read_logs
from cloudburst.aws.setup.permissions import PolicyScope, Purpose, policy_document
from cloudburst.aws.setup.resource_definitions import has_our_tags
from cloudburst.aws.setup.running_tasks import cleanup, list_tasks
from support.own_images import Builder, account_with_registry
from support.setup_accounts import HERE, bare, here, session, settings_of

pytestmark = pytest.mark.anyio


def with_policy(emulator, settings, *purposes):
    """Settings with a key that has only the policy for these purposes."""
    document = policy_document(PolicyScope(settings, "us-east-1", "123456789012"), purposes)
    key = emulator.new_key(policies=[json.loads(json.dumps(document))])
    session()._session.set_credentials(*key.values())
    return settings.model_copy(
        update={
            "access_key_id": key["AWS_ACCESS_KEY_ID"],
            "secret_access_key": SecretStr(key["AWS_SECRET_ACCESS_KEY"]),
        }
    )


@pytest.mark.timeout(120)
async def test_from_the_first_init_to_destroy_the_printed_policies_are_enough(make_scene, tmp_path):
    """Tags of new resources and the policy of the new role take effect late, as on AWS."""
    with bare(tag_lag=0.8, role_policy_lag=2.5, client_address=HERE) as emulator:
        settings = settings_of(emulator, DOCKER_IMAGE="public")
        for dry_run in (True, False):
            mine = with_policy(emulator, settings, Purpose.INIT)
            options = InitOptions(env_file=None, dry_run=dry_run)
            report = await init(mine, options=options, find_address=here, session=session())
        settings = settings_of(emulator, **report.environment)

        mine = with_policy(emulator, settings, Purpose.RUN)
        scenes = [make_scene(f"scene_{number}", seconds=0.3) for number in range(2)]
        async with Client(fargate(mine)) as client:
            done = await client.render_all(scenes, to=tmp_path / "videos")
            await done.settled()
        assert done.status is Status.COMPLETE, done.problem
        async with read_logs(mine, emulator.tasks[-1].id[:10]) as lines:
            assert [line async for line in lines]
        await list_tasks(mine)
        await cleanup(mine)

        mine = with_policy(emulator, settings, Purpose.DOCTOR)
        found = await doctor(mine, find_address=here, session=session())
        assert {check.name for check in found.checks if check.status is CheckStatus.FAILED} == {
            "permissions"
        }, "the policy for doctor does not allow a run"
        assert not [check for check in found.checks if "not checked" in check.found]

        await anyio.sleep(emulator.config.tag_lag)
        mine = with_policy(emulator, settings, Purpose.DESTROY)
        report = await destroy(mine, session=session())
        assert report.success, report.steps
        assert {str(step.outcome) for step in report.steps} <= {"removed", "kept"}


async def test_a_new_repository_is_configured_although_conditions_do_not_see_its_tags(emulator):
    settings = with_policy(emulator, settings_of(emulator), Purpose.INIT)
    async with open_aws(settings, session=session()) as aws:
        changes = AccountChanges(aws, dry_run=False)
        found = await changes.ensure(partial(read_image_repository, aws))
        assert has_our_tags(found.tags)
        assert [step.outcome for step in changes.steps] == ["created"]


@pytest.mark.nightly
async def test_with_our_own_image_the_printed_policies_are_enough(
    registry_server, tmp_path, monkeypatch
):
    builder = Builder(tmp_path / "images", packages=str(tmp_path).encode())
    monkeypatch.setattr(own_image, "sources_hash", builder.sources_hash)
    late = {"tag_lag": 0.8, "role_policy_lag": 2.5, "client_address": HERE}
    with account_with_registry(registry_server, moto=True, **late) as emulator:
        mine = with_policy(emulator, settings_of(emulator), Purpose.INIT)
        for _ in range(2):
            report = await init(
                mine,
                options=InitOptions(env_file=None),
                find_address=here,
                session=session(),
                build_image=builder,
            )
        settings = settings_of(emulator, **report.environment)
        mine = with_policy(emulator, settings, Purpose.RUN, Purpose.DOCTOR)
        found = await doctor(mine, find_address=here, session=session())
        assert found.success, found.failures
        assert not [check for check in found.checks if "not checked" in check.found]
        await anyio.sleep(emulator.config.tag_lag)
        mine = with_policy(emulator, settings, Purpose.DESTROY)
        report = await destroy(mine, session=session())
        assert report.success, report.steps
