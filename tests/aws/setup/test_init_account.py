"""Setting up and taking away: once made, found from then on, and nothing else touched."""

from __future__ import annotations

import json
import re
import stat
from importlib.metadata import version

import anyio
import httpx
import pytest

from cloudburst.aws.client.public_ip import parse_source, private_address, public_address
from cloudburst.aws.fargate.task_definition import task_families
from cloudburst.aws.setup import changes, resources
from cloudburst.aws.setup.destroy_account import destroy
from cloudburst.aws.setup.init_account import InitOptions, StepOutcome, init, write_settings
from cloudburst.aws.setup.resource_definitions import (
    LOG_GROUP,
    TRUST_POLICY,
    WorkerImage,
    differences,
    execution_role,
    is_our_image,
    task_definition,
)
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    ConfigurationError,
    ResourceMissingError,
)
from cloudburst.models.limits import Backoff
from cloudburst.models.locations import S3Prefix
from cloudburst.models.settings import PUBLIC_IMAGE_NAME, Settings
from cloudburst.models.task import PROTOCOL_VERSION, Protocol
from cloudburst.testing import Fault
from support.setup_accounts import (
    HERE,
    bare,
    client,
    here,
    outcomes,
    session,
    set_up,
    settings_of,
    writes,
)

pytestmark = pytest.mark.anyio

EXECUTION_ROLE = execution_role("us-east-1")
OURS = "ghcr.io/someone/cloudburst:1"


def described(emulator, family):
    answer = client(emulator, "ecs").describe_task_definition(taskDefinition=family)
    return answer["taskDefinition"]


def group_rules(emulator, group):
    found = client(emulator, "ec2").describe_security_groups(GroupIds=[group])
    return sorted(
        (rule["FromPort"], rule["ToPort"], each["CidrIp"])
        for rule in found["SecurityGroups"][0]["IpPermissions"]
        for each in rule["IpRanges"]
    )


async def test_a_dry_run_tells_the_plan_and_writes_nothing(emulator, tmp_path):
    client(emulator, "s3").create_bucket(Bucket="films")
    env, seen = tmp_path / ".env", len(emulator.calls)
    plan = InitOptions(dry_run=True, env_file=env, s3=(S3Prefix("films", "out/"),))
    report = await init(settings_of(emulator), options=plan, find_address=here, session=session())
    assert writes(emulator, seen) == []
    assert emulator.calls[seen:]
    assert not env.exists()
    told = {step.resource: step.outcome for step in report.steps}
    made = {"cluster", "log group", "execution role", "security group", "task definition"}
    assert {what for what, outcome in told.items() if outcome is StepOutcome.CREATED} >= made
    assert told["S3 folder"] is StepOutcome.FOUND
    assert report.dry_run
    assert "AWS_SECURITY_GROUP_ID" not in report.environment  # unknown before it is created


@pytest.mark.parametrize("dry_run", [True, False])
async def test_folder_in_s3_that_does_not_exist_is_reported_before_any_change(emulator, dry_run):
    seen = len(emulator.calls)
    plan = InitOptions(dry_run=dry_run, s3=(S3Prefix("gone", "out/"),))
    with pytest.raises(ResourceMissingError, match=r"s3://gone/.*the bucket does not exist"):
        await init(settings_of(emulator), options=plan, find_address=here, session=session())
    assert set(writes(emulator, seen)) <= {"s3:PutObject"}


