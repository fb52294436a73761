"""A task as ECS describes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.facts import Task
from cloudburst.testing.emulator.orders import Orders

CONTAINER_STATES = {
    "PROVISIONING": "PENDING",
    "PENDING": "PENDING",
    "ACTIVATING": "PENDING",
    "DEPROVISIONING": "STOPPED",
    "STOPPED": "STOPPED",
}
ATTACHMENT_STATES = {"DEPROVISIONING": "DETACHING", "STOPPED": "DELETED"}
TIMES = {
    "pullStartedAt": "pull_started",
    "pullStoppedAt": "pull_stopped",
    "startedAt": "started",
    "stoppingAt": "stopping",
    "executionStoppedAt": "execution_stopped",
    "stoppedAt": "stopped",
    "connectivityAt": "pull_started",
}
"""Of ECS, by the names that facts have."""


def task_shape(
    task: Task, orders: Orders, config: EmulatorConfig, *, tags: bool = False
) -> dict[str, Any]:
    """The ``Task`` of the ECS API; members without a value are left out, as AWS does."""
    prefix = f"arn:aws:ecs:{config.region}:{config.account}:"
    overrides: dict[str, Any] = {
        "containerOverrides": [],
        "inferenceAcceleratorOverrides": [],
        **orders.overrides,
    }
    disk = {"sizeInGiB": orders.disk_gib}
    shown: dict[str, Any] = {
        "taskArn": task.arn,
        "clusterArn": f"{prefix}cluster/{task.cluster}",
        "taskDefinitionArn": orders.definition["taskDefinitionArn"],
        "lastStatus": task.last_status,
        "desiredStatus": task.desired_status,
        "launchType": orders.launch_type,
        "platformVersion": "1.4.0",
        "platformFamily": "Linux",
        "availabilityZone": orders.zone,
        "attachments": [_attachment(task, orders)],
        "attributes": [{"name": "ecs.cpu-architecture", "value": _architecture(orders)}],
        "containers": [
            _container(container, task, orders, prefix) for container in orders.containers
        ],
        "cpu": str(orders.cpu),
        "memory": str(orders.memory_mb),
        "ephemeralStorage": disk,
        "fargateEphemeralStorage": disk,
        "group": orders.group,
        "overrides": overrides,
        "healthStatus": _health(task),
        "enableExecuteCommand": orders.exec_enabled,
        "inferenceAccelerators": [],
        "createdAt": task.created,
        "version": task.version,
        "startedBy": task.started_by,
        "capacityProviderName": orders.provider,
        "connectivity": "CONNECTED" if task.pull_started else None,
        "stopCode": task.stop_code,
        "stoppedReason": task.stopped_reason,
        **{name: getattr(task, fact) for name, fact in TIMES.items()},
        "tags": [{"key": k, "value": v} for k, v in task.tags.items()] if tags else [],
    }
    return {name: value for name, value in shown.items() if value is not None}


def _attachment(task: Task, orders: Orders) -> dict[str, Any]:
    status = ATTACHMENT_STATES.get(task.last_status, "ATTACHED" if task.interface else "PRECREATED")
    return {
        "id": attachment_id(task),
        "type": "ElasticNetworkInterface",
        "status": status,
        "details": [{"name": n, "value": v} for n, v in _details(task, orders)],
    }


def _details(task: Task, orders: Orders) -> Iterator[tuple[str, str]]:
    yield "subnetId", orders.network["subnets"][0]
    if task.interface and task.address:
        yield "networkInterfaceId", task.interface
        yield "macAddress", "02:00:" + ":".join(f"{int(n):02x}" for n in task.address.split("."))
        yield "privateDnsName", f"ip-{task.address.replace('.', '-')}.ec2.internal"
        yield "privateIPv4Address", task.address


def attachment_id(task: Task) -> str:
    """A UUID that stays the same."""
    return "-".join((task.id[:8], task.id[8:12], task.id[12:16], task.id[16:20], task.id[20:]))


def _container(
    container: Mapping[str, Any], task: Task, orders: Orders, prefix: str
) -> dict[str, Any]:
    name = container["name"]
    is_main = name == orders.main
    status = CONTAINER_STATES.get(task.last_status, "RUNNING")
    if name in task.exit_codes or (task.last_status == "STOPPING" and name not in task.pids):
        status = "STOPPED"
    shown: dict[str, Any] = {
        "containerArn": f"{prefix}container/{task.cluster}/{task.id}/{name}",
        "taskArn": task.arn,
        "name": name,
        "image": container.get("image", ""),
        "lastStatus": status,
        "cpu": str(container.get("cpu", 0)),
        "healthStatus": _health(task) if is_main else "UNKNOWN",
        "networkInterfaces": [
            {"attachmentId": attachment_id(task), "privateIpv4Address": task.address}
        ]
        if task.address
        else [],
        "runtimeId": f"{task.id}-{sum(name.encode()):010d}" if task.started else None,
        "exitCode": task.exit_codes.get(name),
        "reason": task.container_reason if is_main else None,
    }
    for member in ("memory", "memoryReservation"):
        if container.get(member) is not None:
            shown[member] = str(container[member])
    return {member: value for member, value in shown.items() if value is not None}


def _health(task: Task) -> str:
    return {None: "UNKNOWN", True: "HEALTHY", False: "UNHEALTHY"}[task.healthy]


def _architecture(orders: Orders) -> str:
    platform: Mapping[str, Any] = orders.definition.get("runtimePlatform") or {}
    return "arm64" if platform.get("cpuArchitecture") == "ARM64" else "x86_64"
