"""Tasks in a cluster: their cost, those of an earlier process, and their final usages."""

from __future__ import annotations

import datetime as dt
import logging
import re
import time
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from cloudburst.aws.client.client import AWSClient, open_aws
from cloudburst.aws.fargate.run_task import (
    CREATED_BY,
    CREATED_BY_TAG,
    RUN_TAG,
    SCENE_TAG,
    STARTED_BY_PREFIX,
    secrets_of,
    started_by,
)
from cloudburst.aws.fargate.task_definition import TaskDefinition
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.errors import AWSError, CloudburstError
from cloudburst.models.account_tasks import RunningTask, TaskOwner
from cloudburst.models.prices import PriceTable
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol, Secrets, TaskId, Usage, seconds_billed, usd_amount

logger = logging.getLogger(__name__)

# Maximum number of tasks in one DescribeTasks: "DescribeTasks" in the ECS API reference (2026-11).
MAX_DESCRIBED_TASKS = 100
# Maximum length of the reason of a StopTask, in characters. The ECS API reference names no limit;
# the ECS agent cuts off the reasons that it reports after the same number of characters
# (``ecsMaxTaskReasonLength`` in https://github.com/aws/amazon-ecs-agent, 2026-11).
MAX_STOP_REASON_LENGTH = 1024
Description: TypeAlias = Mapping[str, Any] | None
"""Description of a task by DescribeTasks; ``None`` if AWS only lists the task so far."""
# Pattern of the ARN of a task: "Amazon Resource Names (ARNs) and IDs" in the ECS Developer Guide
# (2026-11). Regions and clusters come from journals, which other programs may have changed.
_TASK_ARN = re.compile(
    r"arn:aws[a-z-]*:ecs:(?P<region>[a-z]{2}[a-z0-9-]{3,30}):\d{12}"
    r":task/(?P<cluster>[A-Za-z0-9_-]{1,255})/[0-9a-f]{1,64}",
    re.ASCII,
)


async def list_task_arns(
    aws: AWSClient, cluster: str, *, stopped: bool = False, started_by: str | None = None
) -> list[str]:
    """Return the ARNs of tasks in a cluster: by default, of those whose stop was not requested.

    Those whose stop was requested are listed until about an hour after it.
    """
    filters = {"desiredStatus": "STOPPED" if stopped else "RUNNING"}
    if started_by is not None:
        filters["startedBy"] = started_by
    return await aws.collect_pages("ecs", "list_tasks", "taskArns", cluster=cluster, **filters)


async def describe_tasks(
    aws: AWSClient, cluster: str, tasks: Sequence[str], *, in_region: str | None = None
) -> list[dict[str, Any]]:
    """Return the descriptions of the tasks that exist, with their tags."""
    described: list[dict[str, Any]] = []
    for start in range(0, len(tasks), MAX_DESCRIBED_TASKS):
        response = await aws.call(
            "ecs",
            "describe_tasks",
            in_region=in_region,
            cluster=cluster,
            tasks=list(tasks[start : start + MAX_DESCRIBED_TASKS]),
            include=["TAGS"],
        )
        described += response["tasks"]
    return described


def parse_running_task(
    task: Mapping[str, Any],
    *,
    region: str,
    prices: PriceTable,
    active_runs: Mapping[str, bool],
    addresses: Mapping[str, str] | None,
) -> RunningTask:
    """Return a described task with its owner and its cost so far.

    Without a look-up of ``addresses``, the cost of each task includes a public address.
    """
    description = parse_task_description(task)
    # AWS need not show the time of creation of a task that is PROVISIONING.
    created: dt.datetime = task.get("createdAt") or dt.datetime.now(dt.UTC)
    tags = {tag["key"]: tag.get("value", "") for tag in task.get("tags", ())}
    starter: str = task.get("startedBy", "")
    ours = starter.startswith(STARTED_BY_PREFIX)
    run = tags.get(RUN_TAG) or (starter.removeprefix(STARTED_BY_PREFIX) if ours else "")
    architecture = _architecture(task)
    address = (addresses or {}).get(description.network_interface or "")
    usage = Usage(
        rates=prices.rates(
            region, architecture=architecture, capacity=description.capacity_provider
        ),
        vcpu=description.vcpu,
        memory_gb=description.memory_gb,
        extra_disk_gb=description.extra_disk_gb,
        public_ipv4=address is not None or addresses is None,
        created_at=created.timestamp(),
        pull_started_at=description.pull_started_at,
        last_seen_at=time.time(),
    )
    seconds = seconds_billed(usage)
    return RunningTask(
        task_arn=task["taskArn"],
        task_definition=task["taskDefinitionArn"].rpartition("/")[2],
        status=task["lastStatus"],
        created_at=created,
        started_at=task.get("startedAt"),
        cpu=task.get("cpu", ""),
        memory=task.get("memory", ""),
        architecture=architecture,
        capacity=description.capacity_provider,
        zone=task.get("availabilityZone", ""),
        public_ip=address,
        private_ip=description.private_ip,
        tags=tags,
        run=run,
        scene=tags.get(SCENE_TAG, ""),
        owner=_owner(tags, run, active_runs),
        age_seconds=max(0.0, usage.last_seen_at - usage.created_at),
        billed_seconds=seconds,
        usd=usd_amount(seconds * usage.usd_per_second),
        price_assumed=not prices.has_region(region, architecture=architecture),
    )


