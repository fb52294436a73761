"""The execution role may do the least, is upgraded where it may do more, and is waited for."""

from __future__ import annotations

import json
import time

import pytest

from cloudburst.aws.setup import changes, init_account, resources
from cloudburst.aws.setup.destroy_account import destroy
from cloudburst.aws.setup.ecr import ecr_host, image_id, repository_of
from cloudburst.aws.setup.init_account import StepOutcome
from cloudburst.aws.setup.permissions import policy
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE_POLICY,
    PERMISSIONS_BOUNDARY,
    TAGS,
    TRUST_POLICY,
    execution_role,
    role_policy,
)
from cloudburst.errors import AccessDeniedError
from cloudburst.models.limits import Backoff
from cloudburst.models.settings import Settings
from cloudburst.testing import Fault
from support.setup_accounts import client, outcomes, session, set_up, writes

pytestmark = pytest.mark.anyio

EXECUTION_ROLE = execution_role("us-east-1")
MANAGED = f"arn:aws:iam::aws:policy/{PERMISSIONS_BOUNDARY}"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
LOGS = "arn:aws:logs:us-east-1:123456789012:log-group:/ecs/cloudburst:*"
AGENT = "arn:aws:ecr:us-east-1:*:repository/aws-guardduty-agent-fargate"
PASS_ROLE = (
    "User: arn:aws:iam::123456789012:user/me is not authorized to perform: iam:PassRole on "
    f"resource: arn:aws:iam::123456789012:role/{EXECUTION_ROLE} because no identity-based policy "
    "allows it"
)


def repository(name):
    return f"arn:aws:ecr:us-east-1:123456789012:repository/{name}"


def allowed(emulator):
    """Resources by the statement of the role's own policy."""
    answer = client(emulator, "iam").get_role_policy(
        RoleName=EXECUTION_ROLE, PolicyName=EXECUTION_ROLE_POLICY
    )
    return {one["Sid"]: one["Resource"] for one in answer["PolicyDocument"]["Statement"]}


def boundary(emulator):
    role = client(emulator, "iam").get_role(RoleName=EXECUTION_ROLE)["Role"]
    return role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")


def role_step(report):
    (step,) = [step for step in report.steps if step.resource == "execution role"]
    return step


async def test_a_public_image_is_one_for_which_only_awss_agent_is_pulled_from_ecr(emulator):
    await set_up(emulator)
    assert allowed(emulator) == {"WriteLogs": [LOGS], "LogInToECR": ["*"], "PullImages": [AGENT]}
    assert boundary(emulator) == MANAGED


async def test_the_boundary_permits_every_action_of_the_role(emulator):
    iam = client(emulator, "iam")
    version = iam.get_policy(PolicyArn=MANAGED)["Policy"]["DefaultVersionId"]
    found = iam.get_policy_version(PolicyArn=MANAGED, VersionId=version)["PolicyVersion"]
    (permitted,) = found["Document"]["Statement"]
    assert permitted["Resource"] == "*"
    policy = role_policy("us-east-1", "123456789012", [repository("cloudburst")])
    needed = {action for one in policy["Statement"] for action in one["Action"]}
    assert needed <= set(permitted["Action"])


async def test_an_image_in_ecr_is_one_repository_and_those_of_other_set_ups_stay(emulator):
    await set_up(emulator, changes={"DOCKER_IMAGE": f"{REGISTRY}/cloudburst:1"})
    assert allowed(emulator) == {
        "WriteLogs": [LOGS],
        "LogInToECR": ["*"],
        "PullImages": [AGENT, repository("cloudburst")],
    }
    film = {"DOCKER_IMAGE": f"{REGISTRY}/team/film@sha256:00", "ECS_TASK_DEFINITION": "film"}
    report, settings = await set_up(emulator, changes=film)
    assert role_step(report).outcome is StepOutcome.UPDATED
    pulled = [AGENT, repository("cloudburst"), repository("team/film")]
    assert allowed(emulator)["PullImages"] == pulled
    since = len(emulator.calls)
    report, _ = await set_up(emulator, settings=settings)
    assert role_step(report).outcome is StepOutcome.FOUND
    assert writes(emulator, since) == []


async def test_each_region_has_a_role_and_destroy_removes_only_that_of_its_own(emulator):
    _, settings = await set_up(emulator)
    iam, other = client(emulator, "iam"), execution_role("eu-west-1")
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    iam.create_role(RoleName=other, AssumeRolePolicyDocument=json.dumps(TRUST_POLICY), Tags=tags)
    report = await destroy(settings, session=session())
    assert role_step(report).outcome is StepOutcome.REMOVED
    names = {one["RoleName"] for one in iam.list_roles()["Roles"]}
    assert EXECUTION_ROLE not in names
    assert other in names


@pytest.mark.nightly
async def test_a_policy_that_somebody_has_added_keeps_the_role(emulator):
    _, settings = await set_up(emulator)
    other = json.dumps(role_policy("eu-west-1", "123456789012", []))
    client(emulator, "iam").put_role_policy(
        RoleName=EXECUTION_ROLE, PolicyName="cloudburst-extra", PolicyDocument=other
    )
    since = len(emulator.calls)
    await destroy(settings, session=session())
    # IAM refuses to delete a role with a policy: only our own is taken off, and it stays.
    asked = [call.operation for call in emulator.calls[since:]]
    assert asked.count("DeleteRolePolicy") == 1