async def test_what_is_made_is_found_from_then_on_and_goes_again_without_a_trace(
    emulator, tmp_path
):
    env = tmp_path / ".env"
    env.write_text("# mine\nRESULTS_DIR=videos\nAWS_REGION=nowhere\n")
    first, settings = await set_up(emulator, env_file=env)
    assert first.changed
    text = env.read_text()
    assert text.startswith("# mine\nRESULTS_DIR=videos\nAWS_REGION=us-east-1\n")
    assert "KEY" not in text
    assert Settings(_env_file=env).security_groups == settings.security_groups

    seen = len(emulator.calls)
    second, _ = await set_up(emulator, settings=settings, env_file=env)
    assert writes(emulator, seen) == []
    assert not second.changed
    assert env.read_text() == text

    group = settings.security_groups[0]
    assert group_rules(emulator, group) == [(5000, 5000, f"{HERE}/32")]
    role = client(emulator, "iam").get_role(RoleName=EXECUTION_ROLE)["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ]
    groups = client(emulator, "logs").describe_log_groups()["logGroups"]
    assert [(g["logGroupName"], g["retentionInDays"]) for g in groups] == [(LOG_GROUP, 30)]

    seen = len(emulator.calls)
    plan = await destroy(settings, session=session(), dry_run=True)
    assert writes(emulator, seen) == []
    report = await destroy(settings, session=session())
    assert report.success
    assert report.steps == plan.steps
    assert {step.outcome for step in report.steps} == {StepOutcome.REMOVED}
    assert client(emulator, "logs").describe_log_groups()["logGroups"] == []
    assert client(emulator, "ecs").list_clusters()["clusterArns"] == []
    assert client(emulator, "ecs").list_task_definitions()["taskDefinitionArns"] == []
    names = {r["RoleName"] for r in client(emulator, "iam").list_roles()["Roles"]}
    assert EXECUTION_ROLE not in names
    with pytest.raises(client(emulator, "ec2").exceptions.ClientError):
        group_rules(emulator, group)
    # The next init is not stopped by a group that is gone.
    again, _ = await set_up(
        emulator, settings=Settings(_env_file=env, **emulator.environment), env_file=env
    )
    assert outcomes(again)["cluster", "cloudburst-cluster"] == "created"
    (new,) = Settings(_env_file=env).security_groups
    assert new != group
    assert outcomes(again)["security group", new] == "created"


async def test_a_new_revision_only_when_something_differs(emulator):
    # No other test uses the family, so its revisions begin at 1.
    await set_up(emulator, changes={"ECS_TASK_DEFINITION": "novel"})
    client(emulator, "ecs").register_task_definition(
        family="novel-more",
        containerDefinitions=[{"name": "other", "image": "other"}],
    )
    report, settings = await set_up(
        emulator, changes={"ECS_TASK_DEFINITION": "novel", "DOCKER_IMAGE": OURS}, replace=True
    )
    steps = {step.name: step for step in report.steps if step.resource == "task definition"}
    # A request whose answer is late is repeated, and makes another revision.
    (own,) = [step for name, step in steps.items() if re.fullmatch(r"novel:[2-4]", name)]
    assert own.outcome is StepOutcome.UPDATED
    assert "image" in own.detail
    assert steps["novel-arm64:1"].outcome is StepOutcome.CREATED
    ours = described(emulator, "novel")
    (container,) = ours["containerDefinitions"]  # no watchdog: the service ends by itself
    assert container["readonlyRootFilesystem"] is True
    assert container["user"] == "10001"
    assert container["linuxParameters"]["initProcessEnabled"] is False  # it would show the key
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    (mount,) = container["mountPoints"]
    assert (mount["sourceVolume"], mount["containerPath"]) == ("scratch", "/tmp")
    assert [volume["name"] for volume in ours["volumes"]] == ["scratch"]
    assert container["healthCheck"]["interval"] == 60
    assert container["healthCheck"]["timeout"] == 30
    assert container["stopTimeout"] == 120
    assert container["environment"] == [{"name": "CLOUDBURST_STOP_SECONDS", "value": "110"}]
    assert container["dockerLabels"] == {
        "cloudburst.protocol": "native",
        "cloudburst.protocol-version": str(PROTOCOL_VERSION),
        "cloudburst.version": version("cloudburst-sdk"),
    }
    assert described(emulator, "novel-arm64")["runtimePlatform"] == {
        "cpuArchitecture": "ARM64",
        "operatingSystemFamily": "LINUX",
    }
    # By hand, in the console: a memory limit, which no larger tier would pass.
    changed = {**container, "memory": 4096}
    keep = ("cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn")
    by_hand = client(emulator, "ecs").register_task_definition(
        family="novel",
        containerDefinitions=[changed],
        volumes=ours["volumes"],
        runtimePlatform=ours["runtimePlatform"],
        **{name: ours[name] for name in keep},
    )["taskDefinition"]
    report, _ = await set_up(emulator, settings=settings)
    steps = {step.name: step for step in report.steps if step.resource == "task definition"}
    (again,) = [name for name, step in steps.items() if step.detail.startswith("a new revision")]
    assert steps[again].detail == "a new revision: containers[0].memory"
    assert int(again.removeprefix("novel:")) > by_hand["revision"]
    assert steps["novel-arm64:1"].outcome is StepOutcome.FOUND

    report = await destroy(settings, session=session())
    gone = {step.name: step.outcome for step in report.steps if step.resource == "task definition"}
    kept = f"novel:{by_hand['revision']}"
    assert gone[kept] is StepOutcome.KEPT  # it has not our tags
    assert gone[again] is StepOutcome.REMOVED
    left = client(emulator, "ecs").list_task_definitions()["taskDefinitionArns"]
    names = {arn.rpartition("/")[2] for arn in left}
    assert names == {kept, "novel-more:1"}


async def test_a_family_with_another_image_is_replaced_only_if_that_is_asked_for(emulator):
    """Programs that start its tasks may send no key, or speak another protocol."""
    changes = {"ECS_TASK_DEFINITION": "film"}
    await set_up(emulator, changes=changes)
    other = {**changes, "DOCKER_IMAGE": "ghcr.io/someone/cloudburst:1"}
    since = len(emulator.calls)
    with pytest.raises(ConfigurationError) as caught:
        await set_up(emulator, changes=other)
    assert str(caught.value) == (
        "the task definition film exists with 'betashow/video-generation-api:latest', and programs "
        "that start its tasks would get ghcr.io/someone/cloudburst:1: pass --replace "
        "(replace=True) if they can use that image, or name another task definition: "
        "ECS_TASK_DEFINITION=cloudburst-render"
    )
    assert writes(emulator, since) == []
    # A definition of init's own name is not proposed again.
    ours = {"ECS_TASK_DEFINITION": "cloudburst-render"}
    await set_up(emulator, changes=ours)
    with pytest.raises(ConfigurationError, match=r"ECS_TASK_DEFINITION=cloudburst-render-2$"):
        await set_up(emulator, changes={**ours, "DOCKER_IMAGE": "ghcr.io/someone/cloudburst:1"})
    # Another tag or digest is a new version of the same image.
    same = {**changes, "DOCKER_IMAGE": f"docker.io/betashow/video-generation-api@sha256:{'0' * 64}"}
    report, _ = await set_up(emulator, changes=same)
    assert outcomes(report)["task definition", "film"] == "updated"
    report, _ = await set_up(emulator, changes=other, replace=True)
    assert outcomes(report)["task definition", "film"] == "updated"
    client(emulator, "ecs").register_task_definition(
        family="web-arm64", containerDefinitions=[{"name": "web", "image": "nginx"}]
    )
    with pytest.raises(ConfigurationError, match="web-arm64 exists with no container for render"):
        await set_up(emulator, changes={**other, "ECS_TASK_DEFINITION": "web"})


async def test_without_a_name_only_the_public_image_gets_the_family_of_the_old_client(emulator):
    report, settings = await set_up(emulator)
    assert settings.task_definition == "cloudburst-task"
    report, settings = await set_up(emulator, changes={"DOCKER_IMAGE": OURS})
    assert settings.task_definition == "cloudburst-render"
    assert outcomes(report)["task definition", "cloudburst-render"] == "created"
    (container, _) = described(emulator, "cloudburst-task")["containerDefinitions"]
    assert container["image"] == PUBLIC_IMAGE_NAME
    # Without a name, destroy removes what either of them has made.
    unnamed = settings_of(emulator, DOCKER_IMAGE=OURS, AWS_SUBNET_ID=settings.subnets[0])
    assert not unnamed.names_task_definition
    assert (await destroy(unnamed, session=session())).success
    assert client(emulator, "ecs").list_task_definitions()["taskDefinitionArns"] == []


async def test_a_protocol_that_was_chosen_once_stays_with_its_image(emulator):
    changes = {"DOCKER_IMAGE": "registry.example/renderer:7"}
    _, settings = await set_up(emulator, changes=changes, protocol=Protocol.NATIVE)
    report, _ = await set_up(emulator, settings=settings)
    assert not report.changed
    report, _ = await set_up(emulator, settings=settings, protocol=Protocol.ONESTEP)
    names = [c["name"] for c in described(emulator, "cloudburst-render")["containerDefinitions"]]
    assert names == ["cloudburst-processor", "cloudburst-watchdog"]


async def test_the_door_is_open_to_this_machine_only(emulator):
    _, settings = await set_up(emulator)
    group = settings.security_groups[0]
    ec2 = client(emulator, "ec2")
    by_hand = {"CidrIp": "192.0.2.0/24", "Description": "office"}
    port = {"IpProtocol": "tcp", "FromPort": 5000, "ToPort": 5000}
    ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{**port, "IpRanges": [by_hand]}]
    )
    await set_up(emulator, settings=settings, sources=("198.51.100.0/24",))
    assert [r[2] for r in group_rules(emulator, group)] == ["192.0.2.0/24", "198.51.100.0/24"]
    await set_up(emulator, settings=settings, keep_sources=True)
    assert f"{HERE}/32" in [r[2] for r in group_rules(emulator, group)]
    assert len(group_rules(emulator, group)) == 3
    await set_up(emulator, settings=settings, open_to_world=True)
    assert [r[2] for r in group_rules(emulator, group)] == ["0.0.0.0/0", "192.0.2.0/24"]
    await set_up(emulator, settings=settings)  # and shut again
    assert [r[2] for r in group_rules(emulator, group)] == ["192.0.2.0/24", f"{HERE}/32"]


