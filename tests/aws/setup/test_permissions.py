"""The policy allows every action of ours, and no more than is needed for it."""

from __future__ import annotations

import json
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
    PolicyScope,
    Purpose,
    policy,
    policy_document,
    statements,
)
from cloudburst.aws.setup.resource_definitions import (
    PERMISSIONS_BOUNDARY,
    execution_role,
    role_policy,
)
from cloudburst.aws.setup.running_tasks import cleanup, list_tasks
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskSpec
from cloudburst.models.tier import Tier
from support.iam_reference import defects
from support.setup_accounts import (
    change_by_hand,
    client,
    here,
    key_by_hand,
    session,
    set_up,
    settings_of,
)

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


def allowed(settings, *purposes):
    return {
        action
        for purpose in purposes
        for one in statements(PolicyScope(settings, "us-east-1", "123456789012"), purpose)
        for action in one.actions
    }


def done(emulator, since):
    """Actions of calls, without those that a caller needs no permission for."""
    by_hand = key_by_hand(emulator)["AWS_ACCESS_KEY_ID"]
    calls = {call.action for call in emulator.calls[since:] if call.key != by_hand}
    return calls - ACTIONS_WITHOUT_PERMISSION


@pytest.mark.nightly
@pytest.mark.timeout(60)
async def test_every_action_of_ours_is_in_the_policy_for_it(emulator, make_scene, tmp_path):
    since = len(emulator.calls)
    _, settings = await set_up(emulator)
    change_by_hand(emulator, settings)
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
    assert (await destroy(settings, session=session())).success
    assert done(emulator, since) <= allowed(settings, Purpose.DESTROY)