async def test_a_role_that_may_not_be_passed_yet_is_waited_for(emulator, monkeypatch):
    monkeypatch.setattr(changes, "CONSISTENCY_BACKOFF", Backoff(first=0.05, cap=0.1))
    denied = {"code": "AccessDeniedException", "status": 400}
    emulator.add_fault(
        Fault(operation="RegisterTaskDefinition", message=PASS_ROLE, times=2, **denied)
    )
    emulator.add_fault(
        Fault(operation="PutRolePolicy", code="NoSuchEntity", status=404, message="no such role")
    )
    lines = []
    report, settings = await set_up(emulator, on_wait=lines.append)
    assert outcomes(report)["task definition", "cloudburst-task"] == "created"
    (line,) = [line for line in lines if "until AWS knows the earlier changes" in line]
    assert "iam:PassRole" in line
    # When the role is older, the same refusal is one.
    monkeypatch.setattr(resources, "SETTLE_TIMEOUT", 0.0)
    emulator.add_fault(Fault(operation="RegisterTaskDefinition", message=PASS_ROLE, **denied))
    with pytest.raises(AccessDeniedError, match="iam:PassRole"):
        await set_up(emulator, settings=settings, arm64=True)


@pytest.mark.nightly
async def test_permission_that_is_missing_after_the_timeout_is_reported(emulator, monkeypatch):
    monkeypatch.setattr(changes, "SETTLE_TIMEOUT", -1.0)
    denied = {"code": "AccessDeniedException", "status": 400, "message": PASS_ROLE}
    emulator.add_fault(Fault(operation="RegisterTaskDefinition", **denied))
    with pytest.raises(AccessDeniedError, match="iam:PassRole"):
        await set_up(emulator)


async def test_action_that_is_denied_before_any_change_is_reported_at_once(emulator):
    emulator.add_fault(Fault(operation="CreateRole", code="AccessDenied", status=403))
    since = len(emulator.calls)
    with pytest.raises(AccessDeniedError, match="create_role"):
        await set_up(emulator)
    asked = [call.operation for call in emulator.calls[since:]]
    assert asked.count("CreateRole") == 1


async def test_init_ends_when_a_new_role_can_be_assumed(emulator, monkeypatch, tmp_path):
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 4.0)  # init takes less
    lines = []
    env = tmp_path / ".env"

    def on_wait(line):
        if "earlier changes" in line:
            return
        lines.append(line)
        assert env.exists()  # an impatient Ctrl-C loses nothing

    began = time.monotonic()
    _, settings = await set_up(emulator, env_file=env, on_wait=on_wait)
    (line,) = lines
    assert "new role" in line
    (created,) = [call.at for call in emulator.calls[-60:] if call.operation == "CreateRole"][-1:]
    assert time.time() - created >= 4.0
    assert time.monotonic() - began >= 4.0
    await set_up(emulator, settings=settings, env_file=env, on_wait=on_wait)
    assert len(lines) == 1


async def test_a_dry_run_waits_for_nothing(emulator, monkeypatch):
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 60.0)
    await set_up(emulator, dry_run=True)


@pytest.mark.parametrize(
    ("image", "arn", "ident"),
    [
        (f"{REGISTRY}/cloudburst:1", repository("cloudburst"), {"imageTag": "1"}),
        (f"{REGISTRY}/a/b", repository("a/b"), {"imageTag": "latest"}),
        (f"{REGISTRY}/a@sha256:ff", repository("a"), {"imageDigest": "sha256:ff"}),
        (f"{REGISTRY}/a:2@sha256:ff", repository("a"), {"imageDigest": "sha256:ff"}),
        (
            "123456789012.dkr-ecr.us-east-1.on.aws/cloudburst:1",
            repository("cloudburst"),
            {"imageTag": "1"},
        ),
        (
            "210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn/x:1",
            "arn:aws-cn:ecr:cn-north-1:210987654321:repository/x",
            {"imageTag": "1"},
        ),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com.cn/x:1", None, {"imageTag": "1"}),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.com/x:1", None, {"imageTag": "1"}),
        ("public.ecr.aws/someone/cloudburst:1", None, {"imageTag": "1"}),
        ("betashow/video-generation-api:latest", None, {"imageTag": "latest"}),
        (f"evil.example/{REGISTRY}/x:1", None, {"imageTag": "1"}),
    ],
)
def test_a_repository_is_read_from_an_images_name(image, arn, ident):
    found = repository_of(image)
    assert (found and found.arn) == arn
    assert image_id(image) == ident


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [
        ("us-east-1", "aws", "amazonaws.com"),
        ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
    ],
)
async def test_arns_and_hosts_are_those_of_the_regions_partition(region, partition, suffix):
    host = ecr_host("123456789012", region)
    assert host == f"123456789012.dkr.ecr.{region}.{suffix}"
    found = repository_of(f"{host}/cloudburst:1")
    assert found.arn == f"arn:{partition}:ecr:{region}:123456789012:repository/cloudburst"
    document = await policy(Settings(_env_file=None, region=region))
    assert f'"arn:{partition}:ecs:{region}:*:task/cloudburst-cluster/*"' in json.dumps(document)