async def test_foreign_resources_are_used_unchanged_and_never_removed(emulator):
    ecs, ec2, iam = (client(emulator, name) for name in ("ecs", "ec2", "iam"))
    ecs.create_cluster(clusterName="cloudburst-cluster", capacityProviders=["FARGATE"])
    client(emulator, "logs").create_log_group(logGroupName=LOG_GROUP)
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="cloudburst", Description="x", VpcId=vpc)
    trust = json.dumps(TRUST_POLICY)
    iam.create_role(RoleName=EXECUTION_ROLE, AssumeRolePolicyDocument=trust)
    with pytest.raises(ConfigurationError, match="AmazonECSTaskExecutionRolePolicy"):
        await set_up(emulator)
    policy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    iam.attach_role_policy(RoleName=EXECUTION_ROLE, PolicyArn=policy)
    await anyio.sleep(emulator.config.role_passable)
    report, settings = await set_up(emulator)
    told = outcomes(report)
    # A cluster gets the capacity providers that it lacks, for they take nothing away.
    assert told["cluster", "cloudburst-cluster"] in {"updated", "found"}
    assert told["log group", LOG_GROUP] == "kept"
    assert told["execution role", EXECUTION_ROLE] == "found"
    assert told["security group", group["GroupId"]] == "kept"
    assert group_rules(emulator, group["GroupId"]) == []
    world = {"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535}
    world["IpRanges"] = [{"CidrIp": "0.0.0.0/0"}]
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[world])
    report, settings = await set_up(emulator)
    (step,) = [step for step in report.steps if step.resource == "security group"]
    assert step.outcome is StepOutcome.KEPT
    assert step.detail == (
        "still open to the world (0.0.0.0/0, not created by init); remove it with: "
        f"aws ec2 revoke-security-group-ingress --region us-east-1 --group-id {group['GroupId']} "
        "--ip-permissions 'IpProtocol=tcp,FromPort=0,ToPort=65535,IpRanges=[{CidrIp=0.0.0.0/0}]'"
    )
    assert group_rules(emulator, group["GroupId"]) == [(0, 65535, "0.0.0.0/0")]
    providers = ecs.describe_clusters(clusters=["cloudburst-cluster"])["clusters"][0]
    assert providers["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]

    report = await destroy(settings, session=session())
    left = {step.resource for step in report.steps if step.outcome is StepOutcome.KEPT}
    assert left == {"cluster", "log group", "execution role", "security group"}
    assert iam.get_role(RoleName=EXECUTION_ROLE)
    assert len(ecs.list_clusters()["clusterArns"]) == 1


async def _ecs_agrees(ecs, tasks):
    """Wait until ECS lists these tasks whenever it is asked, not only now and then."""
    agreed = 0
    with anyio.fail_after(15):
        while agreed < 5:
            listed = ecs.list_tasks(cluster="cloudburst-cluster")["taskArns"]
            agreed = agreed + 1 if listed == tasks else 0
            await anyio.sleep(0.1)


async def test_nothing_is_removed_while_tasks_run(emulator, monkeypatch):
    monkeypatch.setattr(changes, "CONSISTENCY_BACKOFF", Backoff(first=0.2, cap=0.5))
    _, settings = await set_up(emulator)
    await anyio.sleep(1)  # by then ECS can assume the role
    ecs = client(emulator, "ecs")
    task = ecs.run_task(
        cluster="cloudburst-cluster",
        taskDefinition="cloudburst-task",
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {"subnets": [settings.subnets[0]], "assignPublicIp": "ENABLED"}
        },
    )["tasks"][0]["taskArn"]
    await _ecs_agrees(ecs, [task])
    seen = len(emulator.calls)
    with pytest.raises(AWSError, match="1 task in cluster") as caught:
        await destroy(settings, session=session())
    assert caught.value.code == "ClusterContainsTasksException"
    assert writes(emulator, seen) == []
    ecs.stop_task(cluster="cloudburst-cluster", task=task)
    await _ecs_agrees(ecs, [])
    # Its stop takes a while, in which AWS does not let go of the cluster.
    emulator.add_fault(Fault(operation="DeleteSecurityGroup", code="DependencyViolation"))
    report = await destroy(settings, session=session())
    assert report.success, report.steps


