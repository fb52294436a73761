"""Resources of a region that tasks need: cluster, log group and task definitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import anyio

from cloudburst.aws.fargate.placement import CAPACITY_PROVIDERS
from cloudburst.aws.setup.changes import CONSISTENCY_BACKOFF, AccountChanges, StepOutcome
from cloudburst.aws.setup.images import short_image_name
from cloudburst.aws.setup.resource_definitions import (
    LOG_GROUP,
    LOG_RETENTION_DAYS,
    TAGS,
    differences,
    has_our_tags,
    tag_list,
)
from cloudburst.concurrency import poll
from cloudburst.errors import AccessDeniedError, AWSError, CloudburstError, ResourceMissingError
from cloudburst.text import list_some

T = TypeVar("T")

ROLE_VISIBLE_TIMEOUT = 60.0
"""Seconds for which calls are retried because an AWS service may not know a new role yet. IAM is
eventually consistent: "Troubleshoot IAM" in its user guide (2026-11), which names no figure."""
IAM_VISIBLE_TIMEOUT = 15.0
"""Seconds for which calls are retried because IAM may not find a new role yet, or the conditions of
policies may not see the tags of a new resource
(https://github.com/hashicorp/terraform-provider-aws/issues/28012)."""


async def ensure_cluster(changes: AccountChanges, reference: str, *, new_role: bool) -> None:
    """Create the cluster, or attach those capacity providers of Fargate that it lacks.

    Args:
        changes: Account in which changes are made and recorded.
        reference: Name or ARN of the cluster.
        new_role: True if ECS's service role was just created, so that AWS may refuse to use it.
    """
    name = reference.rpartition("/")[2]
    found = await describe_cluster(changes, name)
    if found is None:
        await _create_cluster(changes, name, new_role=new_role)
        detail = f"with {' and '.join(CAPACITY_PROVIDERS)}"
        changes.record("cluster", name, StepOutcome.CREATED, detail)
        return
    attached: list[str] = found.get("capacityProviders") or []
    missing = [provider for provider in CAPACITY_PROVIDERS if provider not in attached]
    if not missing:
        changes.record("cluster", name, StepOutcome.FOUND)
        return
    await changes.change(
        "ecs",
        "put_cluster_capacity_providers",
        cluster=name,
        capacityProviders=[*attached, *missing],
        defaultCapacityProviderStrategy=found.get("defaultCapacityProviderStrategy") or [],
    )
    changes.record("cluster", name, StepOutcome.UPDATED, f"{' and '.join(missing)} attached")


async def _create_cluster(changes: AccountChanges, name: str, *, new_role: bool) -> None:
    async def create() -> Any:
        return await changes.change(
            "ecs",
            "create_cluster",
            clusterName=name,
            capacityProviders=list(CAPACITY_PROVIDERS),
            # AWS bills Container Insights by the metric.
            settings=[{"name": "containerInsights", "value": "disabled"}],
            tags=tag_list(),
        )

    def is_role_unknown(error: CloudburstError) -> bool:
        return _has_code(error, "InvalidParameterException")

    await retry_while_unknown(create, is_role_unknown, new=new_role)


async def describe_cluster(changes: AccountChanges, reference: str) -> dict[str, Any] | None:
    """Return the description of an active cluster, with its tags; ``None`` if there is none."""
    response = await changes.read(
        "ecs", "describe_clusters", clusters=[reference], include=["TAGS"]
    )
    active = [found for found in response["clusters"] if found["status"] == "ACTIVE"]
    return active[0] if active else None


async def ensure_log_group(changes: AccountChanges) -> None:
    """Create the log group of tasks, or set its retention if ``init`` created it without one."""
    found = await describe_log_group(changes)
    retention = {"logGroupName": LOG_GROUP, "retentionInDays": LOG_RETENTION_DAYS}
    kept = f"keeps lines for {LOG_RETENTION_DAYS} days"
    if found is None:
        await changes.change("logs", "create_log_group", logGroupName=LOG_GROUP, tags=dict(TAGS))
        await changes.change("logs", "put_retention_policy", **retention)
        changes.record("log group", LOG_GROUP, StepOutcome.CREATED, kept)
    elif found.get("retentionInDays"):
        changes.record("log group", LOG_GROUP, StepOutcome.FOUND)
    elif has_our_tags(await log_group_tags(changes, found)):
        await changes.change("logs", "put_retention_policy", **retention)
        changes.record("log group", LOG_GROUP, StepOutcome.UPDATED, kept)
    else:
        detail = "not created by init, and keeps lines forever"
        changes.record("log group", LOG_GROUP, StepOutcome.KEPT, detail)


async def describe_log_group(changes: AccountChanges) -> dict[str, Any] | None:
    """Return the log group of tasks; ``None`` if it does not exist."""
    groups = await changes.aws.collect_pages(
        "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=LOG_GROUP
    )
    return next((group for group in groups if group["logGroupName"] == LOG_GROUP), None)


async def log_group_tags(changes: AccountChanges, group: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the tags of a log group."""
    arn = group.get("logGroupArn") or str(group["arn"]).removesuffix(":*")
    response = await changes.read("logs", "list_tags_for_resource", resourceArn=arn)
    tags: Mapping[str, str] = response["tags"]
    return tags


async def ensure_task_definition(
    changes: AccountChanges,
    required: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    *,
    new_role: bool,
) -> None:
    """Register a revision of a task definition, unless the newest revision is as required.

    Args:
        changes: Account in which changes are made and recorded.
        required: Parameters of RegisterTaskDefinition, without tags.
        found: Newest active revision; ``None`` if the family has none.
        new_role: True if the execution role was just created or changed, so that AWS may refuse to
            use it.
    """
    paths = None if found is None else differences(required, found)
    if found is not None and not paths:
        name = str(found["taskDefinitionArn"]).rpartition("/")[2]
        changes.record("task definition", name, StepOutcome.FOUND)
        return

    async def register() -> dict[str, Any] | None:
        return await changes.change("ecs", "register_task_definition", **required, tags=tag_list())

    is_role_unknown = partial(_is_role_unknown, role=required["executionRoleArn"])
    response = await retry_while_unknown(register, is_role_unknown, new=new_role)
    name = required["family"]
    if response:
        name = str(response["taskDefinition"]["taskDefinitionArn"]).rpartition("/")[2]
    if paths:
        detail = f"a new revision: {_shortened(paths)}"
        changes.record("task definition", name, StepOutcome.UPDATED, detail)
    else:
        image = required["containerDefinitions"][0]["image"]
        architecture = required["runtimePlatform"]["cpuArchitecture"]
        detail = f"{short_image_name(image)} on {architecture}"
        changes.record("task definition", name, StepOutcome.CREATED, detail)


async def describe_newest(changes: AccountChanges, reference: str) -> dict[str, Any] | None:
    """Return the task definition with an ARN, or a family's newest active revision, with its tags.

    Returns ``None`` if there is none.
    """
    try:
        response = await changes.read(
            "ecs", "describe_task_definition", taskDefinition=reference, include=["TAGS"]
        )
    except ResourceMissingError:
        return None
    found: dict[str, Any] = {**response["taskDefinition"], "tags": response.get("tags") or []}
    return found


async def retry_while_unknown(
    call: Callable[[], Awaitable[T]],
    is_unknown: Callable[[CloudburstError], bool],
    *,
    new: bool,
    timeout: float = ROLE_VISIBLE_TIMEOUT,  # noqa: ASYNC109 - the last refusal is raised at its end
) -> T:
    """Return the result of a call that AWS may refuse because it does not know a new resource yet.

    Args:
        call: Function that makes the call.
        is_unknown: Function that returns whether an error may mean that the resource is unknown.
        new: True if the resource is new. If not, every error is raised at once.
        timeout: Seconds for which refusals are retried; after that, the last refusal is raised.
    """
    if not new:
        return await call()
    refusal: CloudburstError | None = None

    async def once() -> tuple[T] | None:
        nonlocal refusal
        try:
            return (await call(),)
        except CloudburstError as exc:
            if not is_unknown(exc):
                raise
            refusal = exc
            return None

    with anyio.move_on_after(timeout):
        return (await poll(once, delays=CONSISTENCY_BACKOFF.delays()))[0]
    raise refusal or TimeoutError


def is_unknown_to_iam(error: CloudburstError) -> bool:
    """Return whether an error may mean that a new resource or its tags are not known yet."""
    return isinstance(error, (AccessDeniedError, ResourceMissingError))


def _has_code(error: CloudburstError, code: str) -> bool:
    return isinstance(error, AWSError) and error.code == code


def _is_role_unknown(error: CloudburstError, *, role: str) -> bool:
    """Return whether RegisterTaskDefinition may have refused a role because it is new.

    AWS answers ``ClientException`` ("Role is not valid"), or denies ``iam:PassRole`` on the role
    (https://github.com/terraform-aws-modules/terraform-aws-ecs/issues/414, 2026-07). A denial has
    no code of its own for this case, so its text must name both the permission and the role.
    """
    if isinstance(error, AccessDeniedError):
        text = str(error)
        return "iam:PassRole" in text and role in text
    return _has_code(error, "ClientException")


def _shortened(paths: Sequence[str]) -> str:
    """Return a text with at most three paths in a task definition, images and sizes first."""
    by_weight = sorted(paths, key=lambda path: not path.endswith((".image", ".cpu", ".memory")))
    short = [path.replace("containerDefinitions", "containers") for path in by_weight]
    return list_some(short, 3)
