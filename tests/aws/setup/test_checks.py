"""Every problem is found and reported with its fix, and hides no other problem."""

from __future__ import annotations

import json
import socket

import pytest
from rich.console import Console, Group

from cloudburst.aws.setup import check_account
from cloudburst.aws.setup.check_account import CHECKS, doctor
from cloudburst.aws.setup.check_caller import UNVERIFIED_ACCOUNT
from cloudburst.aws.setup.checks import Check, CheckStatus, DoctorReport
from cloudburst.cli.doctor import doctor_command, doctor_lines
from cloudburst.emulator.identity import Identity
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.task import PROTOCOL_VERSION
from cloudburst.models.tier import Tier
from cloudburst.net.registry.names import ImageReference
from cloudburst.testing import EmulatorConfig, FargateEmulator, Fault
from support.setup_accounts import HERE, client, here, pushed, session, set_up, settings_of, writes

pytestmark = pytest.mark.anyio

SAME = {"protocol-version": str(PROTOCOL_VERSION)}
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/cloudburst:1"


async def checks(settings, *names, **more):
    """Each check by its name, or only those of the functions with these names.

    There are never two of a name.
    """
    ours = None if settings.role_arn else session()
    chosen = tuple(one for one in CHECKS if not names or one[0] in names)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_account, "CHECKS", chosen)
        diagnosis = await doctor(
            settings, find_address=more.pop("here", here), session=ours, **more
        )
    found = {check.name: check for check in diagnosis.checks}
    assert len(found) == len(diagnosis.checks)
    for check in diagnosis.failures:
        assert check.fix, check
    return found


def redefined(emulator, family="cloudburst-render", *, top=None, more=None, **changes):
    """A new revision by hand, with changes of its first container, and other ones beside it."""
    ecs = client(emulator, "ecs")
    known = ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]
    kept = ("cpu", "memory", "networkMode", "requiresCompatibilities", "executionRoleArn")
    first, *others = known["containerDefinitions"]
    first = {k: v for k, v in {**first, **changes}.items() if v is not None}
    if more is not None:
        others = [{"name": f"side-{number}", "image": name} for number, name in enumerate(more)]
    asked = {name: known[name] for name in kept} | {"volumes": known["volumes"]} | (top or {})
    ecs.register_task_definition(family=family, containerDefinitions=[first, *others], **asked)


async def test_a_set_up_of_ours_is_healthy(emulator):
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    since = len(emulator.calls)
    with pushed(emulator, "cloudburst:1", "amd64", "arm64"):
        diagnosis = await doctor(settings, tasks=3, find_address=here, session=session())
    assert [check for check in diagnosis.checks if check.status is not CheckStatus.PASSED] == []
    assert diagnosis.success
    assert [w for w in writes(emulator, since) if w.startswith(("ecs:", "ec2:", "iam:"))] == []
    told = {check.name: check.found for check in diagnosis.checks}
    assert told["quota"] == f"6 vCPU needed (3 tasks of 2), 6 allowed; {UNVERIFIED_ACCOUNT}"
    assert told["platforms"] == "the image is for amd64, arm64"
    assert told["transport"].startswith("TLS")
    assert told["security group"].endswith(f"open to {HERE}, this machine")
    assert told["contents"] == "as init registers it"


async def test_an_empty_account_is_told_what_it_lacks(emulator):
    found = await checks(settings_of(emulator))
    for name in ("cluster", "task definition", "subnets"):
        assert found[name].status is CheckStatus.FAILED
        assert found[name].fix == "cloudburst init"
    assert found["credentials"].status is CheckStatus.PASSED
    assert "security group" not in found  # of which VPC?
    assert found["task definition"].found == (
        "ECS_TASK_DEFINITION is not set, and there is no task definition cloudburst-task in "
        "us-east-1"
    )


async def test_a_task_definition_that_is_missing_is_named(emulator):
    def missing(found):
        assert found["task definition"].status is CheckStatus.FAILED
        return found["task definition"].found, found["task definition"].fix

    named = settings_of(emulator, ECS_TASK_DEFINITION="mine", DOCKER_IMAGE="public")
    assert missing(await checks(named))[0] == "there is no task definition mine in us-east-1"
    public = settings_of(emulator, DOCKER_IMAGE="public")
    found = "there is no task definition cloudburst-task in us-east-1"
    unset = f"ECS_TASK_DEFINITION is not set, and {found}"
    assert missing(await checks(public)) == (unset, "cloudburst init")


