"""Task definitions: the container that renders, its port, its protocol and its logs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.client.client import AWSClient
from cloudburst.aws.client.responses import get_list, get_structure
from cloudburst.errors import AccessDeniedError, CloudburstError, ConfigurationError
from cloudburst.models.prices import Architecture
from cloudburst.models.task import (
    PROTOCOL_LABEL,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_LABEL,
    Protocol,
)
from cloudburst.text import short_repr

logger = logging.getLogger(__name__)

RENDER_CONTAINER = "cloudburst-processor"
"""Name of the container that renders. If no container has this name, the first essential container
with the port `SERVICE_PORT` is taken as the one that renders."""
# Name of the container that limits the lifetime of a task. It only sleeps; because it is essential,
# ECS stops the task when it exits.
WATCHDOG_CONTAINER = "cloudburst-watchdog"
VERSION_LABEL = "cloudburst.version"
"""Docker label with the version of the package that registered the task definition."""
ARM_SUFFIX = "-arm64"
"""End of the name of the task definition for ARM64."""
SERVICE_PORT = 5000
"""TCP port of the render service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """The parts of an ECS task definition that launches and workers need.

    Defaults are what ``cloudburst-fargate`` assumes of every task definition.
    """

    arn: str
    """ARN of the exact revision."""
    protocol: Protocol
    account: str | None
    """Number of the AWS account; ``None`` if it is unknown."""
    container: str = RENDER_CONTAINER
    """Name of the container that renders."""
    containers: frozenset[str] = frozenset({RENDER_CONTAINER, WATCHDOG_CONTAINER})
    """Names of all containers."""
    image: str = ""
    port: int = SERVICE_PORT
    """TCP port of the render service."""
    architecture: str = "X86_64"
    """``X86_64`` or ``ARM64``."""
    watchdog: bool = False
    """True if a container limits the lifetime of the task."""
    log_group: str | None = None
    """Log group in CloudWatch Logs; ``None`` if the container does not log to CloudWatch."""
    log_prefix: str | None = None
    """Prefix of the names of log streams (``awslogs-stream-prefix``); ``None`` if there is none."""
    version: str = ""
    """Version of the package that registered the task definition; empty if it is not recorded."""
    protocol_version: str | None = None
    """Version of the native protocol in the container's label; ``None`` for the protocol onestep,
    which has no versions."""
    assumed: bool = False
    """True if the credentials may not read the task definition, so that fields have defaults."""


async def describe_task_definition(
    aws: AWSClient, reference: str, *, protocol: Protocol | None = None
) -> TaskDefinition:
    """Return the task definition with an ARN or a name.

    If the credentials do not allow reading it, a warning is logged, and the result is what
    ``cloudburst-fargate`` assumes of every task definition. Starting its tasks can still be
    allowed.

    Raises:
        ConfigurationError: The task definition has no container that can render, or its label names
            an unknown protocol.
    """
    try:
        response = await aws.call("ecs", "describe_task_definition", taskDefinition=reference)
    except AccessDeniedError as exc:
        assumed = await _assumed(aws, reference, protocol=protocol)
        logger.warning(
            "the credentials may not read the task definition %s, so it is assumed to have a "
            "container %s with protocol %s on port %d and %s; allow ecs:DescribeTaskDefinition: %s",
            reference,
            assumed.container,
            assumed.protocol,
            assumed.port,
            assumed.architecture,
            exc,
        )
        return assumed
    return parse_task_definition(response["taskDefinition"], protocol=protocol)


async def _assumed(aws: AWSClient, reference: str, *, protocol: Protocol | None) -> TaskDefinition:
    account = account_of_arn(reference)
    if account is None:
        try:
            account = await aws.account_id()  # needs no permission
        except CloudburstError as exc:
            logger.info("the number of the account is unknown: %s", exc)
    return TaskDefinition(
        arn=reference, protocol=protocol or Protocol.ONESTEP, account=account, assumed=True
    )


def account_of_arn(arn: str) -> str | None:
    """Return the account number in an ARN; ``None`` for a text that has no account number."""
    parts = arn.split(":")
    named = parts[0] == "arn" and len(parts) > 5 and parts[4].isdecimal()
    return parts[4] if named else None