def _owner(tags: Mapping[str, str], run: str, active_runs: Mapping[str, bool]) -> TaskOwner:
    if tags.get(CREATED_BY_TAG) != CREATED_BY:
        return TaskOwner.FOREIGN
    if run not in active_runs:
        return TaskOwner.OTHER_MACHINE
    return TaskOwner.ACTIVE if active_runs[run] else TaskOwner.ORPHAN


def _architecture(task: Mapping[str, Any]) -> str:
    attributes = {entry.get("name"): entry.get("value") for entry in task.get("attributes", ())}
    return "ARM64" if attributes.get("ecs.cpu-architecture") == "arm64" else "X86_64"


async def find_orphans(aws: AWSClient, cluster: str, run: str) -> dict[TaskId, Description]:
    """Return the running tasks of a run, and the stopped tasks of the run that AWS still lists."""
    tag = started_by(run)
    arns = await list_task_arns(aws, cluster, started_by=tag)
    try:
        arns += await list_task_arns(aws, cluster, stopped=True, started_by=tag)
    except AWSError as exc:  # the recovery describes known tasks one by one
        logger.warning("the stopped tasks of run %s could not be listed: %s", run, exc)
    arns = list(dict.fromkeys(arns))  # a task may stop between the two calls
    described = {str(task["taskArn"]): task for task in await describe_tasks(aws, cluster, arns)}
    return {TaskId(arn): described.get(arn) for arn in arns if _is_ours(described.get(arn))}


def _is_ours(task: Description) -> bool:
    if task is None or task.get("desiredStatus") == "STOPPED":
        return True  # a task gets its tags after its creation and loses them with its stop
    tags = {tag["key"]: tag.get("value") for tag in task.get("tags", ())}
    return tags.get(CREATED_BY_TAG) == CREATED_BY


def adoptable_secrets(
    task: Description, definition: TaskDefinition, sizes: Container[tuple[float, float]]
) -> Secrets | None:
    """Return the secrets with which to adopt a task; ``None`` if the task can only be stopped.

    A task can be adopted if its key is known and it has the task definition and one of the sizes of
    new tasks. Tasks with the public image cannot be adopted, because that image cannot discard the
    jobs of another process.
    """
    if task is None or definition.protocol is not Protocol.NATIVE:
        return None
    if task.get("taskDefinitionArn") != definition.arn:
        return None
    description = parse_task_description(task)
    if (description.vcpu, description.memory_gb) not in sizes:
        return None
    secrets = secrets_of(task, definition.container)
    return secrets if secrets.key else None


async def find_final_usages(settings: Settings, usages: Mapping[str, Usage]) -> dict[str, Usage]:
    """Return the final usage of each task that AWS reports as stopped, with one request for 100.

    Tasks that have not stopped yet, or that AWS has forgotten, are left out. So are the tasks of a
    cluster that cannot be read, for which a warning is logged.

    Raises:
        CredentialsError: The profile does not exist, or the configuration of boto is wrong.
    """
    places = defaultdict[tuple[str, str], list[str]](list)
    for task in usages:
        if (found := _TASK_ARN.fullmatch(task)) is not None:
            places[found["region"], found["cluster"]].append(task)
    final = dict[str, Usage]()
    async with open_aws(settings) as aws:
        for (region, cluster), tasks in places.items():
            try:
                for each in await describe_tasks(aws, cluster, tasks, in_region=region):
                    arn, description = each["taskArn"], parse_task_description(each)
                    if (stopped_at := description.stopped_at) is not None:
                        final[arn] = replace(
                            usages[arn],
                            pull_started_at=description.pull_started_at,
                            last_seen_at=max(usages[arn].last_seen_at, stopped_at),
                            stopped_at=stopped_at,
                        )
            except CloudburstError as exc:
                logger.warning("%s: stopped tasks cannot be described: %s", cluster, exc)
    return final
