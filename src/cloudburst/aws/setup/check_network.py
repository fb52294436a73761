"""Checks of the network of tasks: subnets, zones and security groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cloudburst.aws.fargate.ec2 import ELSEWHERE, filters, find_obstacles
from cloudburst.aws.fargate.ingress_rules import IngressRule
from cloudburst.aws.fargate.task_definition import SERVICE_PORT
from cloudburst.aws.setup.checks import INIT, Check, CheckContext, failed, passed, warning
from cloudburst.aws.setup.ecr import repository_of
from cloudburst.aws.setup.network import (
    DefaultRoute,
    Subnet,
    describe_subnets,
    find_client_address,
    single_vpc,
    zone_names,
)
from cloudburst.aws.setup.security_groups import (
    SecurityGroup,
    describe_security_groups,
    find_security_group,
)
from cloudburst.errors import ConfigurationError, ResourceMissingError
from cloudburst.models.settings import OWN_IMAGE
from cloudburst.net.registry.names import ImageReference

# VPC endpoints that a task without a route to the internet needs: "Amazon ECR interface VPC
# endpoints", ECR user guide (2026-11).
ENDPOINTS = ("ecr.api", "ecr.dkr", "logs", "s3")
NO_SUBNET = "AWS_SUBNET_ID is not set: scenes are rendered on this machine"


async def check_subnets(context: CheckContext) -> Sequence[Check]:
    """Check that the subnets exist and have the right routes, zones and unused addresses."""
    if not context.settings.subnets:
        return [failed("subnets", NO_SUBNET)]
    try:
        found = await describe_subnets(context.aws, context.settings.subnets)
        single_vpc(found)
    except (ConfigurationError, ResourceMissingError) as exc:
        fix = "correct AWS_SUBNET_ID, or remove it and run: cloudburst init"
        return [failed("subnets", str(exc), fix)]
    if context.settings.public_address:
        routes = _check_public_routes(found)
    else:
        routes = await _check_private_routes(context, found)
    return [routes, *await _check_placement(context, found), *_check_free_addresses(context, found)]


async def _check_placement(context: CheckContext, found: Sequence[Subnet]) -> list[Check]:
    described, region = [subnet.described for subnet in found], context.aws.region
    definition = await context.definition()
    architecture = definition.architecture if definition else "X86_64"
    obstacles = find_obstacles(
        described, context.settings, region=region, architecture=architecture
    )
    elsewhere = [
        one for (_, fix), idents in obstacles.items() if fix == ELSEWHERE for one in idents
    ]
    report = failed if len(elsewhere) == len(found) else warning
    return [
        report("placement", f"{', '.join(idents)}: {reason}", fix)
        for (reason, fix), idents in obstacles.items()
    ]


def _check_public_routes(found: Sequence[Subnet]) -> Check:
    unreachable = [
        subnet for subnet in found if subnet.default_route is not DefaultRoute.INTERNET_GATEWAY
    ]
    if unreachable:
        text = f"{_route_text(unreachable)}: public addresses there cannot be reached"
        fix = (
            "name subnets with a route to an internet gateway; or, for clients inside the VPC, set "
            "CLOUDBURST_PUBLIC_ADDRESS=false"
        )
        return failed("subnets", text, fix)
    return passed("subnets", f"{_subnet_count(found)}, with a route to an internet gateway")


async def _check_private_routes(context: CheckContext, found: Sequence[Subnet]) -> Check:
    outbound = {DefaultRoute.NAT_GATEWAY, DefaultRoute.OTHER_NETWORK}
    without = [subnet for subnet in found if subnet.default_route not in outbound]
    if not without:
        return passed("subnets", f"{_subnet_count(found)}, private, with a route out of the VPC")
    text = f"{_route_text(without)}: tasks without a public address need a NAT gateway or endpoints"
    missing = await _missing_endpoints(context, without[0].vpc)
    if missing:
        fix = "create a NAT gateway, or the VPC endpoints of " + ", ".join(missing)
        return failed("subnets", text, fix)
    definition = await context.definition()
    image = definition.image if definition else context.settings.image
    repository = repository_of(image)
    if image != OWN_IMAGE and (repository is None or repository.region != context.aws.region):
        registry = ImageReference.split(image).registry
        fix = (
            "create a NAT gateway, or use our own image, which is in ECR of this region: "
            f"DOCKER_IMAGE={OWN_IMAGE}, then {INIT}"
        )
        return failed("subnets", f"{text}; endpoints do not reach {registry}", fix)
    endpoints = ", ".join(ENDPOINTS)
    return passed("subnets", f"{_subnet_count(found)}, private, with endpoints of {endpoints}")


async def _missing_endpoints(context: CheckContext, vpc: str) -> list[str]:
    endpoints = await context.aws.collect_pages(
        "ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=filters(vpc_id=[vpc])
    )
    services = {one["ServiceName"] for one in endpoints}
    prefix = f"com.amazonaws.{context.aws.region}."
    return [
        name
        for name in ENDPOINTS
        if not any(service.endswith(prefix + name) for service in services)
    ]


def _check_free_addresses(context: CheckContext, found: Sequence[Subnet]) -> list[Check]:
    free = sum(subnet.free_addresses for subnet in found)
    if free >= context.tasks:
        return []
    text = f"{free} addresses are free in these subnets, {context.tasks} tasks need one each"
    return [warning("free addresses", text, "name more subnets in AWS_SUBNET_ID")]


async def check_security_groups(context: CheckContext) -> Sequence[Check]:
    """Check that the port of workers is open to this machine but not to every address."""
    settings = context.settings
    if not settings.subnets:
        return []  # reported by the check of the subnets
    try:
        vpc = single_vpc(await describe_subnets(context.aws, settings.subnets))
    except (ConfigurationError, ResourceMissingError):
        return []
    definition = await context.definition()
    port = definition.port if definition else SERVICE_PORT
    try:
        groups = await _groups(context, vpc, port)
    except ResourceMissingError as exc:
        fix = "remove AWS_SECURITY_GROUP_ID from .env, then run: cloudburst init"
        return [failed("security group", str(exc), fix)]
    if other_vpc := [group.id for group in groups if group.vpc != vpc]:
        text = f"{', '.join(other_vpc)} are not in {vpc}, the VPC of the subnets"
        return [failed("security group", text, "correct AWS_SECURITY_GROUP_ID")]
    return [await _check_access(context, vpc, groups, port)]


async def _groups(context: CheckContext, vpc: str, port: int) -> Sequence[SecurityGroup]:
    if context.settings.security_groups:
        groups = context.settings.security_groups
        return await describe_security_groups(context.aws, groups, port=port)
    default = await find_security_group(context.aws, vpc, "default", port=port)
    return [] if default is None else [default]


async def _check_access(
    context: CheckContext, vpc: str, groups: Sequence[SecurityGroup], port: int
) -> Check:
    name, ids = "security group", ", ".join(group.id for group in groups)
    rules = [rule for group in groups for rule in group.rules]
    if any(rule.open_to_world for rule in rules):
        text = f"{ids}: port {port} is open to the world; only keys protect workers"
        return warning(name, text, _closing_commands(groups, context.aws.region))
    if not rules:
        return failed(name, f"{ids or 'no group'}: port {port} is closed")
    text = f"{ids}: port {port} is open to {_sources(rules)}"
    try:
        address = await find_client_address(
            context.aws, context.settings, vpc, context.find_address
        )
    except ConfigurationError as exc:
        return warning(name, f"{text}; access from this machine is not checked: {exc}")
    if any(rule.allows(address) for rule in rules):
        return passed(name, f"{ids}: port {port} is open to {address}, this machine")
    if any(rule.source.startswith(("sg-", "pl-")) for rule in rules):
        return warning(name, f"{text}; access from this machine is not checked")
    fix = (
        f"{INIT}, or: aws ec2 authorize-security-group-ingress --region {context.aws.region} "
        f"--group-id {groups[0].id} --protocol tcp --port {port} --cidr {address}/32"
    )
    return failed(name, f"{text}, and not to {address}, this machine", fix)


def _closing_commands(groups: Sequence[SecurityGroup], region: str) -> str:
    # ``cloudburst init`` removes only its own rules from its own group.
    commands = [
        rule.removal_command(group.id, region)
        for group in groups
        for rule in group.rules
        if rule.open_to_world and not (group.created_by_init and rule.created_by_init)
    ]
    if not commands:
        return f"{INIT} opens it to this machine only"
    return "; ".join([*commands, INIT])


def _sources(rules: Iterable[IngressRule]) -> str:
    return ", ".join(dict.fromkeys(rule.source for rule in rules))


def _route_text(found: Iterable[Subnet]) -> str:
    by_route: dict[DefaultRoute, list[str]] = {}
    for subnet in found:
        by_route.setdefault(subnet.default_route, []).append(subnet.id)
    return "; ".join(
        f"{', '.join(ids)} {'routes' if len(ids) == 1 else 'route'} to {route}"
        for route, ids in by_route.items()
    )


def _subnet_count(found: Sequence[Subnet]) -> str:
    return f"{len(found)} in {zone_names(found)}"
