"""The execution role may do the least, is upgraded where it may do more, and is waited for."""

from __future__ import annotations

import json
import time

import pytest

from cloudburst.aws.setup import init_account, resources
from cloudburst.aws.setup.destroy_account import destroy
from cloudburst.aws.setup.images import image_id, repository_of
from cloudburst.aws.setup.init_account import StepOutcome
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE,
    PERMISSIONS_BOUNDARY,
    TAGS,
    TRUST_POLICY,
    role_policy,
)
from cloudburst.errors import AccessDeniedError
from cloudburst.models.limits import Backoff
from cloudburst.testing import Fault
from support.setup_accounts import client, outcomes, session, set_up, writes

pytestmark = pytest.mark.anyio

MANAGED = f"arn:aws:iam::aws:policy/{PERMISSIONS_BOUNDARY}"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
LOGS = "arn:aws:logs:us-east-1:123456789012:log-group:/ecs/cloudburst:*"
PASS_ROLE = (
    "User: arn:aws:iam::123456789012:user/me is not authorized to perform: iam:PassRole on "
    f"resource: arn:aws:iam::123456789012:role/{EXECUTION_ROLE} because no identity-based policy "
    "allows it"
)


def repository(name):
    return f"arn:aws:ecr:us-east-1:123456789012:repository/{name}"


def allowed(emulator, region="us-east-1"):
    """Resources by the statement of the role's own policy."""
    answer = client(emulator, "iam").get_role_policy(
        RoleName=EXECUTION_ROLE, PolicyName=f"cloudburst-{region}"
    )
    return {one["Sid"]: one["Resource"] for one in answer["PolicyDocument"]["Statement"]}


def managed(emulator):
    answer = client(emulator, "iam").list_attached_role_policies(RoleName=EXECUTION_ROLE)
    return [one["PolicyArn"] for one in answer["AttachedPolicies"]]


def boundary(emulator):
    role = client(emulator, "iam").get_role(RoleName=EXECUTION_ROLE)["Role"]
    return role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")


def made_by_an_older_init(emulator, *regions):
    """The role as it was made with AWS's managed policy."""
    iam = client(emulator, "iam")
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    tags += [{"Key": f"cloudburst:region/{region}", "Value": "used"} for region in regions]
    iam.create_role(
        RoleName=EXECUTION_ROLE, AssumeRolePolicyDocument=json.dumps(TRUST_POLICY), Tags=tags
    )
    iam.attach_role_policy(RoleName=EXECUTION_ROLE, PolicyArn=MANAGED)


def role_step(report):
    (step,) = [step for step in report.steps if step.resource == "execution role"]
    return step


async def test_a_public_image_needs_no_right_at_ecr(emulator):
    await set_up(emulator)
    assert allowed(emulator) == {"WriteLogs": [LOGS]}
    assert managed(emulator) == []
    assert boundary(emulator) == MANAGED


async def test_an_image_in_ecr_is_one_repository_and_those_of_other_set_ups_stay(emulator):
    await set_up(emulator, changes={"DOCKER_IMAGE": f"{REGISTRY}/cloudburst:1"})
    assert allowed(emulator) == {
        "WriteLogs": [LOGS],
        "LogInToECR": ["*"],
        "PullImages": [repository("cloudburst")],
    }
    film = {"DOCKER_IMAGE": f"{REGISTRY}/team/film@sha256:00", "ECS_TASK_DEFINITION": "film"}
    report, settings = await set_up(emulator, changes=film)
    assert role_step(report).outcome is StepOutcome.UPDATED
    assert allowed(emulator)["PullImages"] == [repository("cloudburst"), repository("team/film")]
    since = len(emulator.calls)
    report, _ = await set_up(emulator, settings=settings)
    assert role_step(report).outcome is StepOutcome.FOUND
    assert writes(emulator, since) == []


async def test_a_role_with_awss_managed_policy_is_narrowed_by_the_next_init(emulator):
    made_by_an_older_init(emulator, "us-east-1")
    since = len(emulator.calls)
    report, _ = await set_up(emulator)
    step = role_step(report)
    assert step.outcome is StepOutcome.UPDATED
    assert "detached" in step.detail
    assert managed(emulator) == []
    assert boundary(emulator) == MANAGED
    assert allowed(emulator) == {"WriteLogs": [LOGS]}
    # Never without permissions in between.
    order = [call.operation for call in emulator.calls[since:]]
    assert order.index("PutRolePolicy") < order.index("DetachRolePolicy")


