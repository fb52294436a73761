"""Descriptions of tasks in the format of the ECS API."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.task_state import Task

CONTAINER_STATES = {
    "PROVISIONING": "PENDING",
    "PENDING": "PENDING",
    "ACTIVATING": "PENDING",
    "DEPROVISIONING": "STOPPED",
    "STOPPED": "STOPPED",
}
ATTACHMENT_STATES = {"DEPROVISIONING": "DETACHING", "STOPPED": "DELETED"}
# Time at the start of PROVISIONING during which a task is described without containers and without
# attachment: as a fraction of PROVISIONING, and its maximum in seconds. AWS does the same:
# https://github.com/apache/airflow/issues/51429. Afterwards, the attachment is PRECREATED.
BARE_SHARE, MAX_BARE_SECONDS = 0.2, 1.0
# Names of the fields of `Task` that contain times, by name of the member in the ECS API.
TIME_MEMBERS = {
    "pullStartedAt": "pull_started",
    "pullStoppedAt": "pull_stopped",
    "startedAt": "started",
    "stoppingAt": "stopping",
    "executionStoppedAt": "execution_stopped",
    "stoppedAt": "stopped",
}


def ecs_task(
    task: Task, spec: LaunchSpec, config: EmulatorConfig, *, tags: bool = False
) -> dict[str, Any]:
    """Return a task in the format of the ECS API, which omits members without a value."""
    prefix = f"arn:aws:ecs:{config.region}:{config.account}:"
    bare = time.time() < task.created + min(BARE_SHARE * config.provisioning, MAX_BARE_SECONDS)
    shown: dict[str, Any] = {
        "taskArn": task.arn,
        "clusterArn": f"{prefix}cluster/{task.cluster}",
        "taskDefinitionArn": spec.definition["taskDefinitionArn"],
        "lastStatus": task.last_status,
        "desiredStatus": task.desired_status,
        "launchType": "FARGATE",
        "availabilityZone": spec.network.zone,
        "attachments": [] if bare else [_attachment(task, spec)],
        "attributes": [{"name": "ecs.cpu-architecture", "value": spec.architecture.lower()}],
        "containers": []
        if bare
        else [
            *(_container(container, task, spec) for container in spec.containers),
            *(_foreign(*item, task) for item in config.foreign_containers.items()),
        ],
        "cpu": str(spec.cpu),
        "memory": str(spec.memory_mb),
        "ephemeralStorage": {"sizeInGiB": spec.disk_gib},
        "group": spec.group,
        "overrides": {"containerOverrides": [], **spec.overrides},
        "healthStatus": _health(task),
        "createdAt": task.created,
        "startedBy": task.started_by,
        "capacityProviderName": spec.provider,
        "stopCode": task.stop_code,
        "stoppedReason": task.stopped_reason,
        **{name: getattr(task, fact) for name, fact in TIME_MEMBERS.items()},
        "tags": [{"key": k, "value": v} for k, v in task.tags.items()] if tags else [],
    }
    return {name: value for name, value in shown.items() if value is not None}


def _attachment(task: Task, spec: LaunchSpec) -> dict[str, Any]:
    status = ATTACHMENT_STATES.get(task.last_status, "ATTACHED" if task.interface else "PRECREATED")
    return {
        "id": attachment_id(task),
        "type": "ElasticNetworkInterface",
        "status": status,
        "details": [{"name": n, "value": v} for n, v in _details(task, spec)],
    }


def _details(task: Task, spec: LaunchSpec) -> Iterator[tuple[str, str]]:
    yield "subnetId", spec.network.subnet
    if task.interface and (address := task.private_address):
        yield "networkInterfaceId", task.interface
        yield "privateIPv4Address", address


def attachment_id(task: Task) -> str:
    """Return the UUID of a task's network attachment, which is derived from the task's id."""
    return "-".join((task.id[:8], task.id[8:12], task.id[12:16], task.id[16:20], task.id[20:]))


def _container(container: Mapping[str, Any], task: Task, spec: LaunchSpec) -> dict[str, Any]:
    name = container["name"]
    is_main = name == spec.main
    status = CONTAINER_STATES.get(task.last_status, "RUNNING")
    if name in task.exit_codes or (task.last_status == "STOPPING" and name not in task.pids):
        status = "STOPPED"
    shown: dict[str, Any] = {
        "name": name,
        "image": container.get("image", ""),
        "lastStatus": status,
        "healthStatus": _health(task) if is_main else "UNKNOWN",
        "exitCode": task.exit_codes.get(name),
        "reason": task.container_reason if is_main else None,
    }
    return {member: value for member, value in shown.items() if value is not None}


def _foreign(name: str, end: str | int, task: Task) -> dict[str, Any]:
    stopped = task.last_status in {"DEPROVISIONING", "STOPPED"}
    shown: dict[str, Any] = {
        "name": name,
        "lastStatus": "STOPPED" if stopped or isinstance(end, str) else "RUNNING",
    }
    if isinstance(end, str):
        return shown | ({"reason": end} if task.pull_started else {})
    return shown | ({"exitCode": end} if stopped else {})


def _health(task: Task) -> str:
    return {None: "UNKNOWN", True: "HEALTHY", False: "UNHEALTHY"}[task.healthy]
