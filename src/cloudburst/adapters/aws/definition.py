"""What a task definition says about the tasks that are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.adapters.aws.session import AWS
from cloudburst.adapters.aws.shapes import listed, member
from cloudburst.errors import ConfigurationError
from cloudburst.models.task import Protocol

CONTAINER = "cloudburst-processor"
"""The container that renders; in a task definition of others, any essential one with our port."""
WATCHDOG = "cloudburst-watchdog"
"""The container that only sleeps: when it ends, for it is essential, the task ends."""
PROTOCOL_LABEL = "cloudburst.protocol"
"""The docker label that says how to talk to the container; without it: onestep."""
PORT = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The parts of a task definition that matter here."""

    arn: str
    """Of the exact revision."""
    container: str
    """Name of the container that renders."""
    image: str
    port: int
    """Where it listens."""
    protocol: Protocol
    architecture: str
    """``X86_64`` or ``ARM64``."""
    watchdog: bool
    """Whether there is a container whose command is the limit of the task's life."""
    stop_timeout: int | None
    """Seconds between SIGTERM and SIGKILL; ``None``: AWS's 30."""
    log_group: str | None
    """In CloudWatch Logs; ``None``: logs go elsewhere, or nowhere."""
    log_prefix: str | None


async def describe_definition(
    aws: AWS, reference: str, *, protocol: Protocol | None = None
) -> Definition:
    """Read a task definition.

    Args:
        aws: Where it is.
        reference: A family, whose newest revision is meant, ``family:revision`` or ARN.
        protocol: In place of what the definition says.

    Raises:
        ConfigurationError: No container of it is one that renders.
        CloudburstError: What `AWS.call` raises.
    """
    answer = await aws.call("ecs", "describe_task_definition", taskDefinition=reference)
    return definition_of(answer["taskDefinition"], protocol=protocol)


def definition_of(described: Mapping[str, Any], *, protocol: Protocol | None) -> Definition:
    """The same, of a task definition as AWS describes it."""
    arn = str(described["taskDefinitionArn"])
    containers: Sequence[Mapping[str, Any]] = described["containerDefinitions"]
    ours = _ours(arn, containers)
    log = member(ours, "logConfiguration")
    to_cloudwatch = log.get("logDriver") == "awslogs"
    options: Mapping[str, Any] = member(log, "options") if to_cloudwatch else {}
    platform = member(described, "runtimePlatform")
    return Definition(
        arn=arn,
        container=str(ours["name"]),
        image=str(ours.get("image", "")),
        port=PORT if PORT in _ports(ours) else next(iter(_ports(ours)), PORT),
        protocol=protocol or _protocol(arn, ours),
        architecture=str(platform.get("cpuArchitecture") or "X86_64"),
        watchdog=any(container["name"] == WATCHDOG for container in containers),
        stop_timeout=ours.get("stopTimeout"),
        log_group=options.get("awslogs-group"),
        log_prefix=options.get("awslogs-stream-prefix"),
    )


def _ours(arn: str, containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    for container in containers:
        if container["name"] == CONTAINER:
            return container
    for container in containers:
        if container.get("essential", True) and PORT in _ports(container):
            return container
    msg = (
        f"{arn}: no container is named {CONTAINER}, and no essential one has port {PORT}: "
        "cloudburst init makes a task definition that fits"
    )
    raise ConfigurationError(msg)


def _ports(container: Mapping[str, Any]) -> list[int]:
    return [
        mapping["containerPort"]
        for mapping in listed(container, "portMappings")
        if "containerPort" in mapping
    ]


def _protocol(arn: str, container: Mapping[str, Any]) -> Protocol:
    label = member(container, "dockerLabels").get(PROTOCOL_LABEL, Protocol.ONESTEP)
    try:
        return Protocol(label)
    except ValueError:
        known = " or ".join(Protocol)
        msg = f"{arn}: the label {PROTOCOL_LABEL} is {label!r}; expected {known}"
        raise ConfigurationError(msg) from None