async def test_the_managed_policy_stays_while_another_region_relies_on_it(emulator):
    made_by_an_older_init(emulator, "us-east-1", "eu-west-1")
    report, settings = await set_up(emulator)
    assert managed(emulator) == [MANAGED]
    assert role_step(report).detail.endswith("until init has been run in eu-west-1")
    since = len(emulator.calls)
    report, _ = await set_up(emulator, settings=settings)
    assert role_step(report).outcome is StepOutcome.FOUND
    assert writes(emulator, since) == []
    client(emulator, "iam").put_role_policy(
        RoleName=EXECUTION_ROLE,
        PolicyName="cloudburst-eu-west-1",
        PolicyDocument=json.dumps(role_policy("eu-west-1", "123456789012", [])),
    )
    await set_up(emulator, settings=settings)
    assert managed(emulator) == []


async def test_destroy_understands_a_role_of_an_older_init(emulator):
    made_by_an_older_init(emulator, "us-east-1")
    report = await destroy(
        (await set_up(emulator, dry_run=True))[1], session=session(), env_file=None
    )
    assert role_step(report).outcome is StepOutcome.REMOVED
    assert report.success


async def test_destroy_takes_the_policy_of_its_own_region_only(emulator):
    _, settings = await set_up(emulator)
    iam = client(emulator, "iam")
    iam.tag_role(
        RoleName=EXECUTION_ROLE, Tags=[{"Key": "cloudburst:region/eu-west-1", "Value": "used"}]
    )
    other = json.dumps(role_policy("eu-west-1", "123456789012", []))
    iam.put_role_policy(
        RoleName=EXECUTION_ROLE, PolicyName="cloudburst-eu-west-1", PolicyDocument=other
    )
    assert role_step(await destroy(settings, session=session(), env_file=None)).outcome == "kept"
    assert iam.list_role_policies(RoleName=EXECUTION_ROLE)["PolicyNames"] == [
        "cloudburst-eu-west-1"
    ]


async def test_a_policy_that_somebody_has_added_keeps_the_role(emulator):
    _, settings = await set_up(emulator)
    other = json.dumps(role_policy("eu-west-1", "123456789012", []))
    client(emulator, "iam").put_role_policy(
        RoleName=EXECUTION_ROLE, PolicyName="cloudburst-extra", PolicyDocument=other
    )
    since = len(emulator.calls)
    await destroy(settings, session=session(), env_file=None)
    # IAM refuses to delete a role with a policy: only our own is taken off, and it stays.
    asked = [call.operation for call in emulator.calls[since:]]
    assert asked.count("DeleteRolePolicy") == 1


async def test_a_role_that_may_not_be_passed_yet_is_waited_for(emulator, monkeypatch):
    monkeypatch.setattr(resources, "CONSISTENCY_BACKOFF", Backoff(first=0.05, cap=0.1))
    denied = {"code": "AccessDeniedException", "status": 400}
    emulator.add_fault(
        Fault(operation="RegisterTaskDefinition", message=PASS_ROLE, times=2, **denied)
    )
    emulator.add_fault(
        Fault(operation="PutRolePolicy", code="NoSuchEntity", status=404, message="no such role")
    )
    report, settings = await set_up(emulator)
    assert outcomes(report)["task definition", "cloudburst-task"] == "created"
    # Once the role is known, the same refusal is one.
    emulator.add_fault(Fault(operation="RegisterTaskDefinition", message=PASS_ROLE, **denied))
    with pytest.raises(AccessDeniedError, match="iam:PassRole"):
        await set_up(emulator, settings=settings, arm64=True)


async def test_what_is_denied_for_another_reason_is_told_at_once(emulator):
    other = PASS_ROLE.replace("iam:PassRole", "ecs:RegisterTaskDefinition")
    emulator.add_fault(
        Fault(
            operation="RegisterTaskDefinition",
            code="AccessDeniedException",
            status=400,
            message=other,
        )
    )
    since = len(emulator.calls)
    with pytest.raises(AccessDeniedError, match="RegisterTaskDefinition"):
        await set_up(emulator)
    asked = [call.operation for call in emulator.calls[since:]]
    assert asked.count("RegisterTaskDefinition") == 1


async def test_init_ends_when_a_new_role_can_be_assumed(emulator, monkeypatch, tmp_path):
    monkeypatch.setattr(init_account, "ROLE_PROPAGATION_SECONDS", 4.0)  # init takes less
    lines = []
    env = tmp_path / ".env"

    def on_wait(line):
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
        ("public.ecr.aws/someone/cloudburst:1", None, {"imageTag": "1"}),
        ("betashow/video-generation-api:latest", None, {"imageTag": "latest"}),
        (f"evil.example/{REGISTRY}/x:1", None, {"imageTag": "1"}),
    ],
)
def test_a_repository_is_read_from_an_images_name(image, arn, ident):
    found = repository_of(image)
    assert (found and found.arn) == arn
    assert image_id(image) == ident
