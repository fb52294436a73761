"""Search for the tasks of a run, which may be orphans: an earlier process may have started them."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.fargate.cluster_tasks import describe_tasks, list_task_arns
from cloudburst.aws.fargate.run_task import CREATED_BY, CREATED_BY_TAG, secrets_of, started_by
from cloudburst.aws.fargate.task_definition import TaskDefinition
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.errors import AWSError
from cloudburst.models.task import Protocol, Secrets, TaskId

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A task of a run that an earlier process may have started."""

    task: TaskId
    description: Mapping[str, Any] | None
    """Description by DescribeTasks; ``None`` if AWS lists the task but does not describe it yet."""

    @property
    def may_run(self) -> bool:
        """True unless the task has stopped."""
        return self.description is None or self.description["lastStatus"] != "STOPPED"


async def find_orphans(aws: AWSClient, cluster: str, run: str) -> tuple[Orphan, ...]:
    """Return the running tasks of a run, and the stopped tasks of the run that AWS still lists.

    Raises:
        CloudburstError: AWS refuses a call or does not answer; see `AWSClient.call`.
    """
    tag = started_by(run)
    arns = await list_task_arns(aws, cluster, started_by=tag)
    try:
        arns += await list_task_arns(aws, cluster, stopped=True, started_by=tag)
    except AWSError as exc:  # the recovery describes known tasks one by one
        logger.warning("the stopped tasks of run %s could not be listed: %s", run, exc)
    arns = list(dict.fromkeys(arns))  # a task may stop between the two calls
    described = {str(task["taskArn"]): task for task in await describe_tasks(aws, cluster, arns)}
    found = [Orphan(task=TaskId(arn), description=described.get(arn)) for arn in arns]
    return tuple(orphan for orphan in found if _is_ours(orphan))


def _is_ours(orphan: Orphan) -> bool:
    task = orphan.description
    if task is None or task.get("desiredStatus") == "STOPPED":
        return True  # a task gets its tags after its creation and loses them with its stop
    tags = {tag["key"]: tag.get("value") for tag in task.get("tags", ())}
    return tags.get(CREATED_BY_TAG) == CREATED_BY


def adoptable_secrets(
    orphan: Orphan, definition: TaskDefinition, sizes: Container[tuple[float, float]]
) -> Secrets | None:
    """Return the secrets with which to adopt a task; ``None`` if the task can only be stopped.

    A task can be adopted if its key is known and it has the task definition and one of the sizes of
    new tasks. Tasks with the public image cannot be adopted, because that image cannot discard the
    jobs of another process.

    Args:
        orphan: Task to adopt.
        definition: Task definition of new tasks.
        sizes: Sizes of new tasks, each as vCPU and GB of memory.
    """
    task = orphan.description
    if task is None or definition.protocol is not Protocol.NATIVE:
        return None
    if task.get("taskDefinitionArn") != definition.arn:
        return None
    description = parse_task_description(task)
    if (description.vcpu, description.memory_gb) not in sizes:
        return None
    secrets = secrets_of(task, definition.container)
    return secrets if secrets.key else None
