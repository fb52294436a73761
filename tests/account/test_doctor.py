"""What is wrong is found, said, and named with what mends it; and nothing hides anything else."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from accounts import HERE, client, here, session, set_up, settings_of, writes
from rich.console import Console

from cloudburst.account.check_caller import _clock
from cloudburst.account.check_tasks import registry_of
from cloudburst.account.diagnosis import Check, Diagnosis, State
from cloudburst.account.examination import PROBES, doctor
from cloudburst.cli.doctor import Told, doctor_command
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.tier import Tier
from cloudburst.testing import EmulatorConfig, FargateEmulator, Fault

pytestmark = pytest.mark.anyio

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudburst:1"


async def checks(settings, **more):
    """Each check by its name; there are never two of a name."""
    ours = None if settings.role_arn else session()
    diagnosis = await doctor(settings, here=more.pop("here", here), session=ours, **more)
    found = {check.name: check for check in diagnosis.checks}
    assert len(found) == len(diagnosis.checks)
    for check in diagnosis.failures:
        assert check.mend, check
    return found


def redefined(emulator, family="cloudburst-task", *, top=None, **changes):
    """A new revision by hand, with changes of its first container."""
    ecs = client(emulator, "ecs")
    known = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    kept = ("cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn")
    first, *others = known["containerDefinitions"]
    first = {k: v for k, v in {**first, **changes}.items() if v is not None}
    asked = {name: known[name] for name in kept} | (top or {})
    ecs.register_task_definition(family=family, containerDefinitions=[first, *others], **asked)


async def test_a_set_up_of_ours_is_healthy(emulator):
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    since = len(emulator.calls)
    diagnosis = await doctor(settings, tasks=3, here=here, session=session())
    assert [check for check in diagnosis.checks if check.state is not State.OK] == []
    assert diagnosis.healthy
    assert writes(emulator, since) == []
    told = {check.name: check.found for check in diagnosis.checks}
    assert told["quota"] == "6 vCPU asked (3 tasks of 2), 6 allowed"
    assert told["transport"].startswith("TLS")
    assert told["security group"].endswith(f"open to {HERE}, this machine")
    assert told["stopping"] == "stopTimeout 120 s, of which scenes may use 110"


async def test_an_empty_account_is_told_what_it_lacks(emulator):
    found = await checks(settings_of(emulator))
    for name in ("cluster", "task definition", "subnets"):
        assert found[name].state is State.FAILURE
        assert found[name].mend == "cloudburst init"
    assert found["credentials"].state is State.OK
    assert "security group" not in found  # of which VPC?


async def test_the_public_image_works_and_is_warned_of(emulator):
    _, settings = await set_up(emulator)
    found = await checks(settings, tasks=1)
    warned = {name for name, check in found.items() if check.state is State.WARNING}
    assert warned == {"transport", "registry"}
    assert "in clear" in found["transport"].found
    assert "Docker Hub" in found["registry"].found
    assert found["lifetime"].state is State.OK


@pytest.mark.parametrize(
    ("asked", "state", "said"),
    [
        ({"tasks": 10, "tier": Tier.MAXIMUM_PERFORMANCE}, "failure", "160 vCPU asked"),
        ({"tasks": 4}, "warning", "3 of them fit at once"),
        ({"tasks": 2, "tier": Tier.HIGH_PERFORMANCE}, "warning", "1 of them fits at once"),
        ({"tasks": 3}, "ok", "6 vCPU asked (3 tasks of 2), 6 allowed"),
    ],
)
async def test_quotas_are_held_against_what_a_run_would_ask(shared_account, asked, state, said):
    found = await checks(settings_of(shared_account), **asked)
    assert found["quota"].state == state
    assert said in found["quota"].found
    if state != "ok":
        assert "L-3032A538" in found["quota"].mend
        assert str(asked["tasks"] * asked.get("tier", Tier.STANDARD).vcpu) in found["quota"].mend


async def test_a_share_of_spot_is_held_against_both_quotas():
    with FargateEmulator(EmulatorConfig(moto=False, spot_vcpu_quota=16)) as emulator:
        settings = settings_of(emulator, CLOUDBURST_CAPACITY="FARGATE_SPOT:3,FARGATE:1")
        found = await checks(settings, tasks=12)
    assert found["Spot quota"].found.startswith("18 vCPU asked (9 tasks of 2), 16 allowed")
    assert "L-36FBB829" in found["Spot quota"].mend
    assert found["quota"].found == "6 vCPU asked (3 tasks of 2), 6 allowed"


async def test_a_quota_that_nobody_has_touched_is_the_default_one():
    with FargateEmulator(EmulatorConfig(moto=False)) as emulator:
        emulator.add_fault(
            Fault(operation="GetServiceQuota", code="NoSuchResourceException", times=None)
        )
        found = await checks(settings_of(emulator), tasks=1)
    assert found["quota"].found == "2 vCPU asked (1 task of 2), 6 allowed"


async def test_what_is_amiss_in_a_task_definition_is_named(emulator):
    _, settings = await set_up(emulator)
    redefined(
        emulator,
        image="other/image",
        memory=6144,
        linuxParameters=None,
        logConfiguration=None,
        stopTimeout=60,
    )
    found = await checks(settings)
    assert found["size"].state is State.FAILURE  # no STANDARD task could ever start
    assert "6 GB" in found["size"].found
    assert found["image"].found == (
        "tasks run other/image, DOCKER_IMAGE is betashow/video-generation-api:latest"
    )
    assert found["init process"].found.startswith("cloudburst-processor without")
    assert found["stopping"].state is State.WARNING
    large = await checks(settings, tier=Tier.HIGH_PERFORMANCE)
    assert large["size"].state is State.WARNING


async def test_our_service_needs_its_time_to_stop(emulator):
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    redefined(emulator, stopTimeout=None)
    found = await checks(settings)
    assert found["stopping"].found == "the service takes 110 s to stop and is killed after 30 s"
    redefined(emulator, environment=[])
    found = await checks(settings)
    assert "stopTimeout 30 s" in found["stopping"].found
    assert found["stopping"].state is State.WARNING


async def test_an_onestep_task_without_watchdog_lives_for_ever(emulator):
    await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    redefined(emulator, dockerLabels={"cloudburst.protocol": "onestep"})
    found = await checks(settings)
    assert found["lifetime"].state is State.WARNING
    assert found["transport"].state is State.WARNING


async def test_a_foreign_task_definition_is_told():
    with FargateEmulator(EmulatorConfig(moto=False)) as emulator:
        ecs = client(emulator, "ecs")
        ecs.register_task_definition(
            family="theirs", containerDefinitions=[{"name": "web", "image": "nginx"}]
        )
        found = await checks(settings_of(emulator, ECS_TASK_DEFINITION="theirs"))
        assert "no container is named cloudburst-processor" in found["task definition"].found
        arn = ecs.describe_task_definition(taskDefinition="cloudburst-task")["taskDefinition"]
        ecs.deregister_task_definition(taskDefinition=arn["taskDefinitionArn"])
        found = await checks(settings_of(emulator, ECS_TASK_DEFINITION="cloudburst-task:1"))
        assert found["task definition"].found == "cloudburst-task:1 is deregistered"


async def test_nothing_is_wrong_with_a_prepared_account():
    with FargateEmulator(EmulatorConfig(protocol="native")) as emulator:
        settings = Settings(**emulator.environment)
        diagnosis = await doctor(settings, tasks=3, here=here, session=session())
    assert [check for check in diagnosis.checks if check.state is State.FAILURE] == []


async def test_the_log_group_and_the_role_must_be_there(emulator):
    _, settings = await set_up(emulator)
    client(emulator, "logs").delete_log_group(logGroupName="/ecs/cloudburst")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    client(emulator, "iam").update_assume_role_policy(
        RoleName="cloudburst-execution-role", PolicyDocument=json.dumps(trust)
    )
    found = await checks(settings)
    assert found["logs"].found.endswith("/ecs/cloudburst: tasks would not start")
    assert "does not trust" in found["execution role"].found
    client(emulator, "logs").create_log_group(logGroupName="/ecs/cloudburst")
    found = await checks(settings)
    assert "put-retention-policy" in found["logs"].mend


async def test_capacity_providers_must_be_attached():
    with FargateEmulator(EmulatorConfig(moto=False)) as emulator:
        client(emulator, "ecs").put_cluster_capacity_providers(
            cluster="cloudburst-cluster",
            capacityProviders=["FARGATE"],
            defaultCapacityProviderStrategy=[],
        )
        found = await checks(settings_of(emulator))
        assert found["cluster"].state is State.OK  # a launch type needs none
        found = await checks(settings_of(emulator, CLOUDBURST_CAPACITY="FARGATE_SPOT"))
        assert "lacks the capacity providers FARGATE_SPOT" in found["cluster"].found


async def test_who_reaches_the_workers(emulator):
    _, settings = await set_up(emulator)
    group = settings.security_groups[0]

    async def elsewhere():
        return "198.51.100.9"

    found = await checks(settings, here=elsewhere)
    assert found["security group"].state is State.FAILURE
    assert f"not to {await elsewhere()}" in found["security group"].found
    assert f"--group-id {group} --protocol tcp --port 5000 --cidr 198.51.100.9/32" in (
        found["security group"].mend
    )

    async def unknown():
        raise ConfigurationError("checkip is silent")

    found = await checks(settings, here=unknown)
    assert found["security group"].state is State.WARNING
    assert "checkip is silent" in found["security group"].found

    port = {"IpProtocol": "tcp", "FromPort": 5000, "ToPort": 5000}
    client(emulator, "ec2").authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{**port, "UserIdGroupPairs": [{"GroupId": group}]}]
    )
    found = await checks(settings, here=elsewhere)
    assert found["security group"].state is State.WARNING  # we may be a member of it

    await set_up(emulator, settings=settings, open_to_world=True)
    found = await checks(settings, here=elsewhere)
    assert found["security group"].state is State.WARNING
    assert "the world" in found["security group"].found

    without = settings.model_copy(update={"security_groups": ()})
    found = await checks(without)
    assert found["security group"].state is State.FAILURE  # the default group
    gone = settings.model_copy(update={"security_groups": ("sg-00000000000000000",)})
    found = await checks(gone)
    assert "AWS_SECURITY_GROUP_ID" in found["security group"].mend


async def test_subnets_must_lead_where_tasks_need_to_go(emulator):
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    ec2 = client(emulator, "ec2")
    vpc = ec2.create_vpc(CidrBlock="172.29.0.0/16")["Vpc"]["VpcId"]
    shut = ec2.create_subnet(VpcId=vpc, CidrBlock="172.29.0.0/20")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(SubnetId=shut, RouteTableId=table)
    one = settings.model_copy(update={"subnets": (shut,)})
    private = one.model_copy(update={"public_address": False})

    found = await checks(one)
    assert f"{shut} leads to nowhere" in found["subnets"].found
    assert found["subnets"].state is State.FAILURE
    assert "not in" in found["security group"].found  # it is one of another VPC
    found = await checks(private)
    assert "ecr.api, ecr.dkr, logs, s3" in found["subnets"].mend
    service = "com.amazonaws.us-east-1."
    for name in ("ecr.api", "ecr.dkr", "logs"):
        ec2.create_vpc_endpoint(
            VpcId=vpc,
            ServiceName=service + name,
            VpcEndpointType="Interface",
            SubnetIds=[shut],
        )
    found = await checks(private)
    assert found["subnets"].mend == "make a NAT gateway, or the VPC endpoints of s3"
    ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=f"{service}s3")
    found = await checks(private)
    assert found["subnets"].state is State.OK
    redefined(emulator, image="betashow/video-generation-api:latest")
    found = await checks(private)
    assert "do not lead to docker.io" in found["subnets"].found

    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=shut, AllocationId=address)
    ec2.create_route(
        RouteTableId=table,
        DestinationCidrBlock="0.0.0.0/0",
        NatGatewayId=gateway["NatGateway"]["NatGatewayId"],
    )
    found = await checks(private)
    assert found["subnets"].state is State.OK
    found = await checks(one)
    assert "leads to a NAT gateway: public addresses there" in found["subnets"].found


async def test_a_subnet_that_is_not_there_is_told(emulator):
    found = await checks(settings_of(emulator, AWS_SUBNET_ID="subnet-00000000000000000"))
    assert found["subnets"].state is State.FAILURE
    assert "AWS_SUBNET_ID" in found["subnets"].mend


async def test_denied_actions_of_a_run_are_found_by_simulation():
    denied = frozenset({"ecs:StopTask", "iam:PassRole"})
    with FargateEmulator(EmulatorConfig(moto=False, denied=denied)) as emulator:
        found = await checks(settings_of(emulator))
    assert found["permissions"].state is State.FAILURE
    assert found["permissions"].found == "IAM denies ecs:StopTask, iam:PassRole"


async def test_a_run_works_without_logs():
    with FargateEmulator(EmulatorConfig(moto=False, denied=frozenset({"logs:Get*"}))) as emulator:
        found = await checks(settings_of(emulator))
    assert found["permissions"].state is State.WARNING
    assert "logs:GetLogEvents" in found["permissions"].found


async def test_what_may_not_be_looked_at_hides_nothing_else():
    denied = frozenset(
        {"iam:*", "ec2:Describe*", "servicequotas:*", "logs:*", "ecs:DescribeClusters"}
    )
    with FargateEmulator(EmulatorConfig(moto=False, denied=denied)) as emulator:
        found = await checks(settings_of(emulator))
    for name in ("cluster", "subnets", "security group", "quota", "logs", "execution role"):
        assert found[name].state is State.WARNING
        assert found[name].found.startswith("not checked: ")
        assert found[name].mend.endswith("cloudburst init --policy doctor")
    assert "could not be checked" in found["permissions"].found
    assert found["task definition"].state is State.OK
    assert found["credentials"].state is State.OK


async def test_credentials_that_have_expired_are_the_one_failure():
    with FargateEmulator(EmulatorConfig(moto=False)) as emulator:
        settings = settings_of(emulator)
        await doctor(settings, here=here)
        emulator.expire_credentials()
        diagnosis = await doctor(settings, here=here)
    assert [check.name for check in diagnosis.failures] == ["credentials"]
    assert "aws sso login" in diagnosis.failures[0].mend
    assert {check.name for check in diagnosis.checks} == {name for name, _ in PROBES}


async def test_an_endpoint_that_is_silent_is_a_failure(unused_address):
    settings = Settings(
        _env_file=None,
        endpoint_url=unused_address,
        access_key_id="A",
        secret_access_key="s",
        region="us-east-1",
    )
    diagnosis = await doctor(settings, here=here)
    assert [check.name for check in diagnosis.failures] == ["credentials", "subnets"]
    assert unused_address in diagnosis.failures[0].mend


@pytest.fixture
def unused_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


async def test_a_setting_that_cannot_be_is_a_failure():
    with FargateEmulator(EmulatorConfig(moto=False)) as emulator:
        found = await checks(settings_of(emulator, CLOUDBURST_CAPACITY="SPOT"))
    assert found["quota"].state is found["cluster"].state is State.FAILURE
    assert "capacity is 'SPOT'" in found["quota"].found


async def test_an_assumed_role_is_looked_up_by_its_whole_name(emulator):
    iam = client(emulator, "iam")
    iam.create_role(RoleName="worker", Path="/teams/", AssumeRolePolicyDocument="{}")
    settings = settings_of(emulator, AWS_ROLE_ARN="arn:aws:iam::123456789012:role/teams/worker")
    since = len(emulator.calls)
    found = await checks(settings)
    assert "assumed-role/worker/cloudburst" in found["credentials"].found
    assert found["permissions"].state is State.OK
    asked = [call.action for call in emulator.calls[since:]]
    assert asked.index("iam:GetRole") < asked.index("iam:SimulatePrincipalPolicy")


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, ("ok", "as AWS's")), (3, ("warning", "180 s behind AWS's")), (-3, ("warning", "ahead"))],
)
def test_a_wrong_clock_is_told(minutes, expected):
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)
    (check,) = _clock({"ResponseMetadata": {"HTTPHeaders": {"date": date}}})
    assert check.state == expected[0]
    assert expected[1] in check.found.replace("181 s", "180 s").replace("179 s", "180 s")
    assert _clock({}) == []


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("ubuntu", "docker.io"),
        ("betashow/video-generation-api:latest", "docker.io"),
        ("ghcr.io/a/b:1", "ghcr.io"),
        ("localhost/b", "localhost"),
        ("host:5000/b@sha256:0", "host:5000"),
        ("docker.io/library/busybox", "docker.io"),
    ],
)
def test_the_registry_is_read_as_docker_reads_it(image, host):
    assert registry_of(image) == host


async def test_an_image_in_ecr_of_another_region_is_warned_of(emulator):
    far = ECR.replace("us-east-1", "eu-west-1")
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": far})
    found = await checks(settings)
    assert "eu-west-1" in found["registry"].found
    assert found["registry"].state is State.WARNING


def test_the_command_tells_all_and_its_exit_code_the_worst(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    with FargateEmulator(EmulatorConfig(moto=False)) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        assert doctor_command(workers=1, address=HERE) == 0  # warnings are no failures
        assert "cloudburst-cluster is active" in capsys.readouterr().out
        monkeypatch.setenv("AWS_SUBNET_ID", "")
        assert doctor_command(workers=1, address=HERE, as_json=True) == 1
        told = json.loads(capsys.readouterr().out)
        assert told["healthy"] is False
        assert {"name", "state", "found", "mend"} == told["checks"][0].keys()
    with pytest.raises(ConfigurationError, match="no IPv4 address"):
        doctor_command(address="here")


def test_it_is_told_in_80_columns_and_markup_stays_text():
    long = "x" * 30 + " [bold]of[/bold] " + "y" * 120
    diagnosis = Diagnosis(
        region="r",
        checks=(
            Check(name="cluster", state=State.OK, found="fine"),
            Check(name="subnets", state=State.FAILURE, found=long, mend="do " + "z" * 100),
            Check(name="quota", state=State.WARNING, found="not checked"),
            Check(name="logs", state=State.WARNING, found="not checked"),
        ),
    )
    console = Console(width=80, record=True, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(Told(diagnosis))
    text = captured.get()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "[bold]of[/bold]" in text
    assert "not checked (logs, too)" in text
    assert text.endswith("1 failure, 2 warnings: a run on Fargate would not work.\n")
