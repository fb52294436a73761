"""Security groups: from where a worker's port is reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.account.blueprint import GROUP, RULE, is_ours_by_tags
from cloudburst.adapters.aws.definition import PORT
from cloudburst.adapters.aws.session import AWS

WORLD = "0.0.0.0/0"
_TCP = frozenset({"tcp", "6", "-1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One source that an ingress rule lets in at the worker's port."""

    source: str
    """A CIDR, or the id of a security group or prefix list."""
    ours: bool = False
    """Whether ``cloudburst init`` made it, for this port alone."""

    def admits(self, address: str) -> bool:
        """Whether it is open to an IPv4 address; false where only AWS could tell."""
        try:
            network = ipaddress.ip_network(self.source, strict=False)
        except ValueError:
            return False
        return ipaddress.ip_address(address) in network

    def covers(self, source: str) -> bool:
        """Whether all of this IPv4 CIDR is let in; false where only AWS could tell."""
        try:
            network = ipaddress.IPv4Network(self.source, strict=False)
            return ipaddress.IPv4Network(source, strict=False).subnet_of(network)
        except ValueError:
            return self.source == source


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group as far as it matters here."""

    id: str
    name: str
    vpc: str
    ours: bool
    """Whether it carries our tags."""
    doors: tuple[Door, ...]

    @property
    def world(self) -> bool:
        """Whether everybody is let in."""
        return any(door.source == WORLD for door in self.doors)


async def describe_groups(
    aws: AWS, ids: Sequence[str], *, port: int = PORT
) -> tuple[SecurityGroup, ...]:
    """These groups, and who is let in at a port.

    Raises:
        ResourceMissingError: One of them is not there.
        CloudburstError: What `AWS.call` raises.
    """
    found = await aws.pages("ec2", "describe_security_groups", "SecurityGroups", GroupIds=list(ids))
    return tuple(_group(group, port) for group in found)


async def find_group(
    aws: AWS, vpc: str, name: str = GROUP, *, port: int = PORT
) -> SecurityGroup | None:
    """The group of that name in a VPC, where names are unique. Raises as `AWS.call` does."""
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [name]}]
    found = await aws.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=filters)
    return _group(found[0], port) if found else None


def rule(sources: Iterable[str]) -> dict[str, Any]:
    """An ``IpPermissions`` entry that lets these in at the worker's port."""
    ranges = [{"CidrIp": source, "Description": RULE} for source in sources]
    return {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "IpRanges": ranges}


def _group(group: Mapping[str, Any], port: int) -> SecurityGroup:
    rules = group.get("IpPermissions") or ()
    return SecurityGroup(
        id=group["GroupId"],
        name=group.get("GroupName", ""),
        vpc=group.get("VpcId", ""),
        ours=is_ours_by_tags(group.get("Tags") or ()),
        doors=tuple(door for rule in rules for door in _doors(rule, port)),
    )


def _doors(rule: Mapping[str, Any], port: int) -> Iterable[Door]:
    protocol = rule.get("IpProtocol")
    ports = range(rule.get("FromPort", 0), rule.get("ToPort", 65535) + 1)
    if protocol not in _TCP or (protocol != "-1" and port not in ports):
        return
    exact = protocol == "tcp" and len(ports) == 1
    for where in rule.get("IpRanges") or ():
        ours = exact and where.get("Description") == RULE
        yield Door(source=where["CidrIp"], ours=ours)
    for where in rule.get("UserIdGroupPairs") or ():
        yield Door(source=where["GroupId"])
    for where in rule.get("PrefixListIds") or ():
        yield Door(source=where["PrefixListId"])
