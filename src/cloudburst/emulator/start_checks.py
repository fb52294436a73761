"""Checks that a task passes before it starts: roles, capacity, image, logs and injected faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.emulator.capacity import capacity_stop_reason
from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.emulator.policies import Access
from cloudburst.emulator.roles import named_roles
from cloudburst.net.registry.names import ImageReference

if TYPE_CHECKING:
    from cloudburst.emulator.shared_state import SharedState

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from cloudburst.emulator.config import EmulatorConfig

ECR_PATTERN = re.compile(r"\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
DOCKER_PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}

# Stopped reason of a task whose image does not exist for its architecture:
# https://github.com/aws/containers-roadmap/issues/1120.
NO_PLATFORM = (
    "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does "
    "not contain descriptor matching platform '{platform}'"
)
# Stopped reason of a task that cannot reach the registry of its image: "Amazon ECS stopped task
# error messages" in the ECS developer guide.
NO_REGISTRY = (
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve "
    'ref {image}: failed to do request: Head "https://{registry}/v2/": dial tcp: i/o timeout'
)
# Stopped reason of a task that cannot reach ECR to log in: "Amazon ECS stopped task error messages"
# in the ECS developer guide.
NO_LOGIN = (
    "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull "
    "registry auth from Amazon ECR: There is a connection issue between the task and Amazon ECR. "
    'Check your task network configuration. RequestError: send request failed caused by: Post "'
    'https://api.ecr.{region}.amazonaws.com/": dial tcp: i/o timeout'
)
# Stopped reason of a task that cannot reach CloudWatch Logs: "Amazon ECS stopped task error
# messages" in the ECS developer guide.
NO_LOGS = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried "
    "1 times: failed to create Cloudwatch log stream: RequestError: send request failed caused by: "
    'Post "https://logs.{region}.amazonaws.com/": dial tcp: i/o timeout'
)


def image_failure(spec: LaunchSpec, config: EmulatorConfig) -> str | None:
    """Return the reason why a task cannot pull its images, or ``None``."""
    for container in spec.containers:
        image = str(container.get("image", ""))
        if not spec.network.internet:
            return _unreached(image, config)
        if spec.architecture not in _architectures(image, config):
            return NO_PLATFORM.format(platform=DOCKER_PLATFORMS[spec.architecture])
    return None


def _unreached(image: str, config: EmulatorConfig) -> str:
    registry = ImageReference.split(image).registry
    ecr = ECR_PATTERN.fullmatch(registry)
    if ecr and ecr[1] == config.region:
        return NO_LOGIN.format(region=config.region)
    return NO_REGISTRY.format(image=image, registry=registry)


def _architectures(image: str, config: EmulatorConfig) -> Collection[str]:
    for pattern, architectures in config.image_platforms.items():
        if fnmatchcase(image, pattern):
            return architectures
    return tuple(DOCKER_PLATFORMS)


# Stopped reason of a task whose image does not exist: "Amazon ECS stopped task error messages" in
# the ECS developer guide (2026-11).
NO_IMAGE = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
    "failed to resolve ref {image}: not found"
)
# Stopped reason of a task that gets no network interface: "Amazon ECS stopped task error messages"
# in the ECS developer guide (2026-11).
NO_INTERFACE = "Timeout waiting for network interface provisioning to complete."
# Stopped reason of a task whose log group does not exist: "Amazon ECS stopped task error messages"
# in the ECS developer guide (2026-11).
NO_LOG_GROUP = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried "
    "1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified "
    "log group does not exist."
)

# Stopped reasons of a task whose execution role lacks a permission, by action:
# https://github.com/artilleryio/artillery/issues/2194, https://github.com/aws/aws-cdk/issues/32877,
# and "Amazon ECS stopped task error messages" in the ECS developer guide (2026-11).
ROLE_REFUSALS = {
    "ecr:GetAuthorizationToken": "ResourceInitializationError: unable to pull secrets or registry "
    "auth: execution resource retrieval failed: unable to retrieve ecr registry auth: service call "
    "has been retried 1 time(s): AccessDeniedException: {refusal} status code: 400",
    "ecr:BatchGetImage": "CannotPullContainerError: pull image manifest has been retried 1 time(s):"
    " failed to resolve ref {resource}: failed with status code [manifests]: 403 Forbidden",
    "logs:CreateLogStream": "ResourceInitializationError: failed to validate logger args: create "
    "stream has been retried 1 times: failed to create Cloudwatch log stream: "
    "AccessDeniedException: {refusal} status code: 400",
}


def reason_before_pull(spec: LaunchSpec, fault: TaskFault, shared: SharedState) -> str | None:
    """Return the reason why a task stops while PROVISIONING, or ``None``."""
    if fault.no_network_interface:
        return NO_INTERFACE
    return capacity_stop_reason(spec, shared.config) or shared.roles.start_failure(
        spec.definition, spec.overrides
    )


def reason_after_pull(
    spec: LaunchSpec, fault: TaskFault, task: str, shared: SharedState
) -> str | None:
    """Return the reason why the image of a task cannot be pulled, or ``None``.

    This includes all permissions that the execution role lacks, also those for logs.
    """
    image = str(spec.main_container.get("image", ""))
    if fault.image_missing:
        return NO_IMAGE.format(image=image)
    if fault.registry_unreachable:
        registry = ImageReference.split(image).registry
        return NO_REGISTRY.format(image=image, registry=registry)
    return image_failure(spec, shared.config) or _role_refusal(spec, task, shared)


def reason_at_start(
    spec: LaunchSpec, fault: TaskFault, task: str, shared: SharedState
) -> str | None:
    """Return the reason why the containers of a task cannot be started, or ``None``."""
    if fault.stopped_reason is not None:
        return fault.stopped_reason
    logs = list(spec.logs(task))
    if logs and not spec.network.internet:
        return NO_LOGS.format(region=shared.config.region)
    return None if all(shared.logs.open_stream(log) for log in logs) else NO_LOG_GROUP


def _role_refusal(spec: LaunchSpec, task: str, shared: SharedState) -> str | None:
    place = f"{shared.config.region}:{shared.config.account}"
    stream = f"arn:aws:logs:{place}:log-group:{{0.group}}:log-stream:{{0.stream}}"
    images = [ImageReference.split(str(one.get("image", ""))) for one in spec.containers]
    pulled = [one.repository for one in images if ECR_PATTERN.fullmatch(one.registry)]
    needed = [
        *[("ecr:GetAuthorizationToken", "*") for _ in pulled],
        *[("ecr:BatchGetImage", f"arn:aws:ecr:{place}:repository/{name}") for name in pulled],
        *[("logs:CreateLogStream", stream.format(log)) for log in spec.logs(task)],
    ]
    role = next(iter(named_roles({**spec.definition, **spec.overrides})), "")
    for action, resource in needed:
        access = Access(action=action, resource=resource)
        if refused := shared.roles.refusal(role, task, access):
            return ROLE_REFUSALS[action].format(refusal=refused, resource=resource)
    return None
