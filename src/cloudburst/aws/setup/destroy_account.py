"""``destroy``: removes from an account the resources that ``init`` created, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from cloudburst.aws.client.client import open_aws
from cloudburst.aws.setup import ecr_repository, resources, roles
from cloudburst.aws.setup.changes import (
    CONSISTENCY_BACKOFF,
    AccountChanges,
    SetupStep,
    StepOutcome,
)
from cloudburst.aws.setup.ecr_login import OUR_REPOSITORY
from cloudburst.aws.setup.env_steps import remove_from_env_file
from cloudburst.aws.setup.resource_definitions import (
    EXECUTION_ROLE_POLICY,
    LOG_GROUP,
    STACK_TAG,
    Tags,
    all_families,
    execution_role,
    has_our_tags,
    tag_values,
)
from cloudburst.aws.setup.security_groups import (
    SecurityGroup,
    describe_security_groups,
    find_security_group,
)
from cloudburst.aws.setup.subnets import default_subnets, describe_subnets
from cloudburst.concurrency import poll
from cloudburst.errors import (
    AWSError,
    CloudburstError,
    ConfigurationError,
    ResourceMissingError,
)
from cloudburst.models.settings import OWN_IMAGE, Settings

__all__ = ["DestroyReport", "destroy"]

REMOVAL_TIMEOUT = 150.0
"""Seconds for which the removal of a resource that is still in use is retried. A stopping task uses
its security group until it has stopped, which takes its stop timeout, at most 120 s, and some
seconds."""
_IN_USE_CODES = frozenset(
    {
        "ClusterContainsTasksException",
        "DependencyViolation",
        "RepositoryNotEmptyException",
        "UpdateInProgressException",
    }
)


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
    env_file: Path | None = Path(".env"),
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
        env_file: File of settings from which the ids of deleted security groups are removed;
            ``None`` to change no file.
        session: An ``aioboto3.Session`` to use in place of the settings' keys, profile and role.

    Raises:
        AWSError: Tasks run in the cluster (``code`` is ``ClusterContainsTasksException``).
        CloudburstError: The account cannot be read: any error of `AWSClient.call`.
    """
    async with open_aws(settings, session=session) as aws:
        account = await aws.account_id()
        changes = AccountChanges(aws, dry_run=dry_run)
        await _check_no_tasks(changes, settings.cluster)
        remover = _Remover(changes, settings)
        await remover.remove_task_definitions()
        removed_groups = await remover.remove_security_groups()
        try:
            await remover.remove_cluster()
            await remover.remove_repository(account, keep=keep_image)
            await remover.remove_log_group(keep=keep_logs)
            await remover.remove_execution_role()
        finally:
            if env_file is not None and removed_groups:
                with anyio.CancelScope(shield=True):  # writing a small file takes milliseconds
                    await remove_from_env_file(changes, env_file, removed_groups)
    return DestroyReport(
        account=account, region=aws.region, steps=tuple(changes.steps), dry_run=dry_run
    )


