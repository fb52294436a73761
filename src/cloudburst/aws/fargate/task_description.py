"""State of an ECS task, parsed from a description in a response of DescribeTasks or RunTask."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.client.responses import get_list, get_structure
from cloudburst.models.failures import classify_stop
from cloudburst.models.failures.failure import Failure
from cloudburst.models.prices import extra_disk_gb
from cloudburst.models.task import TaskState

_TIME_MEMBERS = (
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
class TaskDescription:
    """The parts of a task's description by ECS that launches, workers and bills need.

    Times are seconds since the epoch, on the clock of AWS.
    """

    state: TaskState
    stop_announced: bool
    """True if the task has not stopped yet and ECS is going to stop it."""
    reason: str
    """Reason of the stop, with the exit codes of the containers; empty if there is none."""
    stop_code: str
    failure: Failure | None
    """Row of the failure table that explains the stop; ``None`` before the stop begins."""
    network_interface: str | None
    """Id of the network interface, which ECS creates before it pulls the image; ``None`` until
    then."""
    private_ip: str | None
    capacity_provider: str
    """``FARGATE`` or ``FARGATE_SPOT``."""
    vcpu: float
    memory_gb: float
    extra_disk_gb: int
    """Ephemeral storage in GB that is billed, beyond the GB that are free of charge."""
    created_at: float | None
    pull_started_at: float | None
    stopped_at: float | None
    latest_time: float | None
    """Latest time in the description; ``None`` if it has no times. AWS's clock showed this time or
    a later one when AWS responded."""


def parse_task_description(
    task: Mapping[str, Any], *, containers: Container[str] | None = None
) -> TaskDescription:
    """Return the state of a task from its description by DescribeTasks or RunTask."""
    stopped = task["lastStatus"] == "STOPPED"
    times = {name: task[name].timestamp() for name in _TIME_MEMBERS if task.get(name)}
    interface = _network_interface(task)
    return TaskDescription(
        state=_task_state(task["lastStatus"]),
        stop_announced=not stopped and task.get("desiredStatus") == "STOPPED",
        reason=_stop_reason(task, containers),
        stop_code=str(task.get("stopCode", "")),
        failure=failure_of(task, containers),
        network_interface=interface.get("networkInterfaceId"),
        private_ip=interface.get("privateIPv4Address"),
        capacity_provider=str(task.get("capacityProviderName") or "FARGATE"),
        vcpu=int(task.get("cpu") or 0) / 1024,
        memory_gb=int(task.get("memory") or 0) / 1024,
        extra_disk_gb=extra_disk_gb(get_structure(task, "ephemeralStorage").get("sizeInGiB")),
        created_at=times.get("createdAt"),
        pull_started_at=times.get("pullStartedAt"),
        stopped_at=times.get("stoppedAt", times.get("executionStoppedAt")) if stopped else None,
        latest_time=max(times.values(), default=None),
    )


def failure_of(task: Mapping[str, Any], containers: Container[str] | None = None) -> Failure | None:
    """Return the row of the failure table for a task's stop; ``None`` before the stop begins.

    Containers that are not among ``containers`` do not count.
    """
    if not any(task.get(name) for name in ("stopCode", "stoppedReason")):
        return None
    described = _containers(task, containers)
    reasons = (task.get("stoppedReason"), *(container.get("reason") for container in described))
    return classify_stop(
        str(task.get("stopCode", "")),
        [str(reason) for reason in reasons if reason],
        [container["exitCode"] for container in described if container.get("exitCode") is not None],
    )


def _task_state(last_status: str) -> TaskState:
    match last_status:
        case "PROVISIONING" | "PENDING" | "ACTIVATING":
            return TaskState.STARTING
        case "STOPPED":
            return TaskState.STOPPED
        case _:  # also DEACTIVATING, STOPPING and DEPROVISIONING, in which the task may still run
            return TaskState.RUNNING


def _network_interface(task: Mapping[str, Any]) -> Mapping[str, str]:
    for attachment in get_list(task, "attachments"):
        if attachment.get("type") == "ElasticNetworkInterface":
            return {
                detail["name"]: detail["value"]
                for detail in get_list(attachment, "details")
                if detail.get("name") and detail.get("value")
            }
    return {}


def _containers(task: Mapping[str, Any], names: Container[str] | None) -> list[Mapping[str, Any]]:
    # AWS adds containers to those of the task definition, such as the agent of GuardDuty.
    described = get_list(task, "containers")
    return [one for one in described if names is None or one.get("name", "") in names]


def _stop_reason(task: Mapping[str, Any], containers: Container[str] | None) -> str:
    parts: list[str] = [task["stoppedReason"]] if task.get("stoppedReason") else []
    for container in _containers(task, containers):
        details: list[str] = []
        if container.get("exitCode") is not None:
            details.append(f"exit code {container['exitCode']}")
        if container.get("reason") and container["reason"] not in parts:
            details.append(container["reason"])
        if details:
            parts.append(f"{container.get('name', '?')}: {', '.join(details)}")
    if parts and (code := task.get("stopCode")):
        parts[0] = f"{parts[0]} ({code})"
    return "; ".join(parts)