async def test_the_public_image_works_and_is_warned_of(emulator):
    _, settings = await set_up(emulator)
    found = await checks(settings, tasks=1)
    warned = {name for name, check in found.items() if check.status is CheckStatus.WARNING}
    assert warned == {"transport", "registry"}
    assert "unencrypted" in found["transport"].found
    assert "Docker Hub" in found["registry"].found
    assert found["lifetime"].status is CheckStatus.PASSED


@pytest.mark.parametrize(
    ("asked", "state", "said"),
    [
        ({"tasks": 10, "tier": Tier.MAXIMUM_PERFORMANCE}, "failed", "160 vCPU needed"),
        ({"tasks": 4}, "warning", "3 tasks fit at once"),
        ({"tasks": 2, "tier": Tier.HIGH_PERFORMANCE}, "warning", "1 task fits at once"),
        ({"tasks": 3}, "passed", "6 vCPU needed (3 tasks of 2), 6 allowed"),
    ],
)
async def test_quotas_are_held_against_what_a_run_would_ask(shared_account, asked, state, said):
    found = await checks(settings_of(shared_account), **asked)
    assert found["quota"].status == state
    assert said in found["quota"].found
    if state != "passed":
        assert "L-3032A538" in found["quota"].fix
        assert str(asked["tasks"] * asked.get("tier", Tier.STANDARD).vcpu) in found["quota"].fix


async def test_spot_tasks_are_held_against_the_quota_of_spot():
    with FargateEmulator(
        EmulatorConfig.quick(moto=False, vcpu_quota=6, spot_vcpu_quota=16)
    ) as emulator:
        settings = settings_of(emulator, CLOUDBURST_CAPACITY="FARGATE_SPOT")
        found = await checks(settings, tasks=12)
    assert found["Spot quota"].found.startswith("24 vCPU needed (12 tasks of 2), 16 allowed")
    assert "L-36FBB829" in found["Spot quota"].fix
    assert "quota" not in found


async def test_a_quota_that_nobody_has_touched_is_the_default_one():
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        emulator.add_fault(
            Fault(operation="GetServiceQuota", code="NoSuchResourceException", times=None)
        )
        found = await checks(settings_of(emulator), tasks=1)
    assert found["quota"].found == f"2 vCPU needed (1 task of 2), 6 allowed; {UNVERIFIED_ACCOUNT}"


async def test_defects_of_a_task_definition_are_named(emulator):
    _, settings = await set_up(emulator)
    redefined(
        emulator,
        "cloudburst-task",
        image="other/image",
        memory=6144,
        linuxParameters=None,
        logConfiguration=None,
        stopTimeout=60,
    )
    found = await checks(settings)
    assert found["contents"].status is CheckStatus.FAILED  # no STANDARD task could ever start
    assert "6 GB" in found["contents"].found
    assert found["image"].found == (
        "tasks run other/image, DOCKER_IMAGE is betashow/video-generation-api:latest"
    )
    large = (await checks(settings, tier=Tier.HIGH_PERFORMANCE))["contents"]
    assert (large.status, large.fix) == (CheckStatus.WARNING, "cloudburst init")
    assert large.found == (
        "differs from what init registers: containers[0].memory, containers[1].image, "
        "containers[0].linuxParameters and 3 more"
    )


@pytest.mark.parametrize(
    ("labels", "state", "told"),
    [
        (SAME, "warning", "set up by an earlier version, which recorded none; this is "),
        ({**SAME, "version": "0.0.1"}, "warning", "set up by 0.0.1; this is "),
        ({}, "failed", "version unknown of the native protocol"),
        ({"version": "9.1", "protocol-version": "9"}, "failed", "version 9 of the native protocol"),
    ],
)
async def test_versions_that_differ_are_told(labels, state, told):
    labels = {f"cloudburst.{name}": text for name, text in labels.items()}
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        labels |= {"cloudburst.protocol": "native"}
        redefined(emulator, "cloudburst-task", dockerLabels=labels)
        check = (await checks(settings_of(emulator)))["version"]
    assert (check.status, check.fix) == (state, "cloudburst init")
    assert told in check.found


async def test_another_image_than_our_own_is_told_unless_it_was_chosen(emulator):
    _, settings = await set_up(emulator)
    own = settings.model_copy(update={"image": "own"})
    check = (await checks(own))["image"]
    assert check.status is CheckStatus.WARNING
    assert check.found == (
        "tasks run betashow/video-generation-api:latest, and not our own image, the default"
    )
    assert "to keep this image, set DOCKER_IMAGE" in check.fix
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    check = (await checks(settings.model_copy(update={"image": "own"})))["image"]
    assert check.status is CheckStatus.PASSED  # another tag in the same repository


