"""Network of a task: its subnet, the networks it can reach, and whether the client reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.ec2 import DEFAULT_GROUP_ID, EC2, is_port_open
from cloudburst.emulator.errors import ApiError, invalid_parameter
from cloudburst.emulator.images import NetworkReach
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
    if moto and moto.running:
        found = await moto.describe("DescribeSubnets", "SubnetId", subnets)
        known = await moto.describe("DescribeSecurityGroups", "GroupId", groups)
        if found is None:
            raise _no_subnet(subnets[0])
        if known is None:
            raise _no_group(groups[0])
        chosen = ec2.chance.choice(subnets)
        [item] = [one for one in found if text_of(one, "subnetId") == moto.moto_id(chosen)]
        return TaskNetwork(
            subnet=chosen,
            zone=text_of(item, "availabilityZone"),
            zone_id=text_of(item, "availabilityZoneId"),
            reach=await _reach(moto, item, public=_is_public(network)),
            port_open=is_port_open(rules_of(known), config)
            and not _is_blocked(config, network, text_of(item, "availabilityZone")),
        )
    by_subnet = {item["subnetId"]: item for item in ec2.subnets()}
    by_group = {item["groupId"]: item for item in ec2.groups()}
    for ident in subnets:
        if ident not in by_subnet:
            raise _no_subnet(ident)
    for ident in groups:
        if ident not in by_group:
            raise _no_group(ident)
    chosen = ec2.chance.choice(subnets)
    return TaskNetwork(
        subnet=chosen,
        zone=by_subnet[chosen]["availabilityZone"],
        zone_id=by_subnet[chosen]["availabilityZoneId"],
        reach=NetworkReach(
            internet=config.way_out == "nat"
            or (config.way_out == "internet gateway" and _is_public(network)),
        ),
        port_open=is_port_open([by_group[ident] for ident in groups], config)
        and not _is_blocked(config, network, by_subnet[chosen]["availabilityZone"]),
    )


def _is_public(network: Mapping[str, Any]) -> bool:
    return network.get("assignPublicIp") == "ENABLED"


def _is_blocked(config: EmulatorConfig, network: Mapping[str, Any], zone: str) -> bool:
    return _is_public(network) and zone[-1] in config.block_public_access


async def _reach(moto: MotoServer, subnet: ET.Element, *, public: bool) -> NetworkReach:
    """Return which networks a task in a subnet can reach, given the VPC's routes and endpoints."""
    vpc, ident = text_of(subnet, "vpcId"), text_of(subnet, "subnetId")
    tables = await moto.in_vpc("DescribeRouteTables", vpc)
    own = [table for table in tables if _is_associated(table, "subnetId", ident)]
    own = own or [table for table in tables if _is_associated(table, "main", "true")]
    routes = [route for table in own for route in table.findall("routeSet/item")]
    default_routes = [
        route for route in routes if text_of(route, "destinationCidrBlock") == "0.0.0.0/0"
    ]
    internet = any(
        public
        if text_of(route, "gatewayId").startswith("igw-")
        else not text_of(route, "gatewayId")
        for route in default_routes
    )
    table_ids = {text_of(table, "routeTableId") for table in own}
    endpoints = {
        text_of(found, "serviceName").split(".", 3)[3]
        for found in await moto.in_vpc("DescribeVpcEndpoints", vpc)
        if text_of(found, "vpcEndpointType") != "Gateway"
        or table_ids & {item.text for item in found.findall("routeTableIdSet/item")}
    }
    return NetworkReach(internet=internet, endpoints=endpoints)


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
