"""``destroy``: removes from an account the resources that ``init`` created, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.setup import resources
from cloudburst.aws.setup.changes import AccountChanges, Resource, SetupStep, StepOutcome
from cloudburst.aws.setup.ecr import OUR_REPOSITORY
from cloudburst.aws.setup.ecr_repository import read_repository_to_remove
from cloudburst.aws.setup.network import Subnet, default_subnets, describe_subnets
from cloudburst.aws.setup.resource_definitions import LOG_GROUP, all_families, execution_role
from cloudburst.aws.setup.security_groups import (
    SecurityGroup,
    existing_security_groups,
    find_security_group,
    group_resource,
)
from cloudburst.errors import AWSError, ConfigurationError, ResourceMissingError
from cloudburst.models.settings import Settings

__all__ = ["DestroyReport", "destroy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyReport:
    """Result of ``destroy``; in a dry run, the result that is expected."""

    account: str
    region: str
    steps: tuple[SetupStep, ...]
    dry_run: bool = False

    @property
    def success(self) -> bool:
        """True if no removal failed."""
        return not any(step.outcome is StepOutcome.FAILED for step in self.steps)


async def destroy(
    settings: Settings,
    *,
    dry_run: bool = False,
    keep_logs: bool = False,
    keep_image: bool = False,
    session: Any = None,
) -> DestroyReport:
    """Remove the task definitions, security group, cluster, images, log group and role of ``init``.

    Resources of ``init`` are recognised by their tags. Revisions of a task definition are
    deregistered. Images in our repository that ``init`` did not push are kept, and the repository
    with them. If AWS refuses to remove a resource, the others are still removed.

    Args:
        settings: Account, region, and names of the resources.
        dry_run: True to remove nothing and to report what would be removed.
        keep_logs: True to keep the log group with its lines.
        keep_image: True to keep the ECR repository with our images.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.

    Raises:
        AWSError: Tasks run in the cluster (``code`` is ``ClusterContainsTasksException``).
        CloudburstError: The account cannot be read: any error of `AWSClient.call`.
    """
    async with open_aws(settings, session=session) as aws:
        account = await aws.account_id()
        changes = AccountChanges(aws, dry_run=dry_run)
        await _check_no_tasks(changes, settings.cluster)
        for arn in await _revisions(aws, settings):
            read = partial(resources.read_revision, aws, arn)
            await changes.remove("task definition", resources.revision_name(arn), read)
        await _remove_security_groups(changes, settings)
        cluster = settings.cluster.rpartition("/")[2]
        await changes.remove("cluster", cluster, partial(resources.read_cluster, aws, cluster))
        await changes.remove(
            "image repository",
            OUR_REPOSITORY,
            partial(read_repository_to_remove, aws, account),
            keep="with its images, as requested" if keep_image else "",
        )
        await changes.remove(
            "log group",
            LOG_GROUP,
            partial(resources.read_log_group, aws, to_remove=True),
            keep="with its lines, as requested" if keep_logs else "",
        )
        role = execution_role(aws.region)
        read = partial(resources.read_execution_role, aws, account)
        await changes.remove("execution role", role, read)
    return DestroyReport(
        account=account, region=aws.region, steps=tuple(changes.steps), dry_run=dry_run
    )


async def _revisions(aws: AWSClient, settings: Settings) -> list[str]:
    found: list[str] = []
    for family in all_families(settings):
        arns = await aws.collect_pages(
            "ecs", "list_task_definitions", "taskDefinitionArns", familyPrefix=family
        )
        # AWS returns every family that begins with the prefix.
        found += [arn for arn in arns if resources.revision_name(arn).partition(":")[0] == family]
    return found


async def _remove_security_groups(changes: AccountChanges, settings: Settings) -> None:
    aws = changes.aws
    named = await existing_security_groups(aws, settings.security_groups)
    found = {group.id: group for group in named}
    subnets: Sequence[Subnet] = ()
    with suppress(ResourceMissingError, ConfigurationError):
        subnets = (
            await describe_subnets(aws, settings.subnets)
            if settings.subnets
            else await default_subnets(aws)
        )
    for vpc in {subnet.vpc for subnet in subnets}:
        if (group := await find_security_group(aws, vpc)) is not None:
            found[group.id] = group
    for group in found.values():

        async def read(group: SecurityGroup = group) -> Resource:
            return replace(group_resource(group, aws.region), kept="")

        await changes.remove("security group", group.id, read)


async def _check_no_tasks(changes: AccountChanges, cluster: str) -> None:
    try:
        running = await changes.aws.collect_pages("ecs", "list_tasks", "taskArns", cluster=cluster)
    except ResourceMissingError:
        return
    if running:
        number = f"{len(running)} task{'' if len(running) == 1 else 's'}"
        msg = (
            f"{number} in cluster {cluster}: nothing was removed. Stop the tasks of cloudburst "
            "first: cloudburst cleanup --all"
        )
        raise AWSError(msg, code="ClusterContainsTasksException")
