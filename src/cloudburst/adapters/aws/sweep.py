"""The tasks that run in a cluster, whoever started them, and how to stop them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from anyio import create_task_group

from cloudburst.adapters.aws.network import public_addresses
from cloudburst.adapters.aws.session import AWS
from cloudburst.adapters.aws.sight import sight
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.ledger import seconds_billed
from cloudburst.errors import AccessDeniedError
from cloudburst.models.prices import PriceTable
from cloudburst.models.running import RunningTask, Whose
from cloudburst.models.task import Usage

logger = logging.getLogger(__name__)

CREATED_BY, RUN, SCENE = "CreatedBy", "cloudburst:run", "Scene"
OURS = "animagent"
"""What ``CreatedBy`` says on every task of ours, and of the old client's."""
STARTED_BY = "cloudburst/"
"""Begins ``startedBy``; the run follows."""
BATCH = 100
"""ARNs in one DescribeTasks: "DescribeTasks" in the ECS API reference (2026-11)."""

_EXACT = Decimal("1e-12")
"""As in the engine's ledger: amounts are multiples of this, so that sums of them are exact."""


async def listed(
    aws: AWS, cluster: str, *, stopped: bool = False, started_by: str | None = None
) -> list[str]:
    """The ARNs of all tasks that nobody has stopped.

    Args:
        aws: Account and region.
        cluster: Name or ARN.
        stopped: Those that were stopped within the last hour or so, in place of the others.
        started_by: Those with this ``startedBy`` only.
    """
    wanted = {"desiredStatus": "STOPPED" if stopped else "RUNNING"}
    if started_by is not None:
        wanted["startedBy"] = started_by
    return await aws.pages("ecs", "list_tasks", "taskArns", cluster=cluster, **wanted)


async def described(aws: AWS, cluster: str, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """The tasks that are there, with their tags; ``tasks`` are ARNs or ids, any number."""
    batches = [tasks[at : at + BATCH] for at in range(0, len(tasks), BATCH)]
    answers: list[list[dict[str, Any]]] = [[] for _ in batches]

    async def describe(place: int, batch: Sequence[str]) -> None:
        answer = await aws.call(
            "ecs", "describe_tasks", cluster=cluster, tasks=list(batch), include=["TAGS"]
        )
        answers[place] = answer["tasks"]

    with unwrapped():
        async with create_task_group() as group:
            for place, batch in enumerate(batches):
                group.start_soon(describe, place, batch)
    return [task for answer in answers for task in answer]


async def addresses_of(aws: AWS, tasks: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Public address by network interface; nothing where we may not ask EC2."""
    interfaces = [eni for task in tasks if (eni := sight(task).interface) is not None]
    try:
        return await public_addresses(aws, interfaces)
    except AccessDeniedError as exc:
        logger.warning("public addresses are not told: %s", exc)
        return {}


def running_task(
    task: Mapping[str, Any],
    *,
    region: str,
    prices: PriceTable,
    alive: Mapping[str, bool],
    addresses: Mapping[str, str] | None,
) -> RunningTask:
    """What DescribeTasks tells of a task, with what it has cost so far.

    Args:
        task: As DescribeTasks tells it.
        region: Where it runs.
        prices: List prices.
        alive: The runs of this machine, and whether their processes live.
        addresses: Public addresses by network interface. ``None``: nobody asked, and one is
            counted for each task.
    """
    seen = sight(task)
    tags = {tag["key"]: tag.get("value", "") for tag in task.get("tags", ())}
    run = tags.get(RUN) or _started_by(task)
    architecture = _architecture(task)
    address = (addresses or {}).get(seen.interface or "")
    usage = Usage(
        rates=prices.rates(region, architecture=architecture, capacity=seen.capacity),
        vcpu=seen.vcpu,
        memory_gb=seen.memory_gb,
        extra_disk_gb=seen.extra_disk_gb,
        public_ipv4=address is not None or addresses is None,
        created=task["createdAt"].timestamp(),
        pull_started=seen.pull_started,
        seen=time.time(),
    )
    seconds = seconds_billed(usage)
    return RunningTask(
        task_arn=task["taskArn"],
        task_definition=task["taskDefinitionArn"].rpartition("/")[2],
        status=task["lastStatus"],
        created_at=task["createdAt"],
        started_at=task.get("startedAt"),
        cpu=task.get("cpu", ""),
        memory=task.get("memory", ""),
        architecture=architecture,
        capacity=seen.capacity,
        zone=task.get("availabilityZone", ""),
        public_ip=address,
        private_ip=seen.private,
        tags=tags,
        run=run,
        scene=tags.get(SCENE, ""),
        whose=_whose(tags, run, alive),
        age=max(0.0, usage.seen - usage.created),
        seconds=seconds,
        usd=(seconds * usage.usd_per_second).quantize(_EXACT),
        assumed=not prices.knows(region, architecture=architecture),
    )


def _whose(tags: Mapping[str, str], run: str, alive: Mapping[str, bool]) -> Whose:
    if tags.get(CREATED_BY) != OURS:
        return Whose.FOREIGN
    if run not in alive:
        return Whose.ELSEWHERE
    return Whose.ALIVE if alive[run] else Whose.DEAD


def _started_by(task: Mapping[str, Any]) -> str:
    started_by: str = task.get("startedBy", "")
    return started_by.removeprefix(STARTED_BY) if started_by.startswith(STARTED_BY) else ""


def _architecture(task: Mapping[str, Any]) -> str:
    attributes = {entry["name"]: entry.get("value") for entry in task.get("attributes", ())}
    return "ARM64" if attributes.get("ecs.cpu-architecture") == "arm64" else "X86_64"
