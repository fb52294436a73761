"""Where a task shall be put, and whether anybody reaches it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.ec2 import DEFAULT_GROUP, EC2, reachable_groups
from cloudburst.testing.emulator.launching import Subnets
from cloudburst.testing.emulator.moto import Moto, rules_of, text_of
from cloudburst.testing.emulator.refusal import RefusedError, invalid


async def look_at_network(
    config: EmulatorConfig, network: Mapping[str, Any], ec2: EC2, moto: Moto | None
) -> Subnets:
    """What EC2 says of an ``awsvpcConfiguration``.

    Raises `RefusedError` when a subnet or a security group does not exist.
    """
    subnets = list(network["subnets"])
    groups = list(network.get("securityGroups") or ()) or [DEFAULT_GROUP]
    if moto and moto.running:
        found = await moto.describe("DescribeSubnets", "SubnetId", subnets)
        known = await moto.describe("DescribeSecurityGroups", "GroupId", groups)
        if found is None:
            raise _no_subnet(subnets[0])
        if known is None:
            raise _no_group(groups[0])
        zones = [zone for item in found if (zone := text_of(item, "availabilityZone"))]
        return Subnets(zone=zones[0], reachable=reachable_groups(rules_of(known), config.port))
    by_subnet = {item["subnetId"]: item for item in ec2.subnets()}
    by_group = {item["groupId"]: item for item in ec2.groups()}
    for ident in subnets:
        if ident not in by_subnet:
            raise _no_subnet(ident)
    for ident in groups:
        if ident not in by_group:
            raise _no_group(ident)
    return Subnets(
        zone=by_subnet[subnets[0]]["availabilityZone"],
        reachable=reachable_groups([by_group[ident] for ident in groups], config.port),
    )


def _no_subnet(ident: str) -> RefusedError:
    return invalid(
        f"Error retrieving subnet information for [{ident}]: The subnet ID '{ident}' does not "
        "exist (ErrorCode: InvalidSubnetID.NotFound)"
    )


def _no_group(ident: str) -> RefusedError:
    return invalid(
        f"Error retrieving security group information for [{ident}]: The security group '{ident}' "
        "does not exist (ErrorCode: InvalidGroup.NotFound)"
    )
