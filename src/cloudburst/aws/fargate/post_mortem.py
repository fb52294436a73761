"""Post-mortem of a Fargate task: what ECS and CloudWatch Logs know of it, without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import anyio

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_list, get_structure
from cloudburst.aws.fargate.run_task import secrets_of
from cloudburst.aws.fargate.task_definition import TaskDefinition
from cloudburst.aws.fargate.task_description import failure_of, parse_task_description
from cloudburst.aws.fargate.task_logs import ContainerLog, LogReader
from cloudburst.errors import AccessDeniedError, CloudburstError
from cloudburst.models.post_mortem_page import MAX_OUTPUT_LINES, build_page
from cloudburst.redaction import hide_secrets, redact

# Maximum seconds to wait until a task has stopped, because ECS shows exit codes only then.
STOP_WAIT_TIMEOUT = 3.0
STOP_POLL_INTERVAL = 0.5
"""Seconds between two calls of DescribeTasks while a task stops."""
OWN_STOP_PREFIX = "cloudburst: "
"""Beginning of the reason of a stop that the engine requested."""
# Labels on the post-mortem page for the times in ECS's description of a task.
_TIME_LABELS = {
    "createdAt": "created",
    "pullStartedAt": "image pull began",
    "pullStoppedAt": "image pull ended",
    "startedAt": "ran",
    "stoppingAt": "began to stop",
    "stoppedAt": "stopped",
}


async def build_post_mortem(
    aws: AWSClient, *, cluster: str, definition: TaskDefinition, task: str
) -> str | None:
    """Return the post-mortem page of a task; ``None`` if AWS does not know the task any more."""
    described = await _describe_stopped(aws, cluster, task)
    if described is None:
        return None
    secrets = secrets_of(described, definition.container)
    hide_secrets(secrets.key, secrets.certificate, secrets.private_key)
    lines = await _last_lines(aws, definition, task)
    by_us = str(described.get("stoppedReason", "")).startswith(OWN_STOP_PREFIX)
    text = build_page(
        task.rpartition("/")[2],
        # ECS's reason of a stop by the engine itself explains no failure.
        failure=None if by_us else failure_of(described, definition.containers),
        facts=_facts(described, definition),
        lines=lines,
        more={
            "As ECS described it": json.dumps(
                _without_overrides(described), indent=1, default=_format
            )
        },
    )
    return redact(text)


async def _describe_stopped(aws: AWSClient, cluster: str, task: str) -> Mapping[str, Any] | None:
    """Return a task's description, if possible after its stop; ``None`` if ECS knows no task."""
    described: Mapping[str, Any] | None = None
    with anyio.move_on_after(STOP_WAIT_TIMEOUT):
        while described is None or described["lastStatus"] != "STOPPED":
            response = await aws.call("ecs", "describe_tasks", cluster=cluster, tasks=[task])
            if not response["tasks"]:
                return described
            described = response["tasks"][0]
            if described is not None and described["lastStatus"] != "STOPPED":
                await anyio.sleep(STOP_POLL_INTERVAL)
    return described


def _facts(task: Mapping[str, Any], definition: TaskDefinition) -> dict[str, object]:
    description = parse_task_description(task, containers=definition.containers)
    stopped = task["lastStatus"] == "STOPPED"
    times = {label: time for name, label in _TIME_LABELS.items() if (time := task.get(name))}
    size = f"{description.vcpu:g} vCPU, {description.memory_gb:g} GB"
    return {
        "state": "" if stopped else f"{task['lastStatus']}: it had not stopped yet",
        "reason": description.reason,
        "stop code": description.stop_code,
        "size": f"{size}, {description.capacity_provider}",
        "zone": task.get("availabilityZone", ""),
        "image": definition.image,
        "task definition": definition.arn,
        "started by": task.get("startedBy", ""),
        **{label: _format(time) for label, time in times.items()},
    }


async def _last_lines(aws: AWSClient, definition: TaskDefinition, task: str) -> Sequence[str] | str:
    if definition.assumed:
        return "The log group is unknown: the credentials lack ecs:DescribeTaskDefinition."
    if not (definition.log_group and definition.log_prefix):
        return "The task definition sends no lines to CloudWatch Logs."
    stream = f"{definition.log_prefix}/{definition.container}/{task.rpartition('/')[2]}"
    log = ContainerLog(container=definition.container, group=definition.log_group, stream=stream)
    try:
        lines = await LogReader(aws, [log]).read_last(MAX_OUTPUT_LINES)
    except AccessDeniedError as exc:
        return f"The credentials may not read them (logs:GetLogEvents): {exc}"
    except CloudburstError as exc:
        return f"They could not be read: {exc}"
    texts = [f"{line.time:%H:%M:%S} {line.text}" for line in lines]
    return texts or f"There are none in {log.group}, stream {stream}."


def _without_overrides(task: Mapping[str, Any]) -> dict[str, Any]:
    # The values of variables and the commands in overrides may be secrets.
    overrides = get_structure(task, "overrides")
    containers = [
        {
            "name": override.get("name"),
            "environment": [variable.get("name") for variable in get_list(override, "environment")],
        }
        for override in get_list(overrides, "containerOverrides")
    ]
    sizes = {name: overrides[name] for name in ("cpu", "memory") if name in overrides}
    return {**task, "overrides": {**sizes, "containerOverrides": containers}}


def _format(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S %Z}" if isinstance(value, datetime) else str(value)