async def test_an_onestep_task_without_watchdog_lives_for_ever(emulator):
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    redefined(emulator, dockerLabels={"cloudburst.protocol": "onestep"})
    found = await checks(settings)
    assert found["lifetime"].status is CheckStatus.WARNING
    assert found["transport"].status is CheckStatus.WARNING


async def test_a_foreign_task_definition_is_told():
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
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
    with FargateEmulator(EmulatorConfig.quick(protocol="native", moto=False)) as emulator:
        settings = settings_of(emulator)
        diagnosis = await doctor(settings, tasks=3, find_address=here, session=session())
    assert [check for check in diagnosis.checks if check.status is CheckStatus.FAILED] == []


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
        RoleName="cloudburst-execution-us-east-1", PolicyDocument=json.dumps(trust)
    )
    found = await checks(settings)
    assert found["logs"].found.endswith("/ecs/cloudburst: tasks would not start")
    assert "does not trust" in found["execution role"].found
    client(emulator, "logs").create_log_group(logGroupName="/ecs/cloudburst")
    found = await checks(settings)
    assert "put-retention-policy" in found["logs"].fix


async def test_capacity_providers_must_be_attached():
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        client(emulator, "ecs").put_cluster_capacity_providers(
            cluster="cloudburst-cluster",
            capacityProviders=["FARGATE"],
            defaultCapacityProviderStrategy=[],
        )
        found = await checks(settings_of(emulator))
        assert found["cluster"].status is CheckStatus.PASSED  # a launch type needs none
        found = await checks(settings_of(emulator, CLOUDBURST_CAPACITY="FARGATE_SPOT"))
        assert "lacks the capacity provider FARGATE_SPOT" in found["cluster"].found


async def test_who_reaches_the_workers(emulator):
    _, settings = await set_up(emulator)
    group = settings.security_groups[0]

    async def elsewhere():
        return "198.51.100.9"

    found = await checks(settings, "security group", here=elsewhere)
    assert found["security group"].status is CheckStatus.FAILED
    assert f"not to {await elsewhere()}" in found["security group"].found
    assert f"--group-id {group} --protocol tcp --port 5000 --cidr 198.51.100.9/32" in (
        found["security group"].fix
    )

    async def unknown():
        raise ConfigurationError("checkip is silent")

    found = await checks(settings, "security group", here=unknown)
    assert found["security group"].status is CheckStatus.WARNING
    assert "checkip is silent" in found["security group"].found

    port = {"IpProtocol": "tcp", "FromPort": 5000, "ToPort": 5000}
    client(emulator, "ec2").authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{**port, "UserIdGroupPairs": [{"GroupId": group}]}]
    )
    found = await checks(settings, "security group", here=elsewhere)
    assert found["security group"].status is CheckStatus.WARNING  # we may be a member of it

    await set_up(emulator, settings=settings, open_to_world=True)
    found = await checks(settings, "security group", here=elsewhere)
    assert found["security group"].status is CheckStatus.WARNING
    assert "the world" in found["security group"].found

    without = settings.model_copy(update={"security_groups": ()})
    found = await checks(without, "security group")
    assert found["security group"].status is CheckStatus.FAILED  # the default group
    gone = settings.model_copy(update={"security_groups": ("sg-00000000000000000",)})
    found = await checks(gone, "security group")
    assert "AWS_SECURITY_GROUP_ID" in found["security group"].fix