def test_no_action_is_allowed_that_no_code_of_ours_asks_for():
    """Each is either an operation that our code names, or needed for one that it names."""
    package = Path(cloudburst.__file__).parent
    code = "".join(
        path.read_text()
        for folder in ("aws", "cli")
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


async def test_a_policy_is_printed_without_credentials():
    document = await policy(Settings(_env_file=None, region="cn-north-1"))
    start = document["Statement"][0]
    assert start["Resource"][0] == "arn:aws-cn:ecs:cn-north-1:*:task-definition/cloudburst-task:*"


@pytest.mark.parametrize("purpose", Purpose)
def test_each_fits_into_a_managed_policy(purpose):
    document = policy_document(
        PolicyScope(Settings(_env_file=None), "ap-southeast-1", "123456789012"), [purpose]
    )
    assert len(json.dumps(document, separators=(",", ":"))) < LONGEST
    sids = [one["Sid"] for one in document["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


def test_several_purposes_are_one_policy_that_allows_what_each_does():
    settings = Settings(_env_file=None)
    roles = ["arn:aws:iam::1:role/other"]
    scope = PolicyScope(settings, "us-east-1", "1", roles)
    both = policy_document(scope, [Purpose.RUN, Purpose.INIT])
    (passing,) = [one for one in both["Statement"] if "iam:PassRole" in one["Action"]]
    assert passing["Resource"] == [*roles, "arn:aws:iam::1:role/cloudburst-execution-us-east-1"]
    actions = {action for one in both["Statement"] for action in one["Action"]}
    assert actions == allowed(settings, Purpose.RUN, Purpose.INIT)


def test_what_changes_something_is_never_allowed_for_everything():
    """Only questions, and what AWS knows no resources for, have ``*``."""
    nowhere = {"ecs:DeregisterTaskDefinition", "ecs:RegisterTaskDefinition"}
    for purpose in Purpose:
        for one in statements(
            PolicyScope(Settings(_env_file=None), "us-east-1", "123456789012"), purpose
        ):
            for action in one.actions:
                harmless = any(
                    fnmatchcase(action.partition(":")[2], pattern)
                    for pattern in ("Describe*", "Get*", "List*", "Lookup*", "Simulate*")
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
            PolicyScope(Settings(_env_file=None), "us-east-1", "123456789012"), purpose
        )
        if action in one.actions
    ]
    assert found
    assert all(one.resources == ("*",) and one.conditions is None for one in found)


@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
@pytest.mark.parametrize("s3", [(), (S3Prefix("films", "out/"),)], ids=["", "S3"])
@pytest.mark.parametrize("purpose", Purpose)
def test_every_printed_policy_is_one_that_iam_understands(purpose, s3, region):
    """A resource or condition that an action does not know would deny it."""
    document = policy_document(
        PolicyScope(
            Settings(_env_file=None, image=IN_ECR, role_arn="arn:aws:iam::1:role/teams/us"),
            region,
            "123456789012",
            caller=CALLER,
            s3=s3,
            s3_keys=["arn:aws:kms:eu-west-1:123456789012:key/1234"] if s3 else (),
        ),
        [purpose],
    )
    assert defects(document) == []


def test_the_policy_of_the_execution_role_is_one_that_iam_understands():
    repository = "arn:aws:ecr:us-east-1:123456789012:repository/cloudburst"
    assert defects(role_policy("us-east-1", "123456789012", [repository])) == []


ECS = "arn:aws:ecs:us-east-1:1"
GROUP = "arn:aws:ec2:us-east-1:1:security-group/*"


@pytest.mark.parametrize(
    ("action", "resource", "condition", "defect"),
    [
        ("ecs:StartTasks", "*", {}, "ecs:StartTasks does not exist"),
        ("ecs:RunTask", f"{ECS}:cluster/c", {}, "knows none of"),
        ("ecs:StopTask", [f"{ECS}:task/c/*", GROUP], {}, f"no action knows {GROUP}"),
        ("ec2:CreateSecurityGroup", "arn:aws:ec2:us-east-1:1:vpc/*", {}, "needs a security-group"),
        ("s3:GetObject", "arn:aws:s3:::films", {}, "knows none of"),
        ("s3:ListBucket", "arn:aws:s3:::films/out/*", {}, "knows none of"),
        (
            "ecs:StopTask",
            f"{ECS}:task/c/*",
            {"NumericLessThanEqualsIfExists": {"ecs:task-cpu": "1024"}},
            "ecs:StopTask knows no ecs:task-cpu",
        ),
        (
            "ec2:CreateSecurityGroup",
            GROUP,
            {"StringEquals": {"aws:ResourceTag/CreatedBy": "animagent"}},
            "knows no aws:ResourceTag/CreatedBy",
        ),
        (
            "ecs:RunTask",
            f"{ECS}:task-definition/f:*",
            {"StringLike": {"ecs:capacity-provider": "*FARGATE"}},
            "StringLike for ecs:capacity-provider, which is ArrayOf",
        ),
        (
            "ecs:RunTask",
            f"{ECS}:task-definition/f:*",
            {"NumericLessThanEquals": {"ecs:cluster": "c"}},
            "NumericLessThanEquals for ecs:cluster, which is ARN",
        ),
    ],
)
def test_what_iam_would_not_understand_is_found(action, resource, condition, defect):
    statement = {"Action": [action], "Resource": resource, "Condition": condition}
    found = defects({"Statement": [statement]})
    assert any(defect in one for one in found), found


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
        PolicyScope(Settings(_env_file=None), "us-east-1", "123456789012"), Purpose.RUN
    )


def test_the_policy_of_the_role_cannot_exceed_that_of_aws():
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
        PolicyScope(Settings(_env_file=None), "us-east-1", "123456789012"), Purpose.INIT
    ):
        if set(one.actions) & writes_role:
            assert one.conditions == {"ArnEquals": {"iam:PermissionsBoundary": boundary}}
        assert "iam:DeleteRolePermissionsBoundary" not in one.actions


def test_destroy_is_allowed_for_what_carries_our_tags_only():
    tagged = {"aws:ResourceTag/CreatedBy": "animagent", "aws:ResourceTag/Project": "CloudBurst"}
    conditions = {
        action: one.conditions
        for one in statements(
            PolicyScope(Settings(_env_file=None), "us-east-1", "123456789012"), Purpose.DESTROY
        )
        for action in one.actions
    }
    for action in ("ecs:DeleteCluster", "iam:DeleteRole", "ec2:DeleteSecurityGroup"):
        assert conditions[action] == {"StringEquals": tagged}


def test_doctor_may_ask_the_simulator_about_oneself_only():
    document = policy_document(
        PolicyScope(
            Settings(_env_file=None, image=IN_ECR), "us-east-1", "123456789012", caller=CALLER
        ),
        [Purpose.DOCTOR],
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
