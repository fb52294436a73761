"""Tasks in a cluster: their list, their descriptions and their cost so far."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.fargate.run_task import (
    CREATED_BY,
    CREATED_BY_TAG,
    RUN_TAG,
    SCENE_TAG,
    STARTED_BY_PREFIX,
)
from cloudburst.aws.fargate.task_description import parse_task_description
from cloudburst.models.account_tasks import RunningTask, TaskOwner
from cloudburst.models.billing import seconds_billed, usd_amount
from cloudburst.models.prices import PriceTable
from cloudburst.models.task import Usage

MAX_DESCRIBED_TASKS = 100
"""Maximum number of tasks in one DescribeTasks: "DescribeTasks" in the ECS API reference
(2026-11)."""
MAX_STOP_REASON_LENGTH = 1024
"""Maximum length of the reason of a StopTask, in characters. The ECS API reference names no limit;
the ECS agent cuts off the reasons that it reports after the same number of characters
(``ecsMaxTaskReasonLength`` in https://github.com/aws/amazon-ecs-agent, 2026-11)."""


async def list_task_arns(
    aws: AWSClient, cluster: str, *, stopped: bool = False, started_by: str | None = None
) -> list[str]:
    """Return the ARNs of tasks in a cluster: by default, of those whose stop was not requested.

    Args:
        aws: Client of the account and region.
        cluster: Name or ARN of the cluster.
        stopped: True for the tasks whose stop was requested, until about an hour after they
            stopped.
        started_by: ``startedBy`` of the tasks to return; ``None`` for any value.

    Raises:
        CloudburstError: AWS refuses a call or does not answer; see `AWSClient.call`.
    """
    filters = {"desiredStatus": "STOPPED" if stopped else "RUNNING"}
    if started_by is not None:
        filters["startedBy"] = started_by
    return await aws.collect_pages("ecs", "list_tasks", "taskArns", cluster=cluster, **filters)


async def describe_tasks(
    aws: AWSClient, cluster: str, tasks: Sequence[str], *, in_region: str | None = None
) -> list[dict[str, Any]]:
    """Return the descriptions of the tasks that exist, with their tags.

    Args:
        aws: Client of the account and region.
        cluster: Name or ARN of the cluster.
        tasks: ARNs or ids of any number of tasks.
        in_region: Region of the cluster; ``None`` for the client's region.

    Raises:
        CloudburstError: AWS refuses a call or does not answer; see `AWSClient.call`.
    """
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

    Args:
        task: Description by DescribeTasks.
        region: Region of the task.
        prices: List prices.
        active_runs: For each run that is registered on this machine, whether its process is
            running.
        addresses: Public addresses by network interface; ``None`` if they were not looked up. In
            that case, the cost of each task includes a public address.
    """
    description = parse_task_description(task)
    # AWS need not show the time of creation of a task that is PROVISIONING.
    created: dt.datetime = task.get("createdAt") or dt.datetime.now(dt.UTC)
    tags = {tag["key"]: tag.get("value", "") for tag in task.get("tags", ())}
    run = tags.get(RUN_TAG) or _run_of_started_by(task)
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


def _run_of_started_by(task: Mapping[str, Any]) -> str:
    started_by: str = task.get("startedBy", "")
    is_run = started_by.startswith(STARTED_BY_PREFIX)
    return started_by.removeprefix(STARTED_BY_PREFIX) if is_run else ""


def _architecture(task: Mapping[str, Any]) -> str:
    attributes = {entry.get("name"): entry.get("value") for entry in task.get("attributes", ())}
    return "ARM64" if attributes.get("ecs.cpu-architecture") == "arm64" else "X86_64"