async def test_subnets_must_lead_where_tasks_need_to_go(emulator):
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": ECR})
    ec2 = client(emulator, "ec2")
    vpc = ec2.create_vpc(CidrBlock="172.29.0.0/16")["Vpc"]["VpcId"]
    zone = {"AvailabilityZone": "us-east-1a"}
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="172.29.0.0/20", **zone)["Subnet"]
    shut = subnet["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(SubnetId=shut, RouteTableId=table)
    one = settings.model_copy(update={"subnets": (shut,)})
    private = one.model_copy(update={"public_address": False})

    found = await checks(one, "subnets", "security group")
    assert f"{shut} routes to nowhere" in found["subnets"].found
    assert found["subnets"].status is CheckStatus.FAILED
    assert "not in" in found["security group"].found  # it is one of another VPC
    found = await checks(private, "subnets")
    assert "ecr.api, ecr.dkr, logs, s3" in found["subnets"].fix
    service = "com.amazonaws.us-east-1."
    for name in ("ecr.api", "ecr.dkr", "logs"):
        ec2.create_vpc_endpoint(
            VpcId=vpc,
            ServiceName=service + name,
            VpcEndpointType="Interface",
            SubnetIds=[shut],
        )
    found = await checks(private, "subnets")
    assert found["subnets"].fix == "create a NAT gateway, or the VPC endpoints of s3"
    ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=f"{service}s3")
    found = await checks(private, "subnets")
    assert found["subnets"].status is CheckStatus.PASSED
    # Before the first init, the image of the settings counts.
    new = private.model_copy(update={"task_definition": "none", "image": "own"})
    assert (await checks(new, "subnets"))["subnets"].status is CheckStatus.PASSED
    redefined(emulator, image="betashow/video-generation-api:latest")
    found = await checks(private, "subnets")
    assert "do not reach docker.io" in found["subnets"].found
    assert found["subnets"].fix.endswith("DOCKER_IMAGE=own, then cloudburst init")
    far = ECR.replace("us-east-1", "eu-west-1")
    redefined(emulator, image=far)
    found = await checks(private, "subnets")
    assert f"do not reach {ImageReference.split(far).registry}" in found["subnets"].found
    redefined(emulator, image=ECR, more=["public.ecr.aws/docker/library/busybox:stable"])
    found = await checks(private, "task definition")
    assert (
        found["contents"].found == "differs from what init registers: containers, runtimePlatform"
    )
    redefined(emulator, image=ECR, more=[])
    assert (await checks(private, "subnets"))["subnets"].status is CheckStatus.PASSED

    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=shut, AllocationId=address)
    ec2.create_route(
        RouteTableId=table,
        DestinationCidrBlock="0.0.0.0/0",
        NatGatewayId=gateway["NatGateway"]["NatGatewayId"],
    )
    found = await checks(private, "subnets")
    assert found["subnets"].status is CheckStatus.PASSED
    found = await checks(one, "subnets")
    assert "routes to a NAT gateway: public addresses there" in found["subnets"].found


async def test_a_subnet_that_is_not_there_is_told(emulator):
    found = await checks(settings_of(emulator, AWS_SUBNET_ID="subnet-00000000000000000"))
    assert found["subnets"].status is CheckStatus.FAILED
    assert "AWS_SUBNET_ID" in found["subnets"].fix


async def test_denied_actions_of_a_run_are_found_by_simulation():
    denied = frozenset({"ecs:StopTask", "iam:PassRole"})
    with FargateEmulator(EmulatorConfig.quick(moto=False, denied=denied)) as emulator:
        found = await checks(settings_of(emulator))
    assert found["permissions"].status is CheckStatus.FAILED
    assert found["permissions"].found == "IAM denies ecs:StopTask, iam:PassRole"


async def test_a_policy_for_one_region_is_simulated_for_that_region():
    condition = {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}
    allowed = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        key = emulator.new_key(policies=[{"Version": "2012-10-17", "Statement": [allowed]}])
        found = await checks(settings_of(emulator, **key))
    assert found["permissions"].status is CheckStatus.PASSED, found["permissions"].found


async def test_what_the_simulator_says_of_an_organization_is_no_failure(monkeypatch):
    simulate = Identity._simulate

    def of_an_organization(self, parameters):
        answer = simulate(self, parameters)
        for result in answer["EvaluationResults"]:
            if result["EvalActionName"] == "ecs:RunTask":
                result["EvalDecision"] = "explicitDeny"
                result["OrganizationsDecisionDetail"] = {"AllowedByOrganizations": False}
        return answer

    monkeypatch.setattr(Identity, "_simulate", of_an_organization)
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        found = await checks(settings_of(emulator))
    assert found["permissions"].status is CheckStatus.WARNING
    assert "the organization may deny ecs:RunTask" in found["permissions"].found