async def test_a_refusal_holds_up_no_other_removal(emulator):
    _, settings = await set_up(emulator)
    emulator.add_fault(
        Fault(operation="DeleteRole", code="DeleteConflict", status=409, message="in use")
    )
    emulator.add_fault(Fault(operation="DeleteSecurityGroup", code="UnauthorizedOperation"))
    emulator.add_fault(Fault(operation="DescribeLogGroups", code="AccessDeniedException"))
    report = await destroy(settings, session=session())
    assert not report.success
    failed = {step.resource: step.detail for step in report.steps if step.outcome == "failed"}
    assert failed.keys() == {"execution role", "security group", "log group"}
    assert "DeleteConflict" in failed["execution role"]
    assert failed["log group"].startswith("not looked for: ")
    assert client(emulator, "ecs").list_clusters()["clusterArns"] == []
    assert (await destroy(settings, session=session())).success


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (Fault(operation="DeleteRolePolicy", kind="dropped"), "execution role"),
        (Fault(operation="DeleteRole", code="AccessDenied", status=403), "execution role"),
        (Fault(operation="DeleteLogGroup", kind="dropped"), "log group"),
    ],
)
async def test_a_removal_that_fails_is_a_step_of_the_report(emulator, fault, what):
    _, settings = await set_up(emulator)
    emulator.add_fault(fault)
    report = await destroy(settings, session=session())
    (step,) = [step for step in report.steps if step.outcome == "failed"]
    assert step.resource == what
    assert step.detail not in {"", "None"}


