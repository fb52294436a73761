"""Security groups: which sources reach the port of workers, and how ``init`` changes that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.fargate.ingress_rules import (
    RULE_DESCRIPTION,
    IngressRule,
    parse_ingress_rules,
)
from cloudburst.aws.fargate.task_definition import SERVICE_PORT
from cloudburst.aws.setup.changes import AccountChanges, StepOutcome
from cloudburst.aws.setup.resource_definitions import (
    SECURITY_GROUP_NAME,
    Tags,
    has_our_tags,
    tag_list,
)
from cloudburst.aws.setup.resources import (
    IAM_VISIBLE_TIMEOUT,
    is_unknown_to_iam,
    retry_while_unknown,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group and its rules for the port of workers."""

    id: str
    name: str
    vpc: str
    """Id of the VPC."""
    tags: Tags
    rules: tuple[IngressRule, ...]

    @property
    def created_by_init(self) -> bool:
        """True if the group carries the tags with which ``cloudburst init`` marks its resources."""
        return has_our_tags(self.tags)

    @property
    def open_to_world(self) -> bool:
        """True if a rule lets every address in."""
        return any(rule.open_to_world for rule in self.rules)


async def describe_security_groups(
    aws: AWSClient, ids: Sequence[str], *, port: int = SERVICE_PORT
) -> tuple[SecurityGroup, ...]:
    """Return security groups with their rules for a port.

    Raises:
        ResourceMissingError: A group does not exist.
        CloudburstError: Any error of `AWSClient.call`.
    """
    found = await aws.collect_pages(
        "ec2", "describe_security_groups", "SecurityGroups", GroupIds=list(ids)
    )
    return tuple(_parse_group(group, port) for group in found)


async def find_security_group(
    aws: AWSClient, vpc: str, name: str = SECURITY_GROUP_NAME, *, port: int = SERVICE_PORT
) -> SecurityGroup | None:
    """Return the security group of a VPC that has the given name; ``None`` if there is none.

    The name of a security group is unique in its VPC. Raises the errors of `AWSClient.call`.
    """
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [name]}]
    found = await aws.collect_pages(
        "ec2", "describe_security_groups", "SecurityGroups", Filters=filters
    )
    return _parse_group(found[0], port) if found else None


def _parse_group(group: Mapping[str, Any], port: int) -> SecurityGroup:
    return SecurityGroup(
        id=group["GroupId"],
        name=group.get("GroupName", ""),
        vpc=group.get("VpcId", ""),
        tags=group.get("Tags") or (),
        rules=parse_ingress_rules(group, port),
    )


async def ensure_security_group(
    changes: AccountChanges,
    found: SecurityGroup | None,
    *,
    vpc: str,
    sources: Sequence[str],
    keep: bool,
) -> str:
    """Create or update a security group that lets sources in at the port of workers.

    Args:
        changes: Account in which changes are made and recorded.
        found: Existing group; ``None`` to create one.
        vpc: VPC of a new group.
        sources: CIDRs to let in. Rules that ``init`` created for other sources are removed from a
            group that ``init`` created.
        keep: True to keep the sources that an earlier ``init`` let in.

    Returns:
        Id of the group; empty in a dry run that would create one.
    """
    if found is None:
        return await _create_group(changes, vpc, sources)
    required = _required_changes(found, sources, keep=keep)
    if required.missing and not found.created_by_init:
        detail = (
            f"port {SERVICE_PORT} is not open to {', '.join(required.missing)}, "
            "and init did not create this group"
        )
        changes.record("security group", found.id, StepOutcome.KEPT, detail)
    elif required.missing or required.stale:
        await _update_group(changes, found, required)
    elif not unwanted_open_rules(required.remaining, sources):
        detail = f"port {SERVICE_PORT} open to {', '.join(sources)}"
        changes.record("security group", found.id, StepOutcome.FOUND, detail)
    record_open_rules(changes, found, required.remaining, sources)
    return found.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _RequiredChanges:
    """Difference between the rules of a group and the sources to let in."""

    stale: Sequence[str]
    """Sources that an earlier ``init`` let in and that must not be let in any more."""
    remaining: Sequence[IngressRule]
    """Rules that stay."""
    missing: Sequence[str]
    """Sources that no remaining rule lets in."""


