"""Network of an account: subnets with their routes and zones, and the address of this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.public_ip import (
    EMULATOR_CLIENT,
    is_emulated,
    private_address,
    public_address,
)
from cloudburst.aws.fargate.ec2 import filters, has_fargate
from cloudburst.aws.fargate.ingress_rules import ANY_IPV4
from cloudburst.errors import ConfigurationError, ResourceMissingError
from cloudburst.models.settings import Settings


class DefaultRoute(StrEnum):
    """Target of a subnet's default route."""

    INTERNET_GATEWAY = "an internet gateway"
    """Tasks with a public address reach the internet and can be reached from it."""
    NAT_GATEWAY = "a NAT gateway"
    """Tasks reach the internet and cannot be reached from it."""
    OTHER_NETWORK = "another network"
    """The route leads to another network, for example through a transit gateway or a firewall. That
    network decides what tasks can reach."""
    NONE = "nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A subnet, with its zone, default route and number of unused addresses."""

    id: str
    vpc: str
    """Id of the VPC."""
    zone: str
    """Name of the availability zone in this account."""
    default_route: DefaultRoute
    free_addresses: int
    """Number of unused IPv4 addresses. Each task needs one address."""
    described: Mapping[str, Any]
    """Description by EC2."""


async def describe_subnets(aws: AWSClient, ids: Sequence[str]) -> tuple[Subnet, ...]:
    """Return the subnets with these ids, in the same order.

    Raises:
        ResourceMissingError: A subnet does not exist in this account and region.
    """
    found = await aws.collect_pages("ec2", "describe_subnets", "Subnets", SubnetIds=list(ids))
    by_id = {subnet.id: subnet for subnet in await _with_default_routes(aws, found)}
    if missing := [name for name in ids if name not in by_id]:
        raise ResourceMissingError(f"subnets {', '.join(missing)} do not exist in {aws.region}")
    return tuple(by_id[name] for name in ids)


async def default_subnets(aws: AWSClient, *, architecture: str = "X86_64") -> tuple[Subnet, ...]:
    """Return, for each zone, one subnet of the default VPC with a route to an internet gateway.

    Zones in which Fargate does not run tasks of the architecture are left out. If a zone has
    several suitable subnets, the one with the most unused addresses is returned.

    Raises:
        ConfigurationError: There is no default VPC, or it has no suitable subnet.
    """
    default = filters(is_default=["true"])
    vpcs = await aws.collect_pages("ec2", "describe_vpcs", "Vpcs", Filters=default)
    if not vpcs:
        msg = (
            f"{aws.region} has no default VPC: name subnets in AWS_SUBNET_ID, "
            "or create one: aws ec2 create-default-vpc"
        )
        raise ConfigurationError(msg)
    vpc = vpcs[0]["VpcId"]
    inside = filters(vpc_id=[vpc])
    found = await aws.collect_pages("ec2", "describe_subnets", "Subnets", Filters=inside)
    subnets = await _with_default_routes(aws, found)
    chosen: dict[str, Subnet] = {}
    for subnet in sorted(subnets, key=lambda one: (one.zone, -one.free_addresses, one.id)):
        zone_id = str(subnet.described.get("AvailabilityZoneId", ""))
        runs = has_fargate(aws.region, zone_id, architecture)
        if subnet.default_route is DefaultRoute.INTERNET_GATEWAY and runs:
            chosen.setdefault(subnet.zone, subnet)
    if not chosen:
        msg = f"no subnet of the default VPC {vpc} has Fargate and a route to an internet gateway"
        raise ConfigurationError(f"{msg}: name subnets in AWS_SUBNET_ID")
    return tuple(chosen.values())


def single_vpc(subnets: Iterable[Subnet]) -> str:
    """Return the id of the VPC of all subnets.

    Raises:
        ConfigurationError: The subnets are in several VPCs, which RunTask does not accept.
    """
    vpcs = sorted({subnet.vpc for subnet in subnets})
    if len(vpcs) != 1:
        msg = f"AWS_SUBNET_ID names subnets of {' and '.join(vpcs)}; expected subnets of one VPC"
        raise ConfigurationError(msg)
    return vpcs[0]


def zone_names(subnets: Iterable[Subnet]) -> str:
    """Return the availability zones of the subnets in short: ``us-east-1a/b/c``."""
    names = sorted({subnet.zone for subnet in subnets})
    return "/".join([*names[:1], *(name[-1:] for name in names[1:])])


async def vpc_cidrs(aws: AWSClient, vpc: str) -> tuple[str, ...]:
    """Return the IPv4 address ranges of a VPC. Raises the errors of `AWSClient.call`."""
    response = await aws.call("ec2", "describe_vpcs", VpcIds=[vpc])
    described = response["Vpcs"][0]
    blocks = described.get("CidrBlockAssociationSet") or ()
    found = [block["CidrBlock"] for block in blocks] or [described["CidrBlock"]]
    return tuple(str(block) for block in found)


async def _with_default_routes(aws: AWSClient, found: Sequence[Mapping[str, Any]]) -> list[Subnet]:
    vpcs = sorted({subnet["VpcId"] for subnet in found})
    if not vpcs:
        return []
    inside = filters(vpc_id=vpcs)
    tables = await aws.collect_pages("ec2", "describe_route_tables", "RouteTables", Filters=inside)
    return [
        Subnet(
            id=subnet["SubnetId"],
            vpc=subnet["VpcId"],
            zone=subnet.get("AvailabilityZone", ""),
            default_route=_default_route(_route_table(subnet, tables)),
            free_addresses=subnet.get("AvailableIpAddressCount", 0),
            described=subnet,
        )
        for subnet in found
    ]


def _route_table(
    subnet: Mapping[str, Any], tables: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    main: Mapping[str, Any] = {}
    for table in tables:
        for association in table.get("Associations") or ():
            if association.get("SubnetId") == subnet["SubnetId"]:
                return table
            if association.get("Main") and table["VpcId"] == subnet["VpcId"]:
                main = table
    return main


def _default_route(table: Mapping[str, Any]) -> DefaultRoute:
    for route in table.get("Routes") or ():
        if route.get("DestinationCidrBlock") == ANY_IPV4 and route.get("State") != "blackhole":
            if str(route.get("GatewayId")).startswith("igw-"):
                return DefaultRoute.INTERNET_GATEWAY
            by_nat = bool(route.get("NatGatewayId"))
            return DefaultRoute.NAT_GATEWAY if by_nat else DefaultRoute.OTHER_NETWORK
    return DefaultRoute.NONE


async def find_client_address(
    aws: AWSClient,
    settings: Settings,
    vpc: str,
    find_address: Callable[[], Awaitable[str]] | None = None,
) -> str:
    """Return the IPv4 address of this machine, as workers see it.

    Raises:
        ConfigurationError: The address cannot be found.
    """
    if find_address is not None:
        return await find_address()
    if is_emulated(settings):
        return EMULATOR_CLIENT
    if settings.public_address:
        return await public_address()
    return await private_address(await vpc_cidrs(aws, vpc))