def task_families(task_definition: str) -> dict[Architecture, str]:
    """Return the name of the task definition's family for each architecture."""
    family = task_definition.rpartition("/")[2].partition(":")[0].removesuffix(ARM_SUFFIX)
    return {"X86_64": family, "ARM64": family + ARM_SUFFIX}


def named_architecture(task_definition: str) -> Architecture:
    """Return the architecture that the name of a task definition implies."""
    family = task_definition.rpartition("/")[2].partition(":")[0]
    return "ARM64" if family.endswith(ARM_SUFFIX) else "X86_64"


def parse_task_definition(
    described: Mapping[str, Any], *, protocol: Protocol | None
) -> TaskDefinition:
    """Return a task definition from its description by DescribeTaskDefinition.

    Raises:
        ConfigurationError: The task definition has no container that can render, or its label names
            an unknown protocol.
    """
    arn = str(described["taskDefinitionArn"])
    containers: Sequence[Mapping[str, Any]] = described["containerDefinitions"]
    container = _render_container(arn, containers)
    ports = _ports(container)
    log = get_structure(container, "logConfiguration")
    to_cloudwatch = log.get("logDriver") == "awslogs"
    options: Mapping[str, Any] = get_structure(log, "options") if to_cloudwatch else {}
    platform = get_structure(described, "runtimePlatform")
    labels: Mapping[str, str] = get_structure(container, "dockerLabels")
    protocol = protocol or _protocol(arn, labels)
    is_native = protocol is Protocol.NATIVE
    return TaskDefinition(
        arn=arn,
        container=str(container["name"]),
        containers=frozenset(str(one["name"]) for one in containers),
        image=str(container.get("image", "")),
        port=SERVICE_PORT if SERVICE_PORT in ports else next(iter(ports), SERVICE_PORT),
        protocol=protocol,
        architecture=str(platform.get("cpuArchitecture") or "X86_64"),
        watchdog=any(other["name"] == WATCHDOG_CONTAINER for other in containers),
        log_group=options.get("awslogs-group"),
        log_prefix=options.get("awslogs-stream-prefix"),
        account=account_of_arn(arn),
        version=labels.get(VERSION_LABEL, ""),
        protocol_version=labels.get(PROTOCOL_VERSION_LABEL, "unknown") if is_native else None,
    )


def check_protocol_version(definition: TaskDefinition) -> None:
    """Raise `ConfigurationError` if this client does not speak a task definition's protocol."""
    needed = definition.protocol_version
    if needed in {None, str(PROTOCOL_VERSION)}:
        return
    name = definition.arn.rpartition("/")[2]
    registered = f" (cloudburst {definition.version})" if definition.version else ""
    msg = (
        f"the tasks of {name} speak version {needed} of the native protocol{registered}, and this "
        f"installation speaks version {PROTOCOL_VERSION}: run cloudburst init, which gives the "
        "tasks the image of this installation; or install the version of the tasks here"
    )
    raise ConfigurationError(msg)


def _render_container(arn: str, containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    for container in containers:
        if container["name"] == RENDER_CONTAINER:
            return container
    for container in containers:
        if container.get("essential", True) and SERVICE_PORT in _ports(container):
            return container
    msg = (
        f"{arn}: no container is named {RENDER_CONTAINER}, and no essential one has port "
        f"{SERVICE_PORT}: cloudburst init creates a task definition that fits"
    )
    raise ConfigurationError(msg)


def _ports(container: Mapping[str, Any]) -> list[int]:
    return [
        mapping["containerPort"]
        for mapping in get_list(container, "portMappings")
        if "containerPort" in mapping
    ]


def _protocol(arn: str, labels: Mapping[str, str]) -> Protocol:
    label = labels.get(PROTOCOL_LABEL, Protocol.ONESTEP)
    try:
        return Protocol(label)
    except ValueError:
        known = " or ".join(Protocol)
        msg = f"{arn}: the label {PROTOCOL_LABEL} is {short_repr(label)}; expected {known}"
        raise ConfigurationError(msg) from None