async def test_a_run_works_without_logs_groups_and_subnets():
    denied = {"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "logs:GetLogEvents"}
    with FargateEmulator(EmulatorConfig.quick(moto=False, denied=frozenset(denied))) as emulator:
        found = await checks(settings_of(emulator))
    assert found["permissions"].status is CheckStatus.WARNING
    for action in denied:
        assert action in found["permissions"].found


async def test_a_denied_check_hides_no_other():
    denied = frozenset(
        {"iam:*", "ec2:Describe*", "servicequotas:*", "logs:*", "ecs:DescribeClusters"}
    )
    with FargateEmulator(EmulatorConfig.quick(moto=False, denied=denied)) as emulator:
        found = await checks(settings_of(emulator))
    for name in ("cluster", "subnets", "security group", "quota", "logs", "execution role"):
        assert found[name].status is CheckStatus.WARNING
        assert found[name].found.startswith("not checked: ")
        assert found[name].fix.endswith("cloudburst init --policy doctor")
    assert "iam:SimulatePrincipalPolicy is denied" in found["permissions"].found
    assert found["task definition"].status is CheckStatus.PASSED
    assert found["credentials"].status is CheckStatus.PASSED


async def test_credentials_that_have_expired_are_the_one_failure():
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        settings = settings_of(emulator)
        await doctor(settings, find_address=here)
        emulator.expire_credentials()
        diagnosis = await doctor(settings, find_address=here)
    assert [check.name for check in diagnosis.failures] == ["credentials"]
    assert "aws sso login" in diagnosis.failures[0].fix
    checked = {check.name for check in diagnosis.checks}
    assert checked == {name for name, _ in CHECKS} - {"platforms"}


async def test_missing_credentials_are_explained_once():
    diagnosis = await doctor(Settings(_env_file=None, region="us-east-1"), find_address=here)
    failure = diagnosis.failures[0]
    assert failure.found == "Unable to locate credentials"
    assert failure.fix == "run aws configure or aws sso login, or set AWS_PROFILE"


async def test_a_profile_of_aws_login_gets_the_commands_that_make_it_work(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(
        "[default]\nlogin_session = arn:aws:iam::123456789012:user/me\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    diagnosis = await doctor(Settings(_env_file=None, region="us-east-1"), find_address=here)
    failure = diagnosis.failures[0]
    assert failure.found == (
        "the profile default has credentials of aws login, which the installed boto cannot read"
    )
    assert failure.fix.startswith("run aws configure set credential_process ")


async def test_an_endpoint_that_is_silent_is_a_failure(unused_address):
    settings = Settings(
        _env_file=None,
        endpoint_url=unused_address,
        access_key_id="A",
        secret_access_key="s",
        region="us-east-1",
    )
    diagnosis = await doctor(settings, find_address=here)
    assert [check.name for check in diagnosis.failures] == ["credentials", "subnets"]
    assert unused_address in diagnosis.failures[0].fix


@pytest.fixture
def unused_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


async def test_an_assumed_role_is_looked_up_by_its_whole_name(emulator):
    iam = client(emulator, "iam")
    iam.create_role(RoleName="worker", Path="/teams/", AssumeRolePolicyDocument="{}")
    settings = settings_of(emulator, AWS_ROLE_ARN="arn:aws:iam::123456789012:role/teams/worker")
    since = len(emulator.calls)
    found = await checks(settings)
    assert "assumed-role/worker/cloudburst" in found["credentials"].found
    assert found["permissions"].status is CheckStatus.PASSED
    asked = [call.action for call in emulator.calls[since:]]
    assert asked.index("iam:GetRole") < asked.index("iam:SimulatePrincipalPolicy")


@pytest.mark.nightly
async def test_an_image_in_ecr_of_another_region_is_warned_of(emulator):
    far = ECR.replace("us-east-1", "eu-west-1")
    _, settings = await set_up(emulator, changes={"DOCKER_IMAGE": far})
    found = await checks(settings)
    assert "eu-west-1" in found["registry"].found
    assert found["registry"].status is CheckStatus.WARNING


def test_the_command_tells_all_and_its_exit_code_the_worst(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    with FargateEmulator(EmulatorConfig.quick(moto=False)) as emulator:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value)
        assert doctor_command(workers=1, address=HERE) == 0  # warnings are no failures
        assert "cloudburst-cluster is active" in capsys.readouterr().out
        monkeypatch.setenv("AWS_SUBNET_ID", "")
        assert doctor_command(workers=1, address=HERE, as_json=True) == 1
        told = json.loads(capsys.readouterr().out)
        assert told["success"] is False
        assert {"name", "status", "found", "fix"} == told["checks"][0].keys()
    with pytest.raises(ConfigurationError, match="expected an IPv4 address"):
        doctor_command(address="here")


def test_checks_fit_into_80_columns_and_markup_stays_text():
    long = "x" * 30 + " [bold]of[/bold] " + "y" * 120
    diagnosis = DoctorReport(
        region="r",
        checks=(
            Check(name="cluster", status=CheckStatus.PASSED, found="fine"),
            Check(name="subnets", status=CheckStatus.FAILED, found=long, fix="do " + "z" * 100),
            Check(name="quota", status=CheckStatus.WARNING, found="not checked"),
            Check(name="logs", status=CheckStatus.WARNING, found="not checked"),
        ),
    )
    console = Console(width=80, record=True, color_system=None, highlight=False)
    with console.capture() as captured:
        console.print(Group(*doctor_lines(diagnosis)))
    text = captured.get()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "[bold]of[/bold]" in text
    assert "not checked (also: logs)" in text
    assert text.endswith("1 failure, 1 warning: a run on Fargate would not work.\n")