def _required_changes(
    group: SecurityGroup, sources: Sequence[str], *, keep: bool
) -> _RequiredChanges:
    removable = [rule for rule in group.rules if group.created_by_init and rule.created_by_init]
    stale = [rule.source for rule in removable if rule.source not in sources and not keep]
    remaining = [
        rule for rule in group.rules if not (rule.created_by_init and rule.source in stale)
    ]
    missing = [source for source in sources if not any(rule.covers(source) for rule in remaining)]
    return _RequiredChanges(stale=stale, remaining=remaining, missing=missing)


async def _create_group(changes: AccountChanges, vpc: str, sources: Sequence[str]) -> str:
    tags = {"ResourceType": "security-group", "Tags": tag_list(key="Key", value="Value")}
    created = await changes.change(
        "ec2",
        "create_security_group",
        GroupName=SECURITY_GROUP_NAME,
        Description="CloudBurst workers",
        VpcId=vpc,
        TagSpecifications=[tags],
    )
    group = str(created["GroupId"]) if created else ""
    await retry_while_unknown(
        partial(_authorize, changes, group, sources),
        is_unknown_to_iam,
        new=True,
        timeout=IAM_VISIBLE_TIMEOUT,
    )
    detail = f"port {SERVICE_PORT} open to {', '.join(sources)}"
    changes.record("security group", group or SECURITY_GROUP_NAME, StepOutcome.CREATED, detail)
    return group


async def _update_group(
    changes: AccountChanges, group: SecurityGroup, required: _RequiredChanges
) -> None:
    details: list[str] = []
    if required.missing:
        await _authorize(changes, group.id, required.missing)
        details.append(f"port {SERVICE_PORT} opened to {', '.join(required.missing)}")
    if required.stale:
        await _revoke(changes, group.id, required.stale)
        details.append(f"closed to {', '.join(required.stale)}")
    changes.record("security group", group.id, StepOutcome.UPDATED, "; ".join(details))


async def _authorize(changes: AccountChanges, group: str, sources: Sequence[str]) -> None:
    ranges = [{"CidrIp": source, "Description": RULE_DESCRIPTION} for source in sources]
    await _change_rules(changes, "authorize_security_group_ingress", group, ranges)


async def _revoke(changes: AccountChanges, group: str, sources: Sequence[str]) -> None:
    # Without descriptions: AWS compares protocol, ports and source only.
    ranges = [{"CidrIp": source} for source in sources]
    await _change_rules(changes, "revoke_security_group_ingress", group, ranges)


async def _change_rules(
    changes: AccountChanges, operation: str, group: str, ranges: Sequence[Mapping[str, str]]
) -> None:
    """Add or remove rules for IPv4 ranges at the port of workers."""
    rule = {"FromPort": SERVICE_PORT, "ToPort": SERVICE_PORT, "IpRanges": list(ranges)}
    permissions = [{"IpProtocol": "tcp", **rule}]
    await changes.change("ec2", operation, GroupId=group, IpPermissions=permissions)


def unwanted_open_rules(rules: Iterable[IngressRule], sources: Sequence[str]) -> list[IngressRule]:
    """Return the rules that let every address in although ``sources`` does not ask for that."""
    return [rule for rule in rules if rule.open_to_world and rule.source not in sources]


def record_open_rules(
    changes: AccountChanges,
    group: SecurityGroup,
    rules: Iterable[IngressRule],
    sources: Sequence[str],
) -> None:
    """Record each unwanted rule that lets every address in and that ``init`` does not remove.

    Args:
        changes: Record to which a step is added for each rule.
        group: Security group of the tasks.
        rules: Rules of the group, without those that were just removed.
        sources: CIDRs that the user asked to let in.
    """
    for rule in unwanted_open_rules(rules, sources):
        by_init = group.created_by_init and rule.created_by_init
        reason = "kept by --add" if by_init else "not created by init"
        command = rule.removal_command(group.id, changes.aws.region)
        detail = f"still open to the world ({rule.source}, {reason}); remove it with: {command}"
        changes.record("security group", group.id, StepOutcome.KEPT, detail)
