"""Subnets in which workers can be started and reached."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.fargate.public_addresses import EC2_SERVICE
from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.models.settings import Settings

logger = logging.getLogger(__name__)

FARGATE_ZONES: Mapping[str, frozenset[str]] = {
    "us-west-1": frozenset({"usw1-az1", "usw1-az3"}),
    "ap-northeast-1": frozenset({"apne1-az1", "apne1-az2", "apne1-az4"}),
    "cn-north-1": frozenset({"cnn1-az1", "cnn1-az2"}),
}
"""Ids of the zones with Fargate, for the regions in which not every zone has it: "Supported Regions
for Amazon ECS on AWS Fargate", ECS developer guide (2026-11). Ids are used because a zone name such
as ``us-west-1a`` means a different zone in each account."""
ZONES_WITHOUT_ARM64 = frozenset({"use1-az3"})
"""Ids of the zones in which Fargate does not run ARM64 tasks: "Amazon ECS task definitions for
64-bit ARM workloads", ECS developer guide (2026-11)."""


def has_fargate(region: str, zone_id: str, architecture: str) -> bool:
    """Return whether Fargate runs tasks of an architecture in a zone.

    A zone whose id is unknown (empty) counts as one that has Fargate.
    """
    if not zone_id:
        return True
    known = FARGATE_ZONES.get(region)
    if known is not None and zone_id not in known:
        return False
    return architecture != "ARM64" or zone_id not in ZONES_WITHOUT_ARM64


class Obstacle(NamedTuple):
    """Reason why workers in some subnets do not start or cannot be reached."""

    text: str
    """Ids of the subnets, and the reason."""
    fix: str
    subnets: Sequence[str]


def find_obstacles(
    described: Iterable[Mapping[str, Any]], settings: Settings, *, region: str, architecture: str
) -> list[Obstacle]:
    """Return the reasons why workers in subnets do not start or cannot be reached.

    Args:
        described: Descriptions of the subnets by EC2.
        settings: Settings that decide if workers have public addresses.
        region: Region of the subnets.
        architecture: Architecture of the tasks, ``X86_64`` or ``ARM64``.
    """
    found = defaultdict[tuple[str, str], list[str]](list)
    for subnet in described:
        zone_id = str(subnet.get("AvailabilityZoneId", ""))
        states = get_structure(subnet, "BlockPublicAccessStates")
        mode = states.get("InternetGatewayBlockMode", "off") if settings.public_address else "off"
        if not has_fargate(region, zone_id, architecture):
            text = f"in {zone_id}, where Fargate runs no {architecture} tasks"
            fix = "remove it from AWS_SUBNET_ID; if that is empty, init finds subnets elsewhere"
        elif mode != "off":
            text = f"closed to the internet by VPC Block Public Access ({mode})"
            fix = (
                f"aws ec2 create-vpc-block-public-access-exclusion --region {region} --vpc-id "
                f"{subnet['VpcId']} --internet-gateway-exclusion-mode allow-bidirectional"
            )
        else:
            continue
        found[text, fix].append(str(subnet["SubnetId"]))
    return [
        Obstacle(f"{', '.join(subnets)}: {text}", fix, subnets)
        for (text, fix), subnets in found.items()
    ]


async def usable_subnets(
    aws: AWSClient, settings: Settings, architectures: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return the subnets of the settings that each architecture can use, unless it can use none.

    Without the permission ec2:DescribeSubnets, these are all subnets.

    Args:
        aws: Client of the account.
        settings: Settings with the subnets.
        architectures: Architectures of the task definitions that may be used.

    Raises:
        ConfigurationError: No architecture has a subnet that it can use.
    """
    described, obstacles = list[Mapping[str, Any]](), list[Obstacle]()
    usable = dict[str, tuple[str, ...]]()
    # Clients inside a VPC may have no way to EC2, and do not need it.
    if settings.public_address or "ARM64" in architectures:
        filters = [{"Name": "subnet-id", "Values": [*settings.subnets]}]
        try:
            described += await aws.collect_pages(
                EC2_SERVICE, "describe_subnets", "Subnets", Filters=filters
            )
        except CloudburstError as exc:
            logger.info("the zones of the subnets are not known: %s", exc)
    for architecture in architectures:
        found = find_obstacles(described, settings, region=aws.region, architecture=architecture)
        dropped = {ident for obstacle in found for ident in obstacle.subnets}
        if left := tuple(ident for ident in settings.subnets if ident not in dropped):
            usable[architecture] = left
        obstacles += found
    if not usable:
        problems = ". ".join(f"{each.text}. What to do: {each.fix}" for each in obstacles)
        raise ConfigurationError(f"no subnet is left for tasks. {problems}")
    for obstacle in obstacles:
        logger.info("not used: %s", obstacle.text)
    return usable
