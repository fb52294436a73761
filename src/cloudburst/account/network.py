"""Subnets, and by which way a task in them reaches the world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloudburst.adapters.aws.session import AWS
from cloudburst.errors import ConfigurationError, ResourceMissingError

EVERYWHERE = "0.0.0.0/0"
_OTHER_WAYS = (
    "CarrierGatewayId",
    "CoreNetworkArn",
    "InstanceId",
    "LocalGatewayId",
    "NetworkInterfaceId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
)


class Way(StrEnum):
    """Where the default route of a subnet leads."""

    INTERNET = "an internet gateway"
    """In both directions, for tasks that have a public address."""
    NAT = "a NAT gateway"
    """Out only."""
    OTHER = "another network"
    """A transit gateway, a firewall…: somebody there decides."""
    NONE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet as far as it matters here."""

    id: str
    vpc: str
    zone: str
    way: Way
    free: int
    """Addresses that are left in it."""


async def describe_subnets(aws: AWS, ids: Sequence[str]) -> tuple[Subnet, ...]:
    """These subnets, in this order.

    Raises:
        ResourceMissingError: One of them is not there, in this account and region.
        CloudburstError: What `AWS.call` raises.
    """
    found = await aws.pages("ec2", "describe_subnets", "Subnets", SubnetIds=list(ids))
    by_id = {subnet.id: subnet for subnet in await _with_ways(aws, found)}
    if missing := [name for name in ids if name not in by_id]:
        raise ResourceMissingError(f"subnets {', '.join(missing)} are not there")
    return tuple(by_id[name] for name in ids)


async def default_subnets(aws: AWS) -> tuple[Subnet, ...]:
    """The subnets of the default VPC that lead to the internet, one for each zone that has one.

    Raises:
        ConfigurationError: There are none.
        CloudburstError: What `AWS.call` raises.
    """
    vpcs = await aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=_filters(is_default="true"))
    if not vpcs:
        msg = (
            f"{aws.region} has no default VPC: name subnets in AWS_SUBNET_ID, "
            "or make one: aws ec2 create-default-vpc"
        )
        raise ConfigurationError(msg)
    vpc = vpcs[0]["VpcId"]
    found = await aws.pages("ec2", "describe_subnets", "Subnets", Filters=_filters(vpc_id=vpc))
    subnets = await _with_ways(aws, found)
    chosen: dict[str, Subnet] = {}
    for subnet in sorted(subnets, key=lambda subnet: (subnet.zone, -subnet.free, subnet.id)):
        if subnet.way is Way.INTERNET:
            chosen.setdefault(subnet.zone, subnet)
    if not chosen:
        msg = f"no subnet of the default VPC {vpc} has a route to an internet gateway"
        raise ConfigurationError(f"{msg}: name subnets in AWS_SUBNET_ID")
    return tuple(chosen.values())


def one_vpc(subnets: Iterable[Subnet]) -> str:
    """Their VPC. Raises `ConfigurationError` for subnets of several: RunTask takes those of one."""
    vpcs = sorted({subnet.vpc for subnet in subnets})
    if len(vpcs) != 1:
        msg = f"AWS_SUBNET_ID names subnets of {' and '.join(vpcs)}; expected those of one VPC"
        raise ConfigurationError(msg)
    return vpcs[0]


def zones(subnets: Iterable[Subnet]) -> str:
    """Their availability zones, in short: ``us-east-1a/b/c``."""
    names = sorted({subnet.zone for subnet in subnets})
    return "/".join([*names[:1], *(name[-1:] for name in names[1:])])


async def cidrs(aws: AWS, vpc: str) -> tuple[str, ...]:
    """The address ranges of a VPC. Raises as `AWS.call` does."""
    answer = await aws.call("ec2", "describe_vpcs", VpcIds=[vpc])
    blocks = answer["Vpcs"][0].get("CidrBlockAssociationSet") or ()
    found = [block["CidrBlock"] for block in blocks] or [answer["Vpcs"][0]["CidrBlock"]]
    return tuple(str(block) for block in found)


async def _with_ways(aws: AWS, found: Sequence[Mapping[str, Any]]) -> list[Subnet]:
    vpcs = sorted({subnet["VpcId"] for subnet in found})
    if not vpcs:
        return []
    filters = [{"Name": "vpc-id", "Values": vpcs}]
    tables = await aws.pages("ec2", "describe_route_tables", "RouteTables", Filters=filters)
    return [
        Subnet(
            id=subnet["SubnetId"],
            vpc=subnet["VpcId"],
            zone=subnet.get("AvailabilityZone", ""),
            way=_way(subnet, tables),
            free=subnet.get("AvailableIpAddressCount", 0),
        )
        for subnet in found
    ]


def _way(subnet: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]) -> Way:
    """By its own route table, else by the main one of its VPC."""
    own = main = None
    for table in tables:
        for link in table.get("Associations") or ():
            if link.get("SubnetId") == subnet["SubnetId"]:
                own = table
            elif link.get("Main") and table["VpcId"] == subnet["VpcId"]:
                main = table
    routes: Sequence[Mapping[str, Any]] = (own or main or {}).get("Routes") or ()
    for route in routes:
        if route.get("DestinationCidrBlock") == EVERYWHERE and route.get("State") != "blackhole":
            if str(route.get("GatewayId", "")).startswith("igw-"):
                return Way.INTERNET
            if route.get("NatGatewayId"):
                return Way.NAT
            if route.get("GatewayId") or any(route.get(name) for name in _OTHER_WAYS):
                return Way.OTHER
    return Way.NONE


def _filters(**wanted: str) -> list[dict[str, Any]]:
    return [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in wanted.items()]
