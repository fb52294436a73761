"""Network of workers as EC2 describes it: public addresses, and subnets that can be used."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.errors import AccessDeniedError, CloudburstError, ConfigurationError
from cloudburst.models.settings import Settings

logger = logging.getLogger(__name__)

EC2_SERVICE = "ec2-addresses"
"""Name of this package's own service model of EC2 in ``aws/client/models``, which has only
DescribeNetworkInterfaces and DescribeSubnets. Reading botocore's whole model takes 20 MB and a
tenth of a second."""
# Maximum number of values of one filter: "Filter" in the EC2 API reference (2026-11).
MAX_FILTER_VALUES = 200
# Ids of the zones with Fargate, for the regions in which not every zone has it: "Supported Regions
# for Amazon ECS on AWS Fargate", ECS developer guide (2026-11). Ids are used because a zone name
# such as ``us-west-1a`` means a different zone in each account.
FARGATE_ZONES: Mapping[str, frozenset[str]] = {
    "us-west-1": frozenset({"usw1-az1", "usw1-az3"}),
    "ap-northeast-1": frozenset({"apne1-az1", "apne1-az2", "apne1-az4"}),
    "cn-north-1": frozenset({"cnn1-az1", "cnn1-az2"}),
}
# Ids of the zones in which Fargate does not run ARM64 tasks: "Amazon ECS task definitions for
# 64-bit ARM workloads", ECS developer guide (2026-11).
ZONES_WITHOUT_ARM64 = frozenset({"use1-az3"})
ELSEWHERE = "remove it from AWS_SUBNET_ID; if that is empty, init finds subnets elsewhere"
"""What to do about a subnet in which Fargate does not run."""


def filters(**values: Sequence[str]) -> list[dict[str, Any]]:
    """Return the filters of a call of EC2, such as ``vpc-id``."""
    return [{"Name": name.replace("_", "-"), "Values": [*each]} for name, each in values.items()]


async def describe_public_addresses(aws: AWSClient, interfaces: Sequence[str]) -> dict[str, str]:
    """Return the public addresses of network interfaces, by the ids of the interfaces.

    Interfaces that do not exist or have no public address are left out. The request uses a filter:
    with a list of ids, it would fail for all interfaces if one is gone.
    """
    addresses: dict[str, str] = {}
    for start in range(0, len(interfaces), MAX_FILTER_VALUES):
        batch = list(interfaces[start : start + MAX_FILTER_VALUES])
        existing = await aws.collect_pages(
            EC2_SERVICE,
            "describe_network_interfaces",
            "NetworkInterfaces",
            Filters=filters(network_interface_id=batch),
        )
        for interface in existing:
            if address := get_structure(interface, "Association").get("PublicIp"):
                addresses[str(interface["NetworkInterfaceId"])] = address
    return addresses


async def find_public_addresses(
    aws: AWSClient, tasks: Iterable[Mapping[str, Any]]
) -> dict[str, str]:
    """Return the public addresses of described tasks, by the ids of their network interfaces.

    If the credentials do not allow the call to EC2, the result is empty and a warning is logged.
    """
    descriptions = map(parse_task_description, tasks)
    interfaces = [task.network_interface for task in descriptions if task.network_interface]
    try:
        return await describe_public_addresses(aws, interfaces)
    except AccessDeniedError as exc:
        logger.warning("public addresses are not shown: %s", exc)
        return {}


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


def find_obstacles(
    described: Iterable[Mapping[str, Any]], settings: Settings, *, region: str, architecture: str
) -> dict[tuple[str, str], list[str]]:
    """Return why workers in subnets do not start or cannot be reached.

    Returns:
        Ids of subnets, by the reason and what to do about it.
    """
    found = defaultdict[tuple[str, str], list[str]](list)
    for subnet in described:
        ident, zone_id = str(subnet["SubnetId"]), str(subnet.get("AvailabilityZoneId", ""))
        states = get_structure(subnet, "BlockPublicAccessStates")
        mode = states.get("InternetGatewayBlockMode", "off")
        if not has_fargate(region, zone_id, architecture):
            reason = f"in {zone_id}, where Fargate runs no {architecture} tasks"
            found[reason, ELSEWHERE].append(ident)
        elif settings.public_address and mode != "off":
            reason = f"closed to the internet by VPC Block Public Access ({mode}), if not excluded"
            fix = (
                f"aws ec2 create-vpc-block-public-access-exclusion --region {region} --vpc-id "
                f"{subnet['VpcId']} --internet-gateway-exclusion-mode allow-bidirectional"
            )
            found[reason, fix].append(ident)
    return found


async def usable_subnets(aws: AWSClient, settings: Settings, architecture: str) -> tuple[str, ...]:
    """Return the subnets of the settings in which workers start and can be reached.

    Without the permission ec2:DescribeSubnets, these are all subnets. Subnets that VPC Block Public
    Access closes are left out if others remain only: AWS does not document if the mode that it
    shows is that of the region, even for a subnet that is excluded.

    Raises:
        ConfigurationError: Fargate does not run in any of the subnets.
    """
    if not settings.public_address and architecture != "ARM64":
        return settings.subnets  # clients inside a VPC may have no way to EC2
    named = filters(subnet_id=settings.subnets)
    try:
        found = await aws.collect_pages(EC2_SERVICE, "describe_subnets", "Subnets", Filters=named)
    except CloudburstError as exc:
        logger.info("the zones of the subnets are not known: %s", exc)
        return settings.subnets
    obstacles = find_obstacles(found, settings, region=aws.region, architecture=architecture)
    usable = settings.subnets
    for (reason, fix), idents in sorted(obstacles.items(), key=lambda one: one[0][1] != ELSEWHERE):
        text = f"{', '.join(idents)}: {reason}"
        if others := tuple(ident for ident in usable if ident not in idents):
            logger.info("not used: %s", text)
            usable = others
        elif fix == ELSEWHERE:
            raise ConfigurationError(f"no subnet is left: {text}: {fix}")
        else:
            logger.warning("workers may not be reached in %s: %s", text, fix)
    return usable
