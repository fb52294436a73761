"""Security groups: which sources reach the port of workers, and how ``init`` changes that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.fargate.ec2 import filters
from cloudburst.aws.fargate.ingress_rules import (
    RULE_DESCRIPTION,
    IngressRule,
    parse_ingress_rules,
)
from cloudburst.aws.fargate.task_definition import SERVICE_PORT
from cloudburst.aws.setup.changes import Change, Resource
from cloudburst.aws.setup.resource_definitions import (
    SECURITY_GROUP_NAME,
    Tags,
    has_our_tags,
    tag_list,
)
from cloudburst.errors import ResourceMissingError


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group and its rules for the port of workers."""

    id: str
    vpc: str
    """Id of the VPC."""
    tags: Tags
    rules: tuple[IngressRule, ...]

    @property
    def created_by_init(self) -> bool:
        """True if the group carries the tags with which ``cloudburst init`` marks its resources."""
        return has_our_tags(self.tags)


async def describe_security_groups(
    aws: AWSClient, ids: Sequence[str], *, port: int = SERVICE_PORT
) -> tuple[SecurityGroup, ...]:
    """Return security groups with their rules for a port.

    Raises:
        ResourceMissingError: A group does not exist.
    """
    found = await aws.collect_pages(
        "ec2", "describe_security_groups", "SecurityGroups", GroupIds=list(ids)
    )
    return tuple(_parse_group(group, port) for group in found)


async def existing_security_groups(aws: AWSClient, ids: Sequence[str]) -> list[SecurityGroup]:
    """Return those of some security groups that exist."""
    found: list[SecurityGroup] = []
    for ident in ids:
        with suppress(ResourceMissingError):
            found += await describe_security_groups(aws, [ident])
    return found


async def find_security_group(
    aws: AWSClient, vpc: str, name: str = SECURITY_GROUP_NAME, *, port: int = SERVICE_PORT
) -> SecurityGroup | None:
    """Return the security group of a VPC that has the given name; ``None`` if there is none.

    The name of a security group is unique in its VPC. Raises the errors of `AWSClient.call`.
    """
    named = filters(vpc_id=[vpc], group_name=[name])
    found = await aws.collect_pages(
        "ec2", "describe_security_groups", "SecurityGroups", Filters=named
    )
    return _parse_group(found[0], port) if found else None


def _parse_group(group: Mapping[str, Any], port: int) -> SecurityGroup:
    return SecurityGroup(
        id=group["GroupId"],
        vpc=group.get("VpcId", ""),
        tags=group.get("Tags") or (),
        rules=parse_ingress_rules(group, port),
    )


def group_resource(
    group: SecurityGroup | None,
    region: str,
    *,
    vpc: str = "",
    sources: Sequence[str] = (),
    keep: bool = False,
) -> Resource:
    """Return a security group with the calls that let sources in at the port of workers.

    Unless they are to be kept, rules that ``init`` created for other sources are removed from a
    group that ``init`` created.
    """
    opened = f"port {SERVICE_PORT} open to {', '.join(sources)}"
    if group is None:
        parameters = {
            "GroupName": SECURITY_GROUP_NAME,
            "Description": "CloudBurst workers",
            "VpcId": vpc,
            "TagSpecifications": [
                {"ResourceType": "security-group", "Tags": tag_list(key="Key", value="Value")}
            ],
        }
        create = Change("ec2", "create_security_group", parameters, opened)
        return Resource(
            kind="security group", name=SECURITY_GROUP_NAME, exists=False, missing=[create]
        )
    removable = group.created_by_init and not keep
    stale = [
        rule
        for rule in group.rules
        if removable and rule.created_by_init and rule.source not in sources
    ]
    remaining = [rule for rule in group.rules if rule not in stale]
    lacking = [one for one in sources if not any(rule.covers(one) for rule in remaining)]
    missing: list[Change] = []
    kept = open_rules_text(group, region, remaining, sources)
    if lacking and group.created_by_init:
        ranges = [{"CidrIp": source, "Description": RULE_DESCRIPTION} for source in lacking]
        detail = f"opened to {', '.join(lacking)}"
        missing.append(_rules_change("authorize_security_group_ingress", group.id, ranges, detail))
    elif lacking:
        detail = f"port {SERVICE_PORT} is not open to {', '.join(lacking)}"
        kept = "; ".join(filter(None, [f"{detail}, and init did not create this group", kept]))
    if stale:
        # Without descriptions: AWS compares protocol, ports and source only.
        ranges = [{"CidrIp": rule.source} for rule in stale]
        detail = f"closed to {', '.join(rule.source for rule in stale)}"
        missing.append(_rules_change("revoke_security_group_ingress", group.id, ranges, detail))
    return Resource(
        kind="security group",
        name=group.id,
        exists=True,
        tags=group.tags,
        missing=missing,
        removal=[Change("ec2", "delete_security_group", {"GroupId": group.id})],
        note=opened if sources else "",
        kept=kept,
    )


def _rules_change(
    operation: str, group: str, ranges: Sequence[Mapping[str, str]], detail: str
) -> Change:
    rule = {"FromPort": SERVICE_PORT, "ToPort": SERVICE_PORT, "IpRanges": list(ranges)}
    parameters = {"GroupId": group, "IpPermissions": [{"IpProtocol": "tcp", **rule}]}
    return Change("ec2", operation, parameters, f"port {SERVICE_PORT} {detail}")


def open_rules_text(
    group: SecurityGroup, region: str, rules: Iterable[IngressRule], sources: Sequence[str]
) -> str:
    """Return a text about those of a group's rules that let every address in unasked; or none."""
    texts: list[str] = []
    for rule in rules:
        if rule.open_to_world and rule.source not in sources:
            by_init = group.created_by_init and rule.created_by_init
            reason = "kept by --add" if by_init else "not created by init"
            command = rule.removal_command(group.id, region)
            text = f"still open to the world ({rule.source}, {reason}); remove it with: {command}"
            texts.append(text)
    return "; ".join(texts)
