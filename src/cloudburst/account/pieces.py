"""The pieces of a region that tasks need: each is found, or made, or brought up to date."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio

from cloudburst.account.blueprint import (
    GROUP,
    LOG_GROUP,
    RETENTION_DAYS,
    TAGS,
    differences,
    is_ours_by_tags,
    tag_list,
)
from cloudburst.account.doors import SecurityGroup, rule
from cloudburst.account.hand import Hand, Outcome
from cloudburst.engine.polling import poll
from cloudburst.errors import AWSError, ResourceMissingError
from cloudburst.models.policy import Backoff

T = TypeVar("T")

PROVIDERS = ("FARGATE", "FARGATE_SPOT")
FRESH = 60.0
"""Seconds in which a role that was just made becomes known everywhere: IAM is eventually
consistent, "Troubleshoot IAM" in its user guide (2026-11), which names no figure."""
_AGAIN = Backoff(first=2.0, factor=1.5, cap=8.0)


async def cluster(hand: Hand, reference: str, *, fresh: bool) -> None:
    """A cluster with both of Fargate's capacity providers.

    Args:
        hand: Whose.
        reference: Its name or ARN.
        fresh: Whether ECS's own role was made just now.
    """
    name = reference.rpartition("/")[2]
    found = await describe_cluster(hand, name)
    if found is None:

        async def create() -> Any:
            return await hand.change(
                "ecs",
                "create_cluster",
                clusterName=name,
                capacityProviders=list(PROVIDERS),
                # It costs by the metric.
                settings=[{"name": "containerInsights", "value": "disabled"}],
                tags=tag_list(),
            )

        await _patiently(create, "InvalidParameterException", fresh=fresh)
        hand.tell("cluster", name, Outcome.MADE, "with FARGATE and FARGATE_SPOT")
        return
    attached: list[str] = found.get("capacityProviders") or []
    missing = [provider for provider in PROVIDERS if provider not in attached]
    if not missing:
        hand.tell("cluster", name, Outcome.FOUND)
        return
    await hand.change(
        "ecs",
        "put_cluster_capacity_providers",
        cluster=name,
        capacityProviders=[*attached, *missing],
        defaultCapacityProviderStrategy=found.get("defaultCapacityProviderStrategy") or [],
    )
    hand.tell("cluster", name, Outcome.CHANGED, f"{' and '.join(missing)} attached")


async def describe_cluster(hand: Hand, reference: str) -> dict[str, Any] | None:
    """The cluster with its tags; ``None`` when it is not there, or not any more."""
    answer = await hand.ask("ecs", "describe_clusters", clusters=[reference], include=["TAGS"])
    active = [found for found in answer["clusters"] if found["status"] == "ACTIVE"]
    return active[0] if active else None


async def log_group(hand: Hand) -> None:
    """The log group, whose lines go after a month."""
    found = await describe_log_group(hand)
    keep = {"logGroupName": LOG_GROUP, "retentionInDays": RETENTION_DAYS}
    if found is None:
        await hand.change("logs", "create_log_group", logGroupName=LOG_GROUP, tags=dict(TAGS))
        await hand.change("logs", "put_retention_policy", **keep)
        hand.tell("log group", LOG_GROUP, Outcome.MADE, f"keeps lines for {RETENTION_DAYS} days")
    elif found.get("retentionInDays"):
        hand.tell("log group", LOG_GROUP, Outcome.FOUND)
    elif await log_group_is_ours(hand, found):
        await hand.change("logs", "put_retention_policy", **keep)
        hand.tell("log group", LOG_GROUP, Outcome.CHANGED, f"keeps lines for {RETENTION_DAYS} days")
    else:
        detail = "not made by init, and keeps lines for ever"
        hand.tell("log group", LOG_GROUP, Outcome.LEFT, detail)


async def describe_log_group(hand: Hand) -> dict[str, Any] | None:
    """Our log group, if it is there."""
    groups = await hand.aws.pages(
        "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=LOG_GROUP
    )
    return next((group for group in groups if group["logGroupName"] == LOG_GROUP), None)


async def log_group_is_ours(hand: Hand, group: Mapping[str, Any]) -> bool:
    """Whether it has our tags."""
    arn = group.get("logGroupArn") or str(group["arn"]).removesuffix(":*")
    answer = await hand.ask("logs", "list_tags_for_resource", resourceArn=arn)
    return is_ours_by_tags(answer["tags"])


async def security_group(
    hand: Hand,
    found: SecurityGroup | None,
    *,
    vpc: str,
    sources: Sequence[str],
    keep: bool,
) -> str:
    """Id of a group that lets these sources in at the worker's port, and of ours nobody else.

    Args:
        hand: Whose.
        found: The group that is there; ``None``: make one.
        vpc: Where.
        sources: CIDRs.
        keep: Whether those that were let in by an earlier ``init`` still are.
    """
    told = ", ".join(sources)
    if found is None:
        made = await hand.change(
            "ec2",
            "create_security_group",
            GroupName=GROUP,
            Description="CloudBurst workers",
            VpcId=vpc,
            TagSpecifications=[
                {
                    "ResourceType": "security-group",
                    "Tags": tag_list(key="Key", value="Value"),
                }
            ],
        )
        ident = str(made["GroupId"]) if made else ""
        await _let_in(hand, ident, sources)
        hand.tell("security group", ident or GROUP, Outcome.MADE, f"port 5000 open to {told}")
        return ident
    stale = [d.source for d in found.doors if d.ours and d.source not in sources and not keep]
    left = [door for door in found.doors if door.source not in stale]
    missing = [source for source in sources if not any(door.covers(source) for door in left)]
    if not missing and not stale:
        hand.tell("security group", found.id, Outcome.FOUND, f"port 5000 open to {told}")
    elif not found.ours:
        lacks = f"port 5000 is not open to {', '.join(missing)}, and init did not make this group"
        hand.tell("security group", found.id, Outcome.LEFT, lacks)
    else:
        if missing:
            await _let_in(hand, found.id, missing)
        if stale:
            await hand.change(
                "ec2",
                "revoke_security_group_ingress",
                GroupId=found.id,
                IpPermissions=[_without_words(rule(stale))],
            )
        opened = [f"port 5000 opened to {', '.join(missing)}"] if missing else []
        closed = [f"closed to {', '.join(stale)}"] if stale else []
        hand.tell("security group", found.id, Outcome.CHANGED, "; ".join(opened + closed))
    return found.id


async def definition(
    hand: Hand, wanted: Mapping[str, Any], found: Mapping[str, Any] | None, *, fresh: bool
) -> None:
    """The newest revision of a family is as wanted.

    Args:
        hand: Whose.
        wanted: Parameters of RegisterTaskDefinition.
        found: The newest active revision.
        fresh: Whether its role was made just now.
    """
    family = wanted["family"]
    unlike = None if found is None else differences(wanted, found)
    if found is not None and not unlike:
        name = str(found["taskDefinitionArn"]).rpartition("/")[2]
        hand.tell("task definition", name, Outcome.FOUND)
        return

    async def register() -> dict[str, Any] | None:
        return await hand.change("ecs", "register_task_definition", **wanted, tags=tag_list())

    made = await _patiently(register, "ClientException", fresh=fresh)
    name = str(made["taskDefinition"]["taskDefinitionArn"]).rpartition("/")[2] if made else family
    detail = f"a new revision: {_some(unlike)}" if unlike else _what(wanted)
    hand.tell("task definition", name, Outcome.CHANGED if unlike else Outcome.MADE, detail)


async def describe_newest(hand: Hand, reference: str) -> dict[str, Any] | None:
    """The task definition, or the newest active one of a family; with its tags, if it is there."""
    try:
        answer = await hand.ask(
            "ecs", "describe_task_definition", taskDefinition=reference, include=["TAGS"]
        )
    except ResourceMissingError:
        return None
    found: dict[str, Any] = {**answer["taskDefinition"], "tags": answer.get("tags") or []}
    return found


async def _let_in(hand: Hand, group: str, sources: Sequence[str]) -> None:
    await hand.change(
        "ec2",
        "authorize_security_group_ingress",
        GroupId=group,
        IpPermissions=[rule(sources)],
    )


def _without_words(permission: Mapping[str, Any]) -> dict[str, Any]:
    ranges = [{"CidrIp": one["CidrIp"]} for one in permission["IpRanges"]]
    return {**permission, "IpRanges": ranges}


async def _patiently(call: Callable[[], Awaitable[T]], code: str, *, fresh: bool) -> T:
    """What ``call`` answers; while a role is fresh, a refusal with this code is no answer."""
    if not fresh:
        return await call()
    refusal: AWSError | None = None

    async def once() -> tuple[T] | None:
        nonlocal refusal
        try:
            return (await call(),)
        except AWSError as exc:
            if exc.code != code:
                raise
            refusal = exc
            return None

    with anyio.move_on_after(FRESH):
        return (await poll(once, backoff=_AGAIN))[0]
    raise refusal or TimeoutError


def _what(wanted: Mapping[str, Any]) -> str:
    image = wanted["containerDefinitions"][0]["image"]
    return f"{image} on {wanted['runtimePlatform']['cpuArchitecture']}"


def _some(unlike: Sequence[str]) -> str:
    by_weight = sorted(unlike, key=lambda path: not path.endswith((".image", ".cpu", ".memory")))
    short = [path.replace("containerDefinitions", "containers") for path in by_weight]
    return ", ".join(short[:3]) + (f" and {len(short) - 3} more" if len(short) > 3 else "")
