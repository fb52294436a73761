"""Checks that a task passes before it starts: roles, capacity, image, logs and injected faults."""

from __future__ import annotations

from cloudburst.emulator.capacity import capacity_stop_reason
from cloudburst.emulator.config import EmulatorConfig, TaskFault
from cloudburst.emulator.images import NO_REGISTRY, image_failure, log_failure
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.logs import CloudWatchLogs
from cloudburst.emulator.roles import Roles
from cloudburst.registry import ImageReference

NO_IMAGE = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
    "failed to resolve ref {image}: not found"
)
"""Stopped reason of a task whose image does not exist: "Amazon ECS stopped task error messages" in
the ECS developer guide (2026-11)."""
NO_INTERFACE = "Timeout waiting for network interface provisioning to complete."
"""Stopped reason of a task that gets no network interface: "Amazon ECS stopped task error messages"
in the ECS developer guide (2026-11)."""
NO_LOG_GROUP = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried "
    "1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified "
    "log group does not exist."
)
"""Stopped reason of a task whose log group does not exist: "Amazon ECS stopped task error messages"
in the ECS developer guide (2026-11)."""


def reason_before_pull(
    spec: LaunchSpec, fault: TaskFault, *, config: EmulatorConfig, roles: Roles
) -> str | None:
    """Return the reason why a task stops while PROVISIONING, or ``None``."""
    if fault.no_network_interface:
        return NO_INTERFACE
    return capacity_stop_reason(spec, config) or roles.start_failure(
        spec.definition, spec.overrides
    )


def reason_after_pull(spec: LaunchSpec, fault: TaskFault, config: EmulatorConfig) -> str | None:
    """Return the reason why the image of a task cannot be pulled, or ``None``."""
    image = str(spec.main_container.get("image", ""))
    if fault.image_missing:
        return NO_IMAGE.format(image=image)
    if fault.registry_unreachable:
        registry = ImageReference.split(image).registry
        return NO_REGISTRY.format(image=image, registry=registry)
    return image_failure(spec.definition, spec.reach, config)


def reason_at_start(
    spec: LaunchSpec, fault: TaskFault, task: str, *, config: EmulatorConfig, logs: CloudWatchLogs
) -> str | None:
    """Return the reason why the containers of a task cannot be started, or ``None``."""
    if fault.stopped_reason is not None:
        return fault.stopped_reason
    if reason := log_failure(spec.definition, spec.reach, config):
        return reason
    return None if all(logs.open_stream(log) for log in spec.logs(task)) else NO_LOG_GROUP
