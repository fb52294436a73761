"""Network of a task: its subnet, the networks it can reach, and whether the client reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.ec2 import DEFAULT_GROUP_ID, EC2, is_port_open
from cloudburst.emulator.errors import ApiError, invalid_parameter
from cloudburst.emulator.moto import MotoServer, rules_of, text_of
from cloudburst.emulator.run_task import TaskNetwork


async def resolve_network(
    config: EmulatorConfig, network: Mapping[str, Any], ec2: EC2, moto: MotoServer | None
) -> TaskNetwork:
    """Return the network of a task with the given ``awsvpcConfiguration``, in one of its subnets.

    Subnets and security groups are looked up in moto if moto is running, otherwise in ``ec2``.

    Raises:
        ApiError: a subnet or a security group does not exist.
    """
    subnets = list(network["subnets"])
    groups = list(network.get("securityGroups") or ()) or [DEFAULT_GROUP_ID]
    public = network.get("assignPublicIp") == "ENABLED"
    chosen = ec2.chance.choice(subnets)
    if moto and moto.running:
        found = await moto.describe("DescribeSubnets", "SubnetId", subnets)
        known = await moto.describe("DescribeSecurityGroups", "GroupId", groups)
        if found is None:
            raise _no_subnet(subnets[0])
        if known is None:
            raise _no_group(groups[0])
        [item] = [one for one in found if text_of(one, "subnetId") == moto.moto_id(chosen)]
        subnet: Mapping[str, str] = {child.tag: child.text or "" for child in item}
        rules, internet = rules_of(known), await _reaches_internet(moto, item, public=public)
    else:
        by_subnet = {item["subnetId"]: item for item in ec2.subnets()}
        by_group = {item["groupId"]: item for item in ec2.groups()}
        for ident in subnets:
            if ident not in by_subnet:
                raise _no_subnet(ident)
        for ident in groups:
            if ident not in by_group:
                raise _no_group(ident)
        subnet, rules = by_subnet[chosen], [by_group[ident] for ident in groups]
        way_out = config.way_out
        internet = way_out == "nat" or (way_out != "none" and public)
    zone = subnet["availabilityZone"]
    blocked = public and zone[-1] in config.block_public_access
    return TaskNetwork(
        subnet=chosen,
        zone=zone,
        zone_id=subnet["availabilityZoneId"],
        internet=internet,
        port_open=is_port_open(rules, config) and not blocked,
    )


async def _reaches_internet(moto: MotoServer, subnet: ET.Element, *, public: bool) -> bool:
    """Return whether the routes of a subnet lead a task to the internet."""
    vpc, ident = text_of(subnet, "vpcId"), text_of(subnet, "subnetId")
    tables = await moto.in_vpc("DescribeRouteTables", vpc)
    own = [table for table in tables if _is_associated(table, "subnetId", ident)]
    own = own or [table for table in tables if _is_associated(table, "main", "true")]
    routes = [route for table in own for route in table.findall("routeSet/item")]
    default_routes = [
        route for route in routes if text_of(route, "destinationCidrBlock") == "0.0.0.0/0"
    ]
    return any(
        public
        if text_of(route, "gatewayId").startswith("igw-")
        else not text_of(route, "gatewayId")
        for route in default_routes
    )


def _is_associated(table: ET.Element, name: str, value: str) -> bool:
    return any(text_of(one, name) == value for one in table.findall("associationSet/item"))


def _no_subnet(ident: str) -> ApiError:
    return invalid_parameter(
        f"Error retrieving subnet information for [{ident}]: The subnet ID '{ident}' does not "
        "exist (ErrorCode: InvalidSubnetID.NotFound)"
    )


def _no_group(ident: str) -> ApiError:
    return invalid_parameter(
        f"Error retrieving security group information for [{ident}]: The security group '{ident}' "
        "does not exist (ErrorCode: InvalidGroup.NotFound)"
    )
