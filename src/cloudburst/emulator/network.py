"""Network of a task: its subnet, the networks it can reach, and whether the client reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.ec2 import DEFAULT_GROUP_ID, EC2, Item, is_port_open
from cloudburst.emulator.errors import ApiError, invalid_parameter
from cloudburst.emulator.launch_spec import TaskNetwork
from cloudburst.emulator.moto import MotoServer


async def resolve_network(
    config: EmulatorConfig, parameters: Mapping[str, Any], ec2: EC2, moto: MotoServer | None
) -> TaskNetwork:
    """Return the network of the tasks of a RunTask request, in one of its subnets."""

    async def describe(operation: str, parameter: str, idents: Sequence[str]) -> list[Item]:
        query = {f"{parameter}.{number}": ident for number, ident in enumerate(idents, 1)}
        if moto and moto.running:
            return await moto.describe(operation, query)
        [found] = ec2.operations[operation](query).values()
        return list(found)

    configuration: Item = parameters.get("networkConfiguration") or {}
    network: Item = configuration.get("awsvpcConfiguration") or {}
    if not network:
        raise invalid_parameter(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified."
        )
    if not network.get("subnets"):
        raise invalid_parameter("subnets can not be empty.")
    subnets: list[str] = network["subnets"]
    groups: list[str] = network.get("securityGroups") or [DEFAULT_GROUP_ID]
    public = network.get("assignPublicIp") == "ENABLED"
    chosen = ec2.chance.choice(subnets)
    try:
        found = await describe("DescribeSubnets", "SubnetId", subnets)
    except ApiError as error:
        raise _missing("subnet", "subnet ID", subnets[0], "InvalidSubnetID") from error
    try:
        rules = await describe("DescribeSecurityGroups", "GroupId", groups)
    except ApiError as error:
        raise _missing("security group", "security group", groups[0], "InvalidGroup") from error
    [subnet] = [one for one in found if one["subnetId"] == chosen]
    tables = await describe("DescribeRouteTables", "RouteTableId", ())
    zone = subnet["availabilityZone"]
    blocked = public and zone[-1] in config.block_public_access
    return TaskNetwork(
        subnet=chosen,
        zone=zone,
        zone_id=subnet["availabilityZoneId"],
        groups=groups,
        public=public,
        internet=_reaches_internet(tables, subnet, public=public),
        port_open=is_port_open(rules, config) and not blocked,
    )


def _reaches_internet(tables: Sequence[Item], subnet: Item, *, public: bool) -> bool:
    tables = [table for table in tables if table["vpcId"] == subnet["vpcId"]]
    own = [table for table in tables if _has(table, "subnetId", subnet["subnetId"])]
    routes = [
        route
        for table in own or [table for table in tables if _has(table, "main", "true")]
        for route in table["routeSet"]
        if route.get("destinationCidrBlock") == "0.0.0.0/0"
    ]
    return any(
        public if str(route.get("gatewayId", "")).startswith("igw-") else not route.get("gatewayId")
        for route in routes
    )


def _has(table: Item, name: str, value: str) -> bool:
    return any(str(one.get(name, "")).lower() == value for one in table["associationSet"])


def _missing(kind: str, name: str, ident: str, code: str) -> ApiError:
    return invalid_parameter(
        f"Error retrieving {kind} information for [{ident}]: The {name} '{ident}' does not exist "
        f"(ErrorCode: {code}.NotFound)"
    )
