"""The template describes what init creates, and init and destroy respect its stack."""

from __future__ import annotations

import json

import anyio
import pytest

from cloudburst import Client, fargate
from cloudburst.aws.fargate.placement import CAPACITY_PROVIDERS
from cloudburst.aws.fargate.task_definition import SERVICE_PORT
from cloudburst.aws.setup.destroy_account import destroy
from cloudburst.aws.setup.ecr import OUR_REPOSITORY
from cloudburst.aws.setup.ecr_repository import LIFECYCLE_POLICY
from cloudburst.aws.setup.init_account import StepOutcome
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE_POLICY,
    LOG_GROUP,
    LOG_RETENTION_DAYS,
    PERMISSIONS_BOUNDARY,
    SECURITY_GROUP_NAME,
    TAGS,
    TRUST_POLICY,
    execution_role,
    has_our_tags,
    role_policy,
)
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from support.cloudformation import ACCOUNT, create_stack, policy_after_stack, resolve, tags_of
from support.setup_accounts import HERE, client, outcomes, session, set_up, settings_of, writes

pytestmark = pytest.mark.anyio

OTHER = "arn:aws:ecr:eu-west-1:210987654321:repository/team/film"


@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1", "us-gov-west-1"])
@pytest.mark.parametrize("image", ["own", "public", OTHER])
def test_the_role_of_the_template_is_that_of_init(image, region):
    partition = {"us-east-1": "aws", "cn-north-1": "aws-cn"}.get(region, "aws-us-gov")
    role = resolve(Image=image, region=region, partition=partition)["ExecutionRole"]
    ours = f"arn:{partition}:ecr:{region}:{ACCOUNT}:repository/{OUR_REPOSITORY}"
    pulled = {"own": [ours], "public": []}.get(image, [image])
    assert role["RoleName"] == execution_role(region)
    assert role["AssumeRolePolicyDocument"] == TRUST_POLICY
    assert role["PermissionsBoundary"] == f"arn:{partition}:iam::aws:policy/{PERMISSIONS_BOUNDARY}"
    assert role["Policies"] == [
        {
            "PolicyName": EXECUTION_ROLE_POLICY,
            "PolicyDocument": role_policy(region, ACCOUNT, pulled),
        }
    ]


def test_the_other_resources_of_the_template_are_those_of_init():
    made = resolve()
    assert made["Cluster"]["ClusterName"] == Settings(_env_file=None).cluster
    assert made["Cluster"]["CapacityProviders"] == list(CAPACITY_PROVIDERS)
    assert made["LogGroup"]["LogGroupName"] == LOG_GROUP
    assert made["LogGroup"]["RetentionInDays"] == LOG_RETENTION_DAYS
    assert made["Repository"]["RepositoryName"] == OUR_REPOSITORY
    assert made["Repository"]["ImageScanningConfiguration"] == {"ScanOnPush": True}
    policy = made["Repository"]["LifecyclePolicy"]["LifecyclePolicyText"]
    assert json.loads(policy) == LIFECYCLE_POLICY
    assert made["SecurityGroup"]["GroupName"] == SECURITY_GROUP_NAME
    assert made["SecurityGroup"]["SecurityGroupIngress"] == []


def test_init_may_change_only_the_rules_of_the_security_group_of_a_stack():
    """Tags decide which resources it corrects, and the policy asks for both to change rules."""
    ours = {name for name, one in resolve().items() if has_our_tags(tags_of(one))}
    assert ours == {"SecurityGroup"}
    assert all(tags_of(one)["Project"] == TAGS["Project"] for one in resolve().values())


@pytest.mark.parametrize("number", [1, 2, 4])
def test_each_source_is_a_rule_for_the_port_of_workers(number):
    sources = [f"203.0.113.{last}/32" for last in range(number)]
    rules = resolve(Sources=",".join(sources))["SecurityGroup"]["SecurityGroupIngress"]
    port = {"IpProtocol": "tcp", "FromPort": SERVICE_PORT, "ToPort": SERVICE_PORT}
    assert rules == [{**port, "CidrIp": source} for source in sources]


def test_resources_that_exist_are_left_out():
    exist = dict.fromkeys(("NewCluster", "NewLogGroup", "NewSecurityGroup"), "false")
    assert resolve(Image="public", **exist).keys() == {"ExecutionRole"}


@pytest.mark.timeout(60)
async def test_init_only_registers_task_definitions_after_a_stack_and_destroy_keeps_the_stack(
    emulator, make_scene, tmp_path
):
    client(emulator, "iam").create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
    create_stack(emulator, Image="public", Sources=f"{HERE}/32,127.0.0.1/32")
    await anyio.sleep(emulator.config.role_policy_lag)  # the longest time until a role can be used
    since = len(emulator.calls)
    policy = policy_after_stack(settings_of(emulator, DOCKER_IMAGE="public"))
    limited = emulator.new_key(policies=[policy])
    report, settings = await set_up(
        emulator, settings=settings_of(emulator, DOCKER_IMAGE="public", **limited)
    )
    assert set(writes(emulator, since)) == {"ecs:RegisterTaskDefinition"}
    created = {step.resource for step in report.steps if step.outcome is StepOutcome.CREATED}
    assert created == {"task definition"}
    assert StepOutcome.UPDATED not in outcomes(report).values()
    # Another address gets a rule, as in a group that init created; the rule of the stack stays.
    since = len(emulator.calls)
    await set_up(emulator, settings=settings, sources=("198.51.100.1",))
    assert writes(emulator, since) == ["ec2:AuthorizeSecurityGroupIngress"]

    scenes = [make_scene(f"scene-{number}") for number in range(2)]
    async with Client(fargate(settings)) as burst:
        rendered = await burst.render_all(scenes, to=tmp_path / "videos")
    assert rendered.status == "complete", rendered
    assert len(rendered.videos) == 2

    await anyio.sleep(emulator.config.disagreement)  # until ListTasks has no task left
    since = len(emulator.calls)
    report = await destroy(settings, session=session())
    assert report.success
    assert set(writes(emulator, since)) == {"ecs:DeregisterTaskDefinition"}
    kept = {step.resource: step.detail for step in report.steps if step.outcome == "kept"}
    assert kept.keys() == {"cluster", "log group", "execution role", "security group"}
    assert set(kept.values()) == {
        "belongs to the CloudFormation stack films: to remove it, delete the stack"
    }


async def test_a_stack_for_the_public_image_is_refused_for_our_own(emulator):
    create_stack(emulator, Image="public")
    changes = {"DOCKER_IMAGE": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/cloudburst:1"}
    with pytest.raises(
        ConfigurationError, match=r"lacks Amazon.* with the stack's parameter Image"
    ):
        await set_up(emulator, changes=changes)