async def test_a_removal_without_any_answer_says_so(emulator, monkeypatch):
    _, settings = await set_up(emulator)
    monkeypatch.setattr(changes, "REMOVAL_TIMEOUT", 0.3)
    emulator.add_fault(Fault(operation="DeleteCluster", kind="delay", seconds=2))
    report = await destroy(settings, session=session())
    step = next(step for step in report.steps if step.resource == "cluster")
    assert (step.outcome, step.detail) == (StepOutcome.FAILED, "no answer in 0.3 s")


@pytest.mark.nightly
async def test_a_role_that_is_not_known_everywhere_yet_is_waited_for(emulator, monkeypatch):
    monkeypatch.setattr(changes, "CONSISTENCY_BACKOFF", Backoff(first=0.05, cap=0.1))
    refused = "Unable to assume the service linked role."
    emulator.add_fault(
        Fault(
            operation="CreateCluster",
            code="InvalidParameterException",
            message=refused,
            times=2,
        )
    )
    emulator.add_fault(Fault(operation="RegisterTaskDefinition", code="ClientException", times=2))
    report, settings = await set_up(emulator)
    assert outcomes(report)["cluster", "cloudburst-cluster"] == "created"
    # When the role is older, the same refusal is told at once.
    monkeypatch.setattr(resources, "SETTLE_TIMEOUT", 0.0)
    emulator.add_fault(Fault(operation="RegisterTaskDefinition", code="ClientException"))
    with pytest.raises(AWSError) as caught:
        await set_up(emulator, settings=settings, changes={"x": "y"}, arm64=True)
    assert caught.value.code == "ClientException"
    # Another init may have made the role a moment ago.
    monkeypatch.setattr(resources, "SETTLE_TIMEOUT", 60.0)
    emulator.add_fault(Fault(operation="RegisterTaskDefinition", code="ClientException", times=2))
    report, _ = await set_up(emulator, settings=settings, arm64=True)
    assert outcomes(report)["execution role", EXECUTION_ROLE] == "found"