class _Remover:
    """Remover of the resources that ``init`` created, with a method for each type of resource."""

    def __init__(self, changes: AccountChanges, settings: Settings) -> None:
        self._changes = changes
        self._settings = settings

    async def remove_task_definitions(self) -> None:
        """Deregister the active revisions of the task definitions for x86 and for ARM."""
        for family in all_families(self._settings):
            arns = await self._changes.aws.collect_pages(
                "ecs", "list_task_definitions", "taskDefinitionArns", familyPrefix=family
            )
            for arn in arns:
                # AWS returns every family that begins with the prefix.
                if arn.rpartition("/")[2].rpartition(":")[0] == family:
                    await self._remove_task_definition(arn)

    async def _remove_task_definition(self, arn: str) -> None:
        found = await resources.describe_newest(self._changes, arn)
        name = arn.rpartition("/")[2]
        if self._keeps("task definition", name, found["tags"] if found else ()):
            return
        await self._remove(
            "task definition",
            name,
            lambda: self._changes.change("ecs", "deregister_task_definition", taskDefinition=arn),
        )

    async def remove_security_groups(self) -> list[str]:
        """Delete the security groups of ``init``; return the ids of those that were deleted."""
        return [
            group.id
            for group in await self._security_groups()
            if not self._keeps("security group", group.id, group.tags)
            and await self._remove("security group", group.id, partial(self._delete, group.id))
        ]

    async def _delete(self, group: str) -> None:
        await self._changes.change("ec2", "delete_security_group", GroupId=group)

    async def _security_groups(self) -> list[SecurityGroup]:
        """Return the security groups that ``init`` may have created.

        These are the groups in the settings, and the groups named `SECURITY_GROUP_NAME` in the VPCs
        of the subnets.
        """
        aws, settings = self._changes.aws, self._settings
        found: dict[str, SecurityGroup] = {}
        for group_id in settings.security_groups:
            try:
                groups = await describe_security_groups(aws, [group_id])
            except ResourceMissingError:
                continue
            found |= {group.id: group for group in groups}
        try:
            subnets = (
                await describe_subnets(aws, settings.subnets)
                if settings.subnets
                else await default_subnets(aws)
            )
        except (ResourceMissingError, ConfigurationError):
            subnets = ()
        for vpc in {subnet.vpc for subnet in subnets}:
            if (group := await find_security_group(aws, vpc)) is not None:
                found[group.id] = group
        return list(found.values())

    async def remove_cluster(self) -> None:
        """Delete the cluster if ``init`` created it."""
        name = self._settings.cluster.rpartition("/")[2]
        found = await resources.describe_cluster(self._changes, name)
        if found is None or self._keeps("cluster", name, found.get("tags") or ()):
            return
        await self._remove(
            "cluster", name, lambda: self._changes.change("ecs", "delete_cluster", cluster=name)
        )

    async def remove_repository(self, account: str, *, keep: bool) -> None:
        """Remove our images and their repository if ``init`` created it, unless ``keep`` is true.

        If ECR cannot be read, the other resources are removed all the same.
        """
        changes, resource, name = self._changes, "image repository", OUR_REPOSITORY
        try:
            found = await ecr_repository.describe_repository(changes)
            if found is None:
                return
            images = await ecr_repository.list_images(changes, name, account)
        except CloudburstError as exc:
            own = self._settings.image == OWN_IMAGE
            outcome = StepOutcome.FAILED if own else StepOutcome.KEPT
            changes.record(resource, name, outcome, f"not looked for: {exc}")
            return
        if keep:
            changes.record(resource, name, StepOutcome.KEPT, "with its images, as requested")
        elif not self._keeps(resource, name, found.tags):
            remove = partial(ecr_repository.remove_repository, changes, name, images)
            await self._remove(resource, name, remove, done=images.outcome)

    async def remove_log_group(self, *, keep: bool) -> None:
        """Delete the log group and its lines if ``init`` created it, unless ``keep`` is true."""
        found = await resources.describe_log_group(self._changes)
        if found is None:
            return
        if keep:
            detail = "with its lines, as requested"
            self._changes.record("log group", LOG_GROUP, StepOutcome.KEPT, detail)
        elif not self._keeps(
            "log group", LOG_GROUP, await resources.log_group_tags(self._changes, found)
        ):
            await self._remove(
                "log group",
                LOG_GROUP,
                lambda: self._changes.change("logs", "delete_log_group", logGroupName=LOG_GROUP),
            )

    async def remove_execution_role(self) -> None:
        """Delete the execution role of the region if ``init`` created it."""
        role = await roles.describe_role(self._changes)
        name = execution_role(self._changes.aws.region)
        if role is None or self._keeps("execution role", name, role.get("Tags") or ()):
            return

        async def delete() -> None:
            # Only our own policy: IAM refuses to delete a role with anything else attached.
            if await roles.inline_policy(self._changes) is not None:
                await self._changes.change(
                    "iam", "delete_role_policy", RoleName=name, PolicyName=EXECUTION_ROLE_POLICY
                )
            await self._changes.change("iam", "delete_role", RoleName=name)

        await self._remove("execution role", name, delete)

    async def _remove(
        self,
        resource: str,
        name: str,
        remove: Callable[[], Awaitable[Any]],
        *,
        done: tuple[StepOutcome, str] = (StepOutcome.REMOVED, ""),
    ) -> bool:
        """Remove a resource, with retries while it is in use; return whether it is gone.

        Args:
            resource: Type of the resource, for the report.
            name: Name of the resource, for the report.
            remove: Function that removes the resource. It is called again while AWS reports that
                the resource is in use.
            done: Outcome and detail to record on success.
        """
        refusal: CloudburstError | None = None

        async def once() -> bool | None:
            nonlocal refusal
            try:
                await remove()
            except ResourceMissingError:
                return True  # another process removed it first
            except CloudburstError as exc:
                refusal = exc
                return None if isinstance(exc, AWSError) and exc.code in _IN_USE_CODES else False
            return True

        with anyio.move_on_after(REMOVAL_TIMEOUT):
            if await poll(once, delays=CONSISTENCY_BACKOFF.delays()):
                self._changes.record(resource, name, *done)
                return True
        reason = str(refusal or f"no answer in {REMOVAL_TIMEOUT:g} s")
        self._changes.record(resource, name, StepOutcome.FAILED, reason)
        return False

    def _keeps(self, resource: str, name: str, tags: Tags) -> bool:
        """Record and return whether a resource is kept: one of a stack, or not of ``init``."""
        if stack := tag_values(tags).get(STACK_TAG):
            detail = f"belongs to the CloudFormation stack {stack}: to remove it, delete the stack"
        elif has_our_tags(tags):
            return False
        else:
            detail = "not created by init"
        self._changes.record(resource, name, StepOutcome.KEPT, detail)
        return True


async def _check_no_tasks(changes: AccountChanges, cluster: str) -> None:
    """Raise `AWSError` if tasks run in the cluster."""
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
