"""Checks whether a task can pull its images."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.launch_spec import LaunchSpec
from cloudburst.net.registry.names import ImageReference

ECR_PATTERN = re.compile(r"\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
DOCKER_PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}

NO_PLATFORM = (
    "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does "
    "not contain descriptor matching platform '{platform}'"
)
"""Stopped reason of a task whose image does not exist for its architecture:
https://github.com/aws/containers-roadmap/issues/1120."""
NO_REGISTRY = (
    "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve "
    'ref {image}: failed to do request: Head "https://{registry}/v2/": dial tcp: i/o timeout'
)
"""Stopped reason of a task that cannot reach the registry of its image: "Amazon ECS stopped task
error messages" in the ECS developer guide."""
NO_LOGIN = (
    "ResourceInitializationError: unable to pull secrets or registry auth: The task cannot pull "
    "registry auth from Amazon ECR: There is a connection issue between the task and Amazon ECR. "
    'Check your task network configuration. RequestError: send request failed caused by: Post "'
    'https://api.ecr.{region}.amazonaws.com/": dial tcp: i/o timeout'
)
"""Stopped reason of a task that cannot reach ECR to log in: "Amazon ECS stopped task error
messages" in the ECS developer guide."""
NO_LOGS = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried "
    "1 times: failed to create Cloudwatch log stream: RequestError: send request failed caused by: "
    'Post "https://logs.{region}.amazonaws.com/": dial tcp: i/o timeout'
)
"""Stopped reason of a task that cannot reach CloudWatch Logs: "Amazon ECS stopped task error
messages" in the ECS developer guide."""


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
