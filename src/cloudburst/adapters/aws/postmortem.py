"""A post-mortem of a task on Fargate: what ECS and CloudWatch know of it, without any secret."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import anyio

from cloudburst.adapters.aws.definition import Definition
from cloudburst.adapters.aws.logs import ContainerLog, LogReader
from cloudburst.adapters.aws.redaction import clean, hide
from cloudburst.adapters.aws.runtask import secrets_of
from cloudburst.adapters.aws.session import AWS
from cloudburst.adapters.aws.shapes import listed, member
from cloudburst.adapters.aws.sight import failure_of, sight
from cloudburst.engine.postmortem import LINES, page
from cloudburst.errors import AccessDeniedError, CloudburstError

STOPPING = 3.0
"""Seconds for a task that is about to stop: only then does ECS tell how its containers ended."""
PAUSE = 0.5
OURS = "cloudburst: "
"""How the reason of a stop begins that the engine asks for."""
_TIMES = {
    "createdAt": "created",
    "pullStartedAt": "image pull began",
    "pullStoppedAt": "image pull ended",
    "startedAt": "ran",
    "stoppingAt": "began to stop",
    "stoppedAt": "stopped",
}


async def post_mortem(aws: AWS, *, cluster: str, definition: Definition, task: str) -> str | None:
    """The page; ``None`` when AWS does not know the task any more.

    Raises:
        CloudburstError: What `AWS.call` raises.
    """
    described = await _described(aws, cluster, task)
    if described is None:
        return None
    secrets = secrets_of(described, definition.container)
    hide(secrets.key, secrets.certificate, secrets.private_key)
    lines = await _lines(aws, definition, task)
    text = page(
        task.rpartition("/")[2],
        failure=None if _is_ours(described) else failure_of(described),
        facts=_facts(described, definition),
        lines=lines,
        more={"As ECS described it": json.dumps(_shown(described), indent=1, default=_plain)},
    )
    return clean(text)


async def _described(aws: AWS, cluster: str, task: str) -> Mapping[str, Any] | None:
    """As soon as it has stopped, or as it is after a while."""
    described: Mapping[str, Any] | None = None
    with anyio.move_on_after(STOPPING):
        while described is None or described["lastStatus"] != "STOPPED":
            answer = await aws.call("ecs", "describe_tasks", cluster=cluster, tasks=[task])
            if not answer["tasks"]:
                return described
            described = answer["tasks"][0]
            if described is not None and described["lastStatus"] != "STOPPED":
                await anyio.sleep(PAUSE)
    return described


def _is_ours(task: Mapping[str, Any]) -> bool:
    """Whether it was stopped by us, for it was of no use: why, ECS does not know."""
    return str(task.get("stoppedReason", "")).startswith(OURS)


def _facts(task: Mapping[str, Any], definition: Definition) -> dict[str, object]:
    seen = sight(task)
    stopped = task["lastStatus"] == "STOPPED"
    times = {told: at for name, told in _TIMES.items() if (at := task.get(name))}
    return {
        "state": "" if stopped else f"{task['lastStatus']}: it had not stopped yet",
        "reason": seen.reason,
        "stop code": seen.stop_code,
        "size": f"{seen.vcpu:g} vCPU, {seen.memory_gb:g} GB, {seen.capacity}",
        "zone": task.get("availabilityZone", ""),
        "image": definition.image,
        "task definition": definition.arn,
        "started by": task.get("startedBy", ""),
        **{name: _plain(at) for name, at in times.items()},
    }


async def _lines(aws: AWS, definition: Definition, task: str) -> Sequence[str] | str:
    """The container's last lines, or why there are none."""
    if not (definition.log_group and definition.log_prefix):
        return "Its task definition sends no lines to CloudWatch."
    stream = f"{definition.log_prefix}/{definition.container}/{task.rpartition('/')[2]}"
    log = ContainerLog(container=definition.container, group=definition.log_group, stream=stream)
    try:
        lines = await LogReader(aws, [log]).last(LINES)
    except AccessDeniedError as exc:
        return f"The credentials may not read them (logs:GetLogEvents): {exc}"
    except CloudburstError as exc:
        return f"They could not be read: {exc}"
    told = [f"{line.at:%H:%M:%S} {line.text}" for line in lines]
    return told or f"There are none in {log.group}, stream {stream}."


def _shown(task: Mapping[str, Any]) -> dict[str, Any]:
    """The description, with no more of the overrides than which variables and commands there are.

    Whatever their names are: what is given to a container by an override may be a secret.
    """
    overrides = member(task, "overrides")
    containers = [
        {
            "name": override.get("name"),
            "environment": [variable.get("name") for variable in listed(override, "environment")],
        }
        for override in listed(overrides, "containerOverrides")
    ]
    sizes = {name: overrides[name] for name in ("cpu", "memory") if name in overrides}
    return {**task, "overrides": {**sizes, "containerOverrides": containers}}


def _plain(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S %Z}" if isinstance(value, datetime) else str(value)