@pytest.mark.parametrize(
    ("changes", "plan", "match"),
    [
        ({"AWS_SUBNET_ID": "subnet-00000000000000000"}, {}, "does not exist|do not exist"),
        ({}, {"sources": ("somewhere",)}, "expected an IPv4 address or CIDR"),
        ({}, {"sources": ("10.0.0.1/8",)}, "host bits"),
        ({}, {"sources": ("10.0.0.1",), "open_to_world": True}, "one of the two"),
        ({"ECS_TASK_DEFINITION": "cloudburst-task-arm64"}, {"arm64": False}, "ARM64"),
    ],
)
async def test_settings_that_do_not_fit_are_told_before_anything_is_made(changes, plan, match):
    with bare(moto=False) as emulator:
        with pytest.raises((ConfigurationError, ResourceMissingError), match=match):
            await set_up(emulator, changes=changes, **plan)
        assert writes(emulator) == []


async def test_without_an_address_of_this_machine_nothing_is_made():
    async def nowhere():
        raise ConfigurationError("checkip is silent")

    with bare(moto=False) as emulator:
        with pytest.raises(ConfigurationError, match=r"silent: pass --from CIDR"):
            await init(
                settings_of(emulator), options=InitOptions(env_file=None), find_address=nowhere
            )
        assert writes(emulator) == []


async def test_a_denied_action_is_named(emulator):
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:CreateRole", "Resource": "*"},
    ]
    key = emulator.new_key(policies=[{"Version": "2012-10-17", "Statement": statements}])
    with pytest.raises(AccessDeniedError, match="iam:CreateRole"):
        await set_up(emulator, changes=key)


async def test_this_machines_address_is_what_checkip_says():
    def answering(status, text):
        return httpx.MockTransport(lambda request: httpx.Response(status, text=text))

    assert await public_address(answering(200, "203.0.113.7\n")) == "203.0.113.7"
    for transport in (answering(200, "2001:db8::1"), answering(200, "<html>"), answering(503, "")):
        with pytest.raises(ConfigurationError, match=r"checkip\.amazonaws\.com"):
            await public_address(transport)

    def silent(request):
        raise httpx.ConnectTimeout("too slow")

    with pytest.raises(ConfigurationError, match="ConnectTimeout"):
        await public_address(httpx.MockTransport(silent))


async def test_inside_the_vpc_this_machines_own_address_counts():
    assert await private_address(["127.0.0.0/8"]) == "127.0.0.1"
    with pytest.raises(ConfigurationError, match=r"198\.51\.100\.0/24"):
        await private_address(["198.51.100.0/24"])


def test_sources_are_addresses_and_whole_networks():
    assert parse_source(" 203.0.113.7 ") == "203.0.113.7/32"
    assert parse_source("203.0.113.0/24") == "203.0.113.0/24"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("cloudburst", True),
        ("ghcr.io/someone/cloudburst:1.2", True),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudburst@sha256:00", True),
        ("betashow/video-generation-api:latest", False),
        ("cloudburst/other:cloudburst", False),
        ("mycloudburst", False),
    ],
)
def test_our_image_is_known_by_its_name(image, expected):
    assert is_our_image(image) is expected


