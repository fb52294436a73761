"""The tasks that were started for a run, by this process or by one that is no more."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudburst.adapters.aws.definition import Definition
from cloudburst.adapters.aws.runtask import secrets_of, starter
from cloudburst.adapters.aws.session import AWS
from cloudburst.adapters.aws.sweep import CREATED_BY, OURS, described, listed
from cloudburst.errors import AWSError
from cloudburst.models.task import Protocol, Secrets, TaskId
from cloudburst.models.tier import Tier

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One task."""

    task: TaskId
    described: Mapping[str, Any] | None
    """``None`` while AWS lists it and does not describe it yet."""

    @property
    def alive(self) -> bool:
        """It has not stopped, as far as is known."""
        return self.described is None or self.described["lastStatus"] != "STOPPED"


async def leftovers(aws: AWS, cluster: str, run: str) -> tuple[Leftover, ...]:
    """Those that are alive, and those that AWS remembers. Raises what `AWS.call` raises."""
    started_by = starter(run)
    arns = await listed(aws, cluster, started_by=started_by)
    try:
        arns += await listed(aws, cluster, stopped=True, started_by=started_by)
    except AWSError as exc:  # those that are known are asked for one by one
        logger.warning("tasks of run %s that have stopped are not listed: %s", run, exc)
    arns = list(dict.fromkeys(arns))  # one may stop between the two
    shown = {task["taskArn"]: task for task in await described(aws, cluster, arns)}
    found = [Leftover(task=TaskId(arn), described=shown.get(arn)) for arn in arns]
    return tuple(one for one in found if _is_ours(one))


def _is_ours(found: Leftover) -> bool:
    task = found.described
    if task is None or task.get("desiredStatus") == "STOPPED":
        return True  # whose tags are not there yet, or no more
    tags = {tag["key"]: tag.get("value") for tag in task.get("tags", ())}
    return tags.get(CREATED_BY) == OURS


def secrets_for(found: Leftover, definition: Definition, tier: Tier) -> Secrets | None:
    """What it takes to talk to it; ``None`` for one that is not as those that we start.

    The public image cannot be told to drop what another process has begun.
    """
    task = found.described
    if task is None or definition.protocol is not Protocol.NATIVE:
        return None
    if task.get("taskDefinitionArn") != definition.arn:
        return None
    if task.get("cpu") != str(tier.vcpu * 1024):
        return None
    secrets = secrets_of(task, definition.container)
    return secrets if secrets.key else None
