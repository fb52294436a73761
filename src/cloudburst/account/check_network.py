"""Checks of where tasks run, and whether they reach what they need and are reached."""

from __future__ import annotations

from collections.abc import Sequence

from cloudburst.account.check_tasks import registry_of
from cloudburst.account.diagnosis import INIT, Check, Look, failure, ok, warning
from cloudburst.account.doors import Door, SecurityGroup, describe_groups, find_group
from cloudburst.account.network import Subnet, Way, describe_subnets, one_vpc, zones
from cloudburst.adapters.aws.definition import PORT, definition_of
from cloudburst.errors import CloudburstError, ConfigurationError, ResourceMissingError

ENDPOINTS = ("ecr.api", "ecr.dkr", "logs", "s3")
"""What a task without a way out needs in its VPC: "Amazon ECR interface VPC endpoints", ECR user
guide (2026-11)."""
NO_SUBNET = "AWS_SUBNET_ID is not set: scenes are rendered on this machine"


async def subnets(look: Look) -> Sequence[Check]:
    """Whether they are there, lead where they must, and have room."""
    if not look.settings.subnets:
        return [failure("subnets", NO_SUBNET)]
    try:
        found = await describe_subnets(look.aws, look.settings.subnets)
        one_vpc(found)
    except (ConfigurationError, ResourceMissingError) as exc:
        return [failure("subnets", str(exc), "correct AWS_SUBNET_ID; without it, init finds some")]
    public = look.settings.public_address
    way = _ways_in_public(found) if public else await _ways_in_private(look, found)
    return [way, *_room(look, found)]


def _ways_in_public(found: Sequence[Subnet]) -> Check:
    if astray := [subnet for subnet in found if subnet.way is not Way.INTERNET]:
        told = _told(astray)
        mend = (
            "name subnets with a route to an internet gateway; or, for clients in the VPC, "
            "CLOUDBURST_PUBLIC_ADDRESS=false"
        )
        return failure("subnets", f"{told}: public addresses there are reached by nobody", mend)
    return ok("subnets", f"{_zones(found)} lead to an internet gateway")


async def _ways_in_private(look: Look, found: Sequence[Subnet]) -> Check:
    shut = [subnet for subnet in found if subnet.way not in {Way.NAT, Way.OTHER}]
    if not shut:
        return ok("subnets", f"{_zones(found)}, private, with a way out")
    told = f"{_told(shut)}: a task without public address gets out by a NAT gateway or endpoints"
    filters = [{"Name": "vpc-id", "Values": [shut[0].vpc]}]
    endpoints = await look.aws.pages(
        "ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=filters
    )
    names = {one["ServiceName"] for one in endpoints}
    prefix = f"com.amazonaws.{look.aws.region}."
    missing = [name for name in ENDPOINTS if not any(n.endswith(prefix + name) for n in names)]
    if missing:
        mend = "make a NAT gateway, or the VPC endpoints of " + ", ".join(missing)
        return failure("subnets", told, mend)
    if ".dkr.ecr." not in (host := registry_of(await _image(look))):
        mend = "make a NAT gateway, or copy the image to ECR"
        return failure("subnets", f"{told}, and endpoints do not lead to {host}", mend)
    return ok("subnets", f"{_zones(found)}, private, with endpoints of {', '.join(ENDPOINTS)}")


async def _image(look: Look) -> str:
    try:
        described = await look.definition()
        return definition_of(described, protocol=look.settings.protocol).image
    except CloudburstError:
        return look.settings.image


def _room(look: Look, found: Sequence[Subnet]) -> list[Check]:
    free = sum(subnet.free for subnet in found)
    if free >= look.tasks:
        return []
    told = f"{free} addresses are free in these subnets, {look.tasks} tasks were asked"
    return [warning("room", told, "name more subnets in AWS_SUBNET_ID")]


async def security_groups(look: Look) -> Sequence[Check]:
    """Whether this machine reaches workers, and who else does."""
    settings = look.settings
    if not settings.subnets:
        return []  # told of the subnets
    try:
        vpc = one_vpc(await describe_subnets(look.aws, settings.subnets))
    except (ConfigurationError, ResourceMissingError):
        return []
    port = await _port(look)
    try:
        groups = await _groups(look, vpc, port)
    except ResourceMissingError as exc:
        mend = "take AWS_SECURITY_GROUP_ID out of .env, then cloudburst init"
        return [failure("security group", str(exc), mend)]
    if strange := [group.id for group in groups if group.vpc != vpc]:
        told = f"{', '.join(strange)} are not in {vpc}, the subnets' VPC"
        return [failure("security group", told, "correct AWS_SECURITY_GROUP_ID")]
    return [await _reach(look, vpc, groups, port)]


async def _groups(look: Look, vpc: str, port: int) -> Sequence[SecurityGroup]:
    if look.settings.security_groups:
        return await describe_groups(look.aws, look.settings.security_groups, port=port)
    default = await find_group(look.aws, vpc, "default", port=port)
    return [] if default is None else [default]


async def _port(look: Look) -> int:
    try:
        return definition_of(await look.definition(), protocol=look.settings.protocol).port
    except CloudburstError:
        return PORT


async def _reach(look: Look, vpc: str, groups: Sequence[SecurityGroup], port: int) -> Check:
    name, ids = "security group", ", ".join(group.id for group in groups)
    doors = [door for group in groups for door in group.doors]
    if any(group.world for group in groups):
        told = f"{ids}: port {port} is open to the world; only keys keep others out"
        return warning(name, told, "cloudburst init opens it to this machine alone")
    if not doors:
        return failure(name, f"{ids or 'none'}: port {port} is open to nobody")
    try:
        here = await look.address(vpc)
    except ConfigurationError as exc:
        told = f"{ids}: port {port} is open to {_sources(doors)}; whether to us is not known: {exc}"
        return warning(name, told)
    if any(door.admits(here) for door in doors):
        return ok(name, f"{ids}: port {port} is open to {here}, this machine")
    if any(door.source.startswith(("sg-", "pl-")) for door in doors):
        told = f"{ids}: port {port} is open to {_sources(doors)}; whether to us is not known"
        return warning(name, told)
    told = f"{ids}: port {port} is open to {_sources(doors)}, and not to {here}, this machine"
    mend = (
        f"{INIT}, or: aws ec2 authorize-security-group-ingress --region {look.aws.region} "
        f"--group-id {groups[0].id} --protocol tcp --port {port} --cidr {here}/32"
    )
    return failure(name, told, mend)


def _sources(doors: Sequence[Door]) -> str:
    return ", ".join(dict.fromkeys(door.source for door in doors))


def _told(found: Sequence[Subnet]) -> str:
    """Where they lead, by ways."""
    by_way: dict[Way, list[str]] = {}
    for subnet in found:
        by_way.setdefault(subnet.way, []).append(subnet.id)
    return "; ".join(
        f"{ids[0]} leads to {way}" if len(ids) == 1 else f"{', '.join(ids)} lead to {way}"
        for way, ids in by_way.items()
    )


def _zones(found: Sequence[Subnet]) -> str:
    return f"{len(found)} in {zones(found)}"