def test_a_definition_says_what_runs_need_and_leaves_every_tier_room():
    made = task_definition(
        Settings(_env_file=None),
        WorkerImage(name="public/image", protocol=Protocol.ONESTEP),
        architecture="X86_64",
        region="eu-west-1",
        role="arn:aws:iam::1:role/r",
    )
    worker, watchdog = made["containerDefinitions"]
    for container in (worker, watchdog):
        assert not {"cpu", "memory", "memoryReservation"} & container.keys()
        assert container["linuxParameters"]["initProcessEnabled"] is True
        assert container["image"] == "public/image"  # one pull, from one registry
        assert container["essential"] is True
        assert container["logConfiguration"]["options"] == {
            "awslogs-group": "/ecs/cloudburst",
            "awslogs-region": "eu-west-1",
            "awslogs-stream-prefix": "ecs",
            "mode": "non-blocking",
            "max-buffer-size": "25m",
        }
    assert worker["stopTimeout"] == 5
    # Whatever the image's own entry point is, this one runs the command as it is.
    assert watchdog["entryPoint"] == ["env"]
    assert watchdog["command"] == ["sleep", "3600"]
    # An image of others may need root and write anywhere; its watchdog does neither.
    assert not {"user", "readonlyRootFilesystem", "mountPoints"} & worker.keys()
    assert worker["linuxParameters"] == {"initProcessEnabled": True}
    assert watchdog["readonlyRootFilesystem"] is True
    assert watchdog["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert "volumes" not in made
    assert (made["cpu"], made["memory"]) == ("2048", "4096")


def test_differences_are_named_by_their_path():
    made = task_definition(
        Settings(_env_file=None),
        WorkerImage(name="i", protocol=Protocol.NATIVE),
        architecture="X86_64",
        region="r",
        role="role",
    )
    found = json.loads(json.dumps(made)) | {"revision": 7, "status": "ACTIVE"}
    found["placementConstraints"] = []
    found["volumes"][0]["host"] = {}
    found["containerDefinitions"][0] |= {"cpu": 0, "volumesFrom": []}
    assert differences(made, found) == []
    found["containerDefinitions"][0]["memory"] = 512
    found["containerDefinitions"].append({"name": "sidecar"})
    found["taskRoleArn"] = "somebody"
    assert differences(made, found) == [
        "containerDefinitions[0].memory",
        "containerDefinitions",
        "taskRoleArn",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "work",
        "work:3",
        "work-arm64",
        "arn:aws:ecs:us-east-1:1:task-definition/work:3",
    ],
)
def test_two_families_whatever_the_setting_says(name):
    assert task_families(name) == {"X86_64": "work", "ARM64": "work-arm64"}


def test_the_env_file_keeps_all_that_is_not_ours(tmp_path):
    env = tmp_path / ".env"
    env.write_text("# note\nA=1\nexport B = old\nC='x y'\n${broken\nB=older\n")
    assert write_settings(env, {"B": "new", "D": "a,b"}) is StepOutcome.UPDATED
    assert env.read_text() == "# note\nA=1\nB=new\nC='x y'\n${broken\nB=new\nD=a,b\n"
    assert write_settings(env, {"B": "new", "C": "x y"}) is StepOutcome.FOUND
    env.write_text("A=1")
    assert write_settings(env, {"B": "2"}) is StepOutcome.UPDATED
    assert env.read_text() == "A=1\nB=2\n"


def test_the_env_file_keeps_its_mode_and_its_link(tmp_path):
    real, link = tmp_path / "shared.env", tmp_path / ".env"
    assert write_settings(link, {"A": "1"}) is StepOutcome.CREATED
    assert stat.S_IMODE(link.stat().st_mode) == 0o600
    link.rename(real)
    real.chmod(0o640)
    link.symlink_to(real)
    assert write_settings(link, {"A": "2"}, dry_run=True) is StepOutcome.UPDATED
    assert real.read_text() == "A=1\n"
    assert write_settings(link, {"A": "2"}) is StepOutcome.UPDATED
    assert write_settings(link, {"A": "2"}) is StepOutcome.FOUND
    assert link.is_symlink()
    assert real.read_text() == "A=2\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert {path.name for path in tmp_path.iterdir()} == {".env", "shared.env"}


def test_an_env_file_without_a_last_line_feed_is_unchanged_if_no_setting_changes(tmp_path):
    env = tmp_path / ".env"
    env.write_text("H=a\nG=b")
    assert write_settings(env, {"G": "b"}) is StepOutcome.FOUND
    assert env.read_text() == "H=a\nG=b"
    assert write_settings(env, {"H": "c"}) is StepOutcome.UPDATED
    assert env.read_text() == "H=c\nG=b"


async def test_an_env_file_that_cannot_be_written_is_told(emulator, tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        await set_up(emulator, env_file=tmp_path)
