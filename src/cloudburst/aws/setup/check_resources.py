"""Checks of the cluster, the task definition, its execution role and its logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cloudburst.aws.client.responses import get_structure
from cloudburst.aws.fargate.task_definition import (
    TaskDefinition,
    check_protocol_version,
    parse_task_definition,
)
from cloudburst.aws.setup.checks import INIT, Check, CheckContext, failed, passed, warning
from cloudburst.aws.setup.ecr import our_image_name, repository_of, short_image_name
from cloudburst.aws.setup.resource_definitions import (
    WorkerImage,
    differences,
    differences_text,
    task_definition,
)
from cloudburst.errors import ConfigurationError, ResourceMissingError
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.models.settings import OWN_IMAGE
from cloudburst.models.task import Protocol
from cloudburst.net.registry.names import ImageReference

ECS_TASKS = "ecs-tasks.amazonaws.com"
"""Service principal of ECS that assumes the execution roles of tasks."""


async def check_cluster(context: CheckContext) -> Sequence[Check]:
    """Check that the cluster exists and has the capacity provider of the settings."""
    name = context.settings.cluster
    response = await context.aws.call("ecs", "describe_clusters", clusters=[name])
    found = next((one for one in response["clusters"] if one["status"] == "ACTIVE"), None)
    if found is None:
        return [failed("cluster", f"there is no cluster {name} in {context.aws.region}")]
    capacity = context.settings.capacity
    if capacity == "FARGATE":  # a launch type, which needs no capacity provider
        return [passed("cluster", f"{name} is active")]
    if capacity not in (found.get("capacityProviders") or ()):
        return [failed("cluster", f"{name} lacks the capacity provider {capacity}")]
    return [passed("cluster", f"{name} is active, with {capacity}")]


async def check_task_definition(context: CheckContext) -> Sequence[Check]:
    """Check that the task definition exists and describes tasks that this package can use."""
    settings, name = context.settings, "task definition"
    try:
        described = await context.task_definition()
        definition = parse_task_definition(described, protocol=settings.protocol)
    except ResourceMissingError:
        unset = "" if settings.names_task_definition else "ECS_TASK_DEFINITION is not set, and "
        found = f"there is no task definition {settings.task_definition} in {context.aws.region}"
        return [failed(name, f"{unset}{found}")]
    except ConfigurationError as exc:
        return [failed(name, str(exc))]
    revision = definition.arn.rpartition("/")[2]
    if described.get("status") != "ACTIVE":
        return [failed(name, f"{revision} is deregistered")]
    if "FARGATE" not in (described.get("compatibilities") or ()):
        return [failed(name, f"{revision} is not for Fargate")]
    found = (
        f"{revision}: {definition.container} on {definition.architecture}, "
        f"port {definition.port}, {definition.protocol}"
    )
    return [
        passed(name, found),
        _check_contents(context, described, definition),
        _check_lifetime(definition),
        _check_transport(context, definition),
        *_check_version(definition),
        _check_image(context, definition),
        _check_registry(context, definition.image),
    ]


def _check_contents(
    context: CheckContext, described: Mapping[str, Any], definition: TaskDefinition
) -> Check:
    # Versions are compared by `_check_version`.
    tier, containers = context.tier, described["containerDefinitions"]
    cpu = sum(one.get("cpu") or 0 for one in containers)
    memory = sum(one.get("memory") or one.get("memoryReservation") or 0 for one in containers)
    if cpu > tier.vcpu * 1024 or memory > tier.memory_gb * 1024:
        found = f"the containers need {cpu / 1024:g} vCPU and {memory / 1024:g} GB"
        task = f"a task of {tier.vcpu} vCPU and {tier.memory_gb} GB"
        return failed("contents", f"{found}: more than {task} has")
    required = task_definition(
        context.settings,
        WorkerImage(name=definition.image, protocol=definition.protocol),
        architecture="ARM64" if definition.architecture == "ARM64" else "X86_64",
        region=context.aws.region,
        role=described.get("executionRoleArn", ""),
    )
    required["family"] = described["family"]
    differing = [path for path in differences(required, described) if "dockerLabels" not in path]
    if differing:
        found = f"differs from what init registers: {differences_text(differing)}"
        return warning("contents", found, INIT)
    return passed("contents", "as init registers it")


def _check_lifetime(definition: TaskDefinition) -> Check:
    if definition.watchdog:
        return passed("lifetime", "a watchdog container ends each task after its lifetime")
    if definition.protocol is Protocol.NATIVE:
        return passed("lifetime", "the service exits after its lifetime, and when it is idle")
    found = "no watchdog container: nothing ends a task if this machine fails"
    return warning("lifetime", found, INIT)


def _check_transport(context: CheckContext, definition: TaskDefinition) -> Check:
    if definition.protocol is Protocol.NATIVE:
        return passed("transport", "TLS, with a separate certificate for each task")
    if not context.settings.public_address:
        return passed("transport", "plain HTTP, inside the VPC")
    found = "plain HTTP: keys and files are sent unencrypted to public addresses"
    fix = (
        "use an image of our service, which speaks TLS; or run inside the VPC with "
        "CLOUDBURST_PUBLIC_ADDRESS=false"
    )
    return warning("transport", found, fix)


def _check_image(context: CheckContext, definition: TaskDefinition) -> Check:
    configured = context.settings.image
    if configured == OWN_IMAGE:
        ours = our_image_name(definition.account or "", context.aws.region)
        if ImageReference.split(definition.image).name != ours:
            found = f"tasks run {definition.image}, and not our own image, the default"
            fix = f"{INIT}; to keep this image, set DOCKER_IMAGE to its name"
            return warning("image", found, fix)
        return passed("image", f"our own, {short_image_name(definition.image)}")
    if definition.image != configured:
        found = f"tasks run {definition.image}, DOCKER_IMAGE is {configured}"
        return warning("image", found, INIT)
    return passed("image", definition.image)


def _check_version(definition: TaskDefinition) -> list[Check]:
    name, recorded = "version", definition.version or "an earlier version, which recorded none"
    if definition.protocol_version is None:
        return []
    try:
        check_protocol_version(definition)
    except ConfigurationError as exc:
        return [failed(name, str(exc))]
    if definition.version != PACKAGE_VERSION:
        found = f"set up by {recorded}; this is {PACKAGE_VERSION}, with the same protocol"
        return [warning(name, found, INIT)]
    return [passed(name, f"{PACKAGE_VERSION}, protocol version {definition.protocol_version}")]


def _check_registry(context: CheckContext, image: str) -> Check:
    host = ImageReference.split(image).registry
    repository = repository_of(image)
    if repository and repository.region != context.aws.region:
        found = f"ECR in {repository.region}: pulls from another region are slow and are billed"
        return warning("registry", found, f"copy the image to ECR in {context.aws.region}")
    if repository:
        return passed("registry", "ECR in this region")
    if host == "docker.io":
        found = (
            "Docker Hub: pulls are limited for each address and slower than from ECR; "
            "each task pulls the whole image"
        )
        fix = (
            f"use our own image in ECR: DOCKER_IMAGE={OWN_IMAGE}, then {INIT}; or copy this one to "
            "ECR, and set DOCKER_IMAGE to its name"
        )
        return warning("registry", found, fix)
    return passed("registry", host)


async def check_execution_role(context: CheckContext) -> Sequence[Check]:
    """Check that ECS can assume the role with which it pulls images and writes logs."""
    try:
        described = await context.task_definition()
    except ResourceMissingError:
        return []  # reported by the check of the task definition
    arn = described.get("executionRoleArn")
    if not arn:
        found = "none: tasks cannot pull from ECR, and write no logs"
        return [warning("execution role", found, INIT)]
    name = arn.rpartition("/")[2]
    try:
        role = (await context.aws.call("iam", "get_role", RoleName=name))["Role"]
    except ResourceMissingError:
        return [failed("execution role", f"{name} does not exist")]
    if ECS_TASKS not in json.dumps(role.get("AssumeRolePolicyDocument")):
        return [failed("execution role", f"{name} does not trust {ECS_TASKS}")]
    return [passed("execution role", name)]


async def check_logs(context: CheckContext) -> Sequence[Check]:
    """Check that the log groups of the containers exist: without them tasks do not start."""
    try:
        described = await context.task_definition()
    except ResourceMissingError:
        return []
    groups: dict[str, bool] = {}
    for container in described["containerDefinitions"]:
        log = get_structure(container, "logConfiguration")
        options = get_structure(log, "options")
        if log.get("logDriver") == "awslogs" and (name := options.get("awslogs-group")):
            creates = options.get("awslogs-create-group") == "true"
            groups[name] = groups.get(name, False) or creates
    if not groups:
        found = "no container writes to CloudWatch, so that cloudburst logs shows nothing"
        return [warning("logs", found, INIT)]
    return [
        await _check_log_group(context, name, created_by_task=created)
        for name, created in groups.items()
    ]


async def _check_log_group(context: CheckContext, name: str, *, created_by_task: bool) -> Check:
    found = await context.aws.collect_pages(
        "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name
    )
    group = next((one for one in found if one["logGroupName"] == name), None)
    if group is None and not created_by_task:
        return failed("logs", f"there is no log group {name}: tasks would not start")
    if group is None:
        return passed("logs", f"{name}, created by the first task")
    if not group.get("retentionInDays"):
        fix = f"aws logs put-retention-policy --log-group-name {name} --retention-in-days 30"
        return warning("logs", f"{name} keeps lines forever, and storage is billed", fix)
    return passed("logs", f"{name}, lines are kept for {group['retentionInDays']} days")
