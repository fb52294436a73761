"""What one look at a task tells. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloudburst.adapters.aws.shapes import listed, member
from cloudburst.models.failures import Failure, of_stop
from cloudburst.models.task import TaskState

FREE_DISK = 20
"""GB of ephemeral storage that cost nothing: https://aws.amazon.com/fargate/pricing/ (2026-11)."""
_TIMES = (
    "createdAt",
    "connectivityAt",
    "pullStartedAt",
    "pullStoppedAt",
    "startedAt",
    "stoppingAt",
    "executionStoppedAt",
    "stoppedAt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A task as DescribeTasks and RunTask show it; times are seconds since the epoch."""

    state: TaskState
    leaving: bool
    """It has not stopped yet, and will be."""
    reason: str
    """Why it stops or has stopped, in plain words."""
    stop_code: str
    failure: Failure | None
    """What that means; ``None`` as long as it is not to stop."""
    interface: str | None
    """Its network interface, which it has before its image is pulled."""
    private: str | None
    """Its address inside the VPC."""
    capacity: str
    """``FARGATE`` or ``FARGATE_SPOT``."""
    vcpu: float
    memory_gb: float
    extra_disk_gb: int
    created: float | None
    pull_started: float | None
    stopped: float | None
    newest: float | None
    """AWS's clock showed no less than this when it answered."""


def sight(task: Mapping[str, Any]) -> Sight:
    """Read a task's description."""
    stopped = task["lastStatus"] == "STOPPED"
    times = {name: at.timestamp() for name, at in _times(task)}
    disk = member(task, "ephemeralStorage").get("sizeInGiB", FREE_DISK)
    details = _interface(task)
    return Sight(
        state=_state(task["lastStatus"]),
        leaving=not stopped and task.get("desiredStatus") == "STOPPED",
        reason=_reason(task),
        stop_code=str(task.get("stopCode", "")),
        failure=failure_of(task),
        interface=details.get("networkInterfaceId"),
        private=details.get("privateIPv4Address"),
        capacity=str(task.get("capacityProviderName") or "FARGATE"),
        vcpu=int(task.get("cpu") or 0) / 1024,
        memory_gb=int(task.get("memory") or 0) / 1024,
        extra_disk_gb=max(0, disk - FREE_DISK),
        created=times.get("createdAt"),
        pull_started=times.get("pullStartedAt"),
        stopped=times.get("stoppedAt", times.get("executionStoppedAt")) if stopped else None,
        newest=max(times.values(), default=None),
    )


def failure_of(task: Mapping[str, Any]) -> Failure | None:
    """What the table of failures says of the end of a task; ``None``: there is no end yet."""
    if not any(task.get(name) for name in ("stopCode", "stoppedReason")):
        return None
    containers = tuple(listed(task, "containers"))
    reasons = (task.get("stoppedReason"), *(container.get("reason") for container in containers))
    return of_stop(
        str(task.get("stopCode", "")),
        [str(reason) for reason in reasons if reason],
        [
            container["exitCode"]
            for container in containers
            if container.get("exitCode") is not None
        ],
    )


def _times(task: Mapping[str, Any]) -> Iterator[tuple[str, datetime]]:
    for name in _TIMES:
        if isinstance(at := task.get(name), datetime):
            yield name, at


def _state(last_status: str) -> TaskState:
    match last_status:
        case "PROVISIONING" | "PENDING" | "ACTIVATING":
            return TaskState.STARTING
        case "STOPPED":
            return TaskState.STOPPED
        case _:  # DEACTIVATING, STOPPING and DEPROVISIONING too: it has begun, and not stopped
            return TaskState.RUNNING


def _interface(task: Mapping[str, Any]) -> Mapping[str, str]:
    for attachment in listed(task, "attachments"):
        if attachment.get("type") == "ElasticNetworkInterface":
            return {
                detail["name"]: detail["value"]
                for detail in listed(attachment, "details")
                if detail.get("name") and detail.get("value")
            }
    return {}


def _reason(task: Mapping[str, Any]) -> str:
    """ECS's reason, and what each container says of its end."""
    parts: list[str] = [task["stoppedReason"]] if task.get("stoppedReason") else []
    for container in listed(task, "containers"):
        said: list[str] = []
        if container.get("exitCode") is not None:
            said.append(f"exit code {container['exitCode']}")
        if container.get("reason") and container["reason"] not in parts:
            said.append(container["reason"])
        if said:
            parts.append(f"{container.get('name', '?')}: {', '.join(said)}")
    if parts and (code := task.get("stopCode")):
        parts[0] = f"{parts[0]} ({code})"
    return "; ".join(parts)
