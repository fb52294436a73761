"""Removes from an account what ``init`` has made, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from cloudburst.account import pieces, roles
from cloudburst.account.arns import partition
from cloudburst.account.blueprint import (
    GROUP,
    LOG_GROUP,
    ROLE,
    ROLE_POLICY,
    families,
    is_ours_by_tags,
)
from cloudburst.account.doors import SecurityGroup, describe_groups, find_group
from cloudburst.account.envfile import drop
from cloudburst.account.hand import Hand, Outcome, Step
from cloudburst.account.network import default_subnets, describe_subnets
from cloudburst.adapters.aws.session import open_aws
from cloudburst.engine.polling import poll
from cloudburst.errors import (
    AccessDeniedError,
    AWSError,
    CloudburstError,
    ConfigurationError,
    ResourceMissingError,
)
from cloudburst.models.policy import Backoff
from cloudburst.models.settings import Settings

__all__ = ["DestroyReport", "destroy"]

PATIENCE = 90.0
"""Seconds for which a refusal is asked again: the network interface of a task goes with it, which
takes its stop timeout and some seconds."""
_AGAIN = Backoff(first=2.0, factor=1.5, cap=8.0)
_IN_USE = frozenset(
    {
        "ClusterContainsTasksException",
        "DependencyViolation",
        "UpdateInProgressException",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyReport:
    """What was removed, left, and what AWS would not remove; in a dry run: what would be."""

    account: str
    region: str
    steps: tuple[Step, ...]
    dry_run: bool = False

    @property
    def success(self) -> bool:
        """Whether nothing is left that should have gone."""
        return not any(step.outcome is Outcome.FAILED for step in self.steps)


async def destroy(
    settings: Settings,
    *,
    dry_run: bool = False,
    keep_logs: bool = False,
    env_file: Path | None = Path(".env"),
    session: Any = None,
) -> DestroyReport:
    """Remove task definitions, security group, cluster, log group and role that ``init`` made.

    They are known by their tags. Revisions of a task definition are deregistered, which is how
    AWS removes them from sight. A refusal does not hold up the rest.

    Args:
        settings: Account, region and names.
        dry_run: Remove nothing; say what would be removed.
        keep_logs: Leave the log group with its lines.
        env_file: A security group that is gone goes out of it, too.
        session: An ``aioboto3.Session`` in place of the settings' keys, profile and role.

    Raises:
        AWSError: Tasks run in the cluster (``code`` is ``ClusterContainsTasksException``).
        CloudburstError: AWS takes no questions: what `AWS.call` raises.
    """
    async with open_aws(settings, session=session) as aws:
        account = await aws.account()
        hand = Hand(aws, rehearsal=dry_run)
        await _refuse_while_tasks_run(hand, settings.cluster)
        wrecker = _Wrecker(hand, settings)
        await wrecker.definitions()
        gone = await wrecker.security_groups()
        await wrecker.cluster()
        await wrecker.log_group(keep=keep_logs)
        await wrecker.role()
        if env_file is not None and gone:
            await _forget(hand, env_file, gone)
    return DestroyReport(
        account=account, region=aws.region, steps=tuple(hand.steps), dry_run=dry_run
    )


class _Wrecker:
    """Removes one thing after the other."""

    def __init__(self, hand: Hand, settings: Settings) -> None:
        self._hand = hand
        self._settings = settings

    async def definitions(self) -> None:
        """The active revisions of both families."""
        for family in families(self._settings.task_definition).values():
            arns = await self._hand.aws.pages(
                "ecs", "list_task_definitions", "taskDefinitionArns", familyPrefix=family
            )
            for arn in arns:
                # The prefix is one: other families may begin like ours.
                if arn.rpartition("/")[2].rpartition(":")[0] == family:
                    await self._definition(arn)

    async def _definition(self, arn: str) -> None:
        found = await pieces.describe_newest(self._hand, arn)
        name = arn.rpartition("/")[2]
        if found is None or not is_ours_by_tags(found["tags"]):
            self._leave("task definition", name)
            return
        await self._remove(
            "task definition",
            name,
            lambda: self._hand.change("ecs", "deregister_task_definition", taskDefinition=arn),
        )

    async def security_groups(self) -> list[str]:
        """Those that the settings name, and the one with our name; ids of those that are gone."""
        gone: list[str] = []
        for group in await self._groups():
            if not group.ours:
                self._leave("security group", group.id)
            elif await self._remove("security group", group.id, partial(self._delete, group.id)):
                gone.append(group.id)
        return gone

    async def _delete(self, group: str) -> None:
        await self._hand.change("ec2", "delete_security_group", GroupId=group)

    async def _groups(self) -> list[SecurityGroup]:
        aws, settings = self._hand.aws, self._settings
        found: dict[str, SecurityGroup] = {}
        for ident in settings.security_groups:
            try:
                found |= {group.id: group for group in await describe_groups(aws, [ident])}
            except ResourceMissingError:
                continue
        try:
            subnets = (
                await describe_subnets(aws, settings.subnets)
                if settings.subnets
                else await default_subnets(aws)
            )
        except (ResourceMissingError, ConfigurationError):
            subnets = ()
        for vpc in {subnet.vpc for subnet in subnets}:
            if (group := await find_group(aws, vpc, GROUP)) is not None:
                found[group.id] = group
        return list(found.values())

    async def cluster(self) -> None:
        """The cluster."""
        name = self._settings.cluster.rpartition("/")[2]
        found = await pieces.describe_cluster(self._hand, name)
        if found is None:
            return
        if not is_ours_by_tags(found.get("tags") or ()):
            self._leave("cluster", name)
            return
        await self._remove(
            "cluster", name, lambda: self._hand.change("ecs", "delete_cluster", cluster=name)
        )

    async def log_group(self, *, keep: bool) -> None:
        """The log group and its lines."""
        found = await pieces.describe_log_group(self._hand)
        if found is None:
            return
        if keep:
            self._hand.tell("log group", LOG_GROUP, Outcome.LEFT, "with its lines, as asked")
        elif not await pieces.log_group_is_ours(self._hand, found):
            self._leave("log group", LOG_GROUP)
        else:
            await self._remove(
                "log group",
                LOG_GROUP,
                lambda: self._hand.change("logs", "delete_log_group", logGroupName=LOG_GROUP),
            )

    async def role(self) -> None:
        """The execution role, unless another region uses it."""
        role = await roles.describe_role(self._hand)
        if role is None:
            return
        tags = role.get("Tags") or ()
        if not is_ours_by_tags(tags):
            self._leave("execution role", ROLE)
            return
        region = self._hand.aws.region
        used = {tag["Key"] for tag in tags} - {roles.region_tag(region)}
        others = sorted(key for key in used if key.startswith(roles.region_tag("")))
        if others:
            key = roles.region_tag(region)
            await self._hand.change("iam", "untag_role", RoleName=ROLE, TagKeys=[key])
            told = ", ".join(key.rpartition("/")[2] for key in others)
            self._hand.tell("execution role", ROLE, Outcome.LEFT, f"used in {told}")
            return
        await self._remove("execution role", ROLE, self._delete_role)

    async def _delete_role(self) -> None:
        policy = f"arn:{partition(self._hand.aws.region)}:iam::aws:policy/{ROLE_POLICY}"
        attached = await self._hand.aws.pages(
            "iam", "list_attached_role_policies", "AttachedPolicies", RoleName=ROLE
        )
        if policy in {one["PolicyArn"] for one in attached}:
            await self._hand.change("iam", "detach_role_policy", RoleName=ROLE, PolicyArn=policy)
        await self._hand.change("iam", "delete_role", RoleName=ROLE)

    async def _remove(self, what: str, name: str, remove: Callable[[], Awaitable[Any]]) -> bool:
        """Whether it is gone."""
        refusal: CloudburstError | None = None

        async def once() -> bool | None:
            nonlocal refusal
            try:
                await remove()
            except ResourceMissingError:
                return True  # somebody else was quicker
            except AWSError as exc:
                refusal = exc
                return None if exc.code in _IN_USE else False
            except AccessDeniedError as exc:
                refusal = exc
                return False
            return True

        with anyio.move_on_after(PATIENCE):
            if await poll(once, backoff=_AGAIN):
                self._hand.tell(what, name, Outcome.REMOVED)
                return True
        self._hand.tell(what, name, Outcome.FAILED, str(refusal))
        return False

    def _leave(self, what: str, name: str) -> None:
        self._hand.tell(what, name, Outcome.LEFT, "not made by init")


async def _refuse_while_tasks_run(hand: Hand, cluster: str) -> None:
    try:
        running = await hand.aws.pages("ecs", "list_tasks", "taskArns", cluster=cluster)
    except ResourceMissingError:
        return
    if running:
        number = f"{len(running)} task{'' if len(running) == 1 else 's'}"
        msg = f"{number} in cluster {cluster}: nothing was removed; cloudburst cleanup --all stops"
        raise AWSError(f"{msg} those of cloudburst", code="ClusterContainsTasksException")


async def _forget(hand: Hand, path: Path, groups: list[str]) -> None:
    """A setting that names what is gone would stop the next ``init``."""
    try:
        changed = await anyio.to_thread.run_sync(
            lambda: drop(path, "AWS_SECURITY_GROUP_ID", groups, rehearsal=hand.rehearsal)
        )
    except OSError as exc:
        hand.tell("settings", str(path), Outcome.FAILED, str(exc))
        return
    if changed:
        hand.tell("settings", str(path), Outcome.CHANGED, "without that security group")
