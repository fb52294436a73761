"""Subnets in zones without Fargate are left out, and warned of."""

from __future__ import annotations

import pytest

from cloudburst.aws.setup.check_account import doctor
from cloudburst.aws.setup.checks import CheckStatus
from cloudburst.aws.setup.network import default_subnets, has_fargate
from cloudburst.emulator.ec2 import subnet_id
from cloudburst.errors import ConfigurationError
from support.setup_accounts import client, here, session, set_up, settings_of

pytestmark = pytest.mark.anyio


class Region:
    """What EC2 tells of a region whose default VPC has one subnet in each of some zones."""

    def __init__(self, region, **zones):
        self.region = region
        self._zones = zones

    async def collect_pages(self, service, operation, key, **asked):
        out = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}
        found = {
            "describe_vpcs": [{"VpcId": "vpc-1"}],
            "describe_subnets": [
                {
                    "SubnetId": f"subnet-{zone}",
                    "VpcId": "vpc-1",
                    "AvailabilityZone": f"{self.region}{zone}",
                    **({"AvailabilityZoneId": ident} if ident else {}),
                }
                for zone, ident in self._zones.items()
            ],
            "describe_route_tables": [
                {"VpcId": "vpc-1", "Associations": [{"Main": True}], "Routes": [out]}
            ],
        }
        return found[operation]


@pytest.mark.parametrize(
    ("region", "architecture", "kept"),
    [
        (Region("us-west-1", a="usw1-az1", b="usw1-az2", c="usw1-az3"), "X86_64", "ac"),
        (Region("ap-northeast-1", a="apne1-az4", b="apne1-az3", c="apne1-az1"), "X86_64", "ac"),
        (Region("cn-north-1", a="cnn1-az1", b="cnn1-az3"), "X86_64", "a"),
        (Region("us-east-1", a="use1-az1", e="use1-az3"), "X86_64", "ae"),
        (Region("us-east-1", a="use1-az1", e="use1-az3"), "ARM64", "a"),
        (Region("us-west-1", a=None), "X86_64", "a"),  # the zone id is unknown
    ],
)
async def test_only_zones_with_fargate_are_taken(region, architecture, kept):
    found = await default_subnets(region, architecture=architecture)
    assert [subnet.id for subnet in found] == [f"subnet-{zone}" for zone in kept]


async def test_a_region_without_any_such_zone_is_told():
    with pytest.raises(ConfigurationError, match="has Fargate and a route"):
        await default_subnets(Region("us-west-1", b="usw1-az2"))


def test_regions_that_are_not_listed_have_fargate_everywhere():
    assert has_fargate("eu-west-1", "euw1-az9", "ARM64")


def subnet_without_arm(emulator):
    subnets = client(emulator, "ec2").describe_subnets()["Subnets"]
    (one,) = [one for one in subnets if one["AvailabilityZoneId"] == "use1-az3"]
    return one["SubnetId"], [one["SubnetId"] for one in subnets]


async def test_an_arm64_set_up_leaves_out_the_zone_without_arm64(emulator):
    without, _ = subnet_without_arm(emulator)
    changes = {"ECS_TASK_DEFINITION": "cloudburst-task-arm64"}
    _, settings = await set_up(emulator, changes=changes)
    assert without not in settings.subnets
    _, settings = await set_up(emulator)
    assert without in settings.subnets


async def test_doctor_and_init_name_a_subnet_in_a_zone_without_the_processor(emulator):
    without, every = subnet_without_arm(emulator)
    changes = {"ECS_TASK_DEFINITION": "cloudburst-task-arm64"}

    async def zones(*subnets):
        named = {**changes, "AWS_SUBNET_ID": ",".join(subnets)}
        report, settings = await set_up(emulator, changes=named)
        diagnosis = await doctor(settings, find_address=here, session=session())
        found = [check for check in diagnosis.checks if check.name == "placement"]
        return found, [step.detail for step in report.steps if step.resource == "subnet"]

    (check,), (step,) = await zones(*every)
    assert check.status is CheckStatus.WARNING
    where = f"{without}: in use1-az3, where Fargate runs no ARM64 tasks"
    assert check.found == where
    assert f"{without}: {step}" == f"{where}: {check.fix}"
    assert check.fix.startswith("remove it from AWS_SUBNET_ID")
    (check,), _ = await zones(without)
    assert check.status is CheckStatus.FAILED
    assert await zones(*[one for one in every if one != without]) == ([], [])
    assert settings_of(emulator)


async def test_doctor_and_init_name_subnets_that_are_closed_to_the_internet(emulator, monkeypatch):
    for zone in ("a", "c"):
        monkeypatch.setitem(emulator.config.block_public_access, zone, "block-ingress")
    report, settings = await set_up(emulator)
    diagnosis = await doctor(settings, find_address=here, session=session())
    default = [{"Name": "is-default", "Values": ["true"]}]
    (vpc,) = client(emulator, "ec2").describe_vpcs(Filters=default)["Vpcs"]
    changes = {"DOCKER_IMAGE": "public", "AWS_SUBNET_ID": subnet_id("a")}
    closed = settings_of(emulator, **{**report.environment, **changes})
    (same,) = [
        check
        for check in (await doctor(closed, find_address=here, session=session())).checks
        if check.name == "placement"
    ]
    (step,) = [step for step in report.steps if step.resource == "subnet"]
    (check,) = [check for check in diagnosis.checks if check.name == "placement"]
    assert check.status is CheckStatus.WARNING
    assert same.status is CheckStatus.WARNING  # an exclusion may open it
    assert check.found == (
        f"{subnet_id('a')}, {subnet_id('c')}: closed to the internet by VPC Block Public Access "
        "(block-ingress), if not excluded"
    )
    assert (
        check.fix
        == same.fix
        == (
            "aws ec2 create-vpc-block-public-access-exclusion --region us-east-1 --vpc-id "
            f"{vpc['VpcId']} --internet-gateway-exclusion-mode allow-bidirectional"
        )
    )
    assert f"{step.name}: {step.detail}" == f"{check.found}: {check.fix}"
