"""Checks of the cluster, and of the task definition and all that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cloudburst.account.blueprint import OUR_STOP
from cloudburst.account.diagnosis import INIT, Check, Look, failure, ok, warning
from cloudburst.adapters.aws.definition import Definition, definition_of
from cloudburst.adapters.aws.runtask import Providers
from cloudburst.adapters.aws.shapes import listed, member
from cloudburst.errors import ConfigurationError, ResourceMissingError
from cloudburst.models.task import Protocol

DEFAULT_STOP = 30
"""Seconds of a container without ``stopTimeout``: "Container timeouts", ECS developer guide
(2026-11)."""
SERVICE_STOP = 25
"""Seconds that our service takes at SIGTERM unless CLOUDBURST_STOP_SECONDS says otherwise."""
TASKS = "ecs-tasks.amazonaws.com"
"""Who assumes an execution role."""
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")


async def cluster(look: Look) -> Sequence[Check]:
    """Whether it is there and has the capacity providers that are asked for."""
    name = look.settings.cluster
    answer = await look.aws.call("ecs", "describe_clusters", clusters=[name])
    found = next((one for one in answer["clusters"] if one["status"] == "ACTIVE"), None)
    if found is None:
        return [failure("cluster", f"there is no cluster {name} in {look.aws.region}")]
    attached = set(found.get("capacityProviders") or ())
    providers = Providers(look.settings.capacity)
    if providers.next() is None:
        return [ok("cluster", f"{name} is active")]
    if missing := sorted(set(providers.weights) - attached):
        return [failure("cluster", f"{name} lacks the capacity providers {', '.join(missing)}")]
    return [ok("cluster", f"{name} is active, with {' and '.join(sorted(providers.weights))}")]


async def definition(look: Look) -> Sequence[Check]:
    """Whether it is there, and tasks of it are as this package expects them."""
    try:
        described = await look.definition()
        known = definition_of(described, protocol=look.settings.protocol)
    except ResourceMissingError:
        told = f"there is no task definition {look.settings.task_definition} in {look.aws.region}"
        return [failure("task definition", told)]
    except ConfigurationError as exc:
        return [failure("task definition", str(exc))]
    name = known.arn.rpartition("/")[2]
    if described.get("status") != "ACTIVE":
        return [failure("task definition", f"{name} is deregistered")]
    if "FARGATE" not in (described.get("compatibilities") or ()):
        return [failure("task definition", f"{name} is not for Fargate")]
    containers: Sequence[Mapping[str, Any]] = described["containerDefinitions"]
    ours = next(one for one in containers if one["name"] == known.container)
    told = f"{name}: {known.container} on {known.architecture}, port {known.port}, {known.protocol}"
    return [
        ok("task definition", told),
        _size(look, containers),
        _stop(known, ours),
        _init_process(containers),
        _lifetime(known),
        _transport(look, known),
        _image(look, known),
        _registry(look, known.image),
    ]


def _size(look: Look, containers: Sequence[Mapping[str, Any]]) -> Check:
    """Whether containers fit into a task of the tier, whose size the launch overrides."""
    tier = look.tier
    cpu = sum(container.get("cpu") or 0 for container in containers)
    memory = sum(
        container.get("memory") or container.get("memoryReservation") or 0
        for container in containers
    )
    size = f"a {tier.name} task ({tier.vcpu} vCPU, {tier.memory_gb} GB)"
    if cpu > tier.vcpu * 1024 or memory > tier.memory_gb * 1024:
        told = f"its containers ask for {cpu / 1024:g} vCPU and {memory / 1024:g} GB"
        return failure("size", f"{told}: more than {size} has")
    if cpu or memory:
        told = f"its containers have sizes of their own, so what {size} has beyond goes to nobody"
        return warning("size", told, INIT)
    return ok("size", f"{size}; every other tier fits too")


def _stop(known: Definition, ours: Mapping[str, Any]) -> Check:
    seconds = DEFAULT_STOP if known.stop_timeout is None else known.stop_timeout
    if known.protocol is not Protocol.NATIVE:
        if seconds > DEFAULT_STOP // 2:
            told = f"stopTimeout {seconds} s: a container that does not heed SIGTERM is paid on"
            return warning("stopping", told, INIT)
        return ok("stopping", f"stopTimeout {seconds} s")
    variables = {one["name"]: one["value"] for one in listed(ours, "environment")}
    own = float(variables.get("CLOUDBURST_STOP_SECONDS", SERVICE_STOP))
    if own >= seconds:
        told = f"the service takes {own:g} s to stop and is killed after {seconds} s"
        return warning("stopping", told, INIT)
    if seconds < OUR_STOP:
        told = f"stopTimeout {seconds} s: of Spot's two minutes a scene may use no more"
        return warning("stopping", told, INIT)
    return ok("stopping", f"stopTimeout {seconds} s, of which scenes may use {own:g}")


def _init_process(containers: Sequence[Mapping[str, Any]]) -> Check:
    without = [
        container["name"]
        for container in containers
        if not member(container, "linuxParameters").get("initProcessEnabled")
    ]
    if without:
        told = f"{' and '.join(without)} without initProcessEnabled may not heed SIGTERM"
        return warning("init process", told, INIT)
    return ok("init process", "in every container")


def _lifetime(known: Definition) -> Check:
    if known.watchdog:
        return ok("lifetime", "a watchdog container ends each task in time")
    if known.protocol is Protocol.NATIVE:
        return ok("lifetime", "the service ends itself in time, and when it is idle")
    told = "no watchdog container: nothing ends a task when this machine dies"
    return warning("lifetime", told, INIT)


def _transport(look: Look, known: Definition) -> Check:
    if known.protocol is Protocol.NATIVE:
        return ok("transport", "TLS, with a certificate of its own for each task")
    if not look.settings.public_address:
        return ok("transport", "plain HTTP, inside the VPC")
    told = "plain HTTP: keys and files travel in clear to public addresses"
    mend = (
        "an image of our service speaks TLS; or run inside the VPC with "
        "CLOUDBURST_PUBLIC_ADDRESS=false"
    )
    return warning("transport", told, mend)


def _image(look: Look, known: Definition) -> Check:
    if known.image != look.settings.image:
        told = f"tasks run {known.image}, DOCKER_IMAGE is {look.settings.image}"
        return warning("image", told, INIT)
    return ok("image", known.image)


def _registry(look: Look, image: str) -> Check:
    """Whether each task can pull it, and how fast."""
    host = registry_of(image)
    ecr = _ECR.fullmatch(host)
    if ecr and ecr["region"] != look.aws.region:
        told = f"ECR in {ecr['region']}: each pull crosses regions, which is slow and billed"
        return warning("registry", told, f"copy the image to ECR in {look.aws.region}")
    if ecr:
        return ok("registry", "ECR in this region")
    if host == "docker.io":
        told = (
            "Docker Hub: pulls are limited by address, and take longer than from ECR; "
            "each task pulls the whole image"
        )
        mend = "copy the image to ECR, set DOCKER_IMAGE, then cloudburst init"
        return warning("registry", told, mend)
    return ok("registry", host)


def registry_of(image: str) -> str:
    """The host of an image's name; Docker's own rule for where it begins."""
    first, slash, _ = image.partition("/")
    return (
        first if slash and (first == "localhost" or "." in first or ":" in first) else "docker.io"
    )


async def execution_role(look: Look) -> Sequence[Check]:
    """Whether Fargate can assume the role in which it pulls images and writes logs."""
    try:
        described = await look.definition()
    except ResourceMissingError:
        return []  # told of the task definition
    arn = described.get("executionRoleArn")
    if not arn:
        told = "none: tasks cannot pull from ECR, and write no logs"
        return [warning("execution role", told, INIT)]
    name = arn.rpartition("/")[2]
    try:
        role = (await look.aws.call("iam", "get_role", RoleName=name))["Role"]
    except ResourceMissingError:
        return [failure("execution role", f"{name} is not there")]
    if not _trusts(role.get("AssumeRolePolicyDocument") or {}):
        return [failure("execution role", f"{name} does not trust {TASKS}")]
    return [ok("execution role", name)]


def _trusts(document: Mapping[str, Any]) -> bool:
    """Whether a trust policy names ECS's tasks; IAM allows one thing in place of a list of it."""
    statements: Sequence[dict[str, Any]] | dict[str, Any] = document.get("Statement") or []
    for statement in [statements] if isinstance(statements, dict) else statements:
        principal: Any = statement.get("Principal") or {}
        services: Any = principal if principal == "*" else principal.get("Service") or []
        named: list[str] = [services] if isinstance(services, str) else services
        if statement.get("Effect") == "Allow" and {"*", TASKS} & set(named):
            return True
    return False


async def logs(look: Look) -> Sequence[Check]:
    """Whether the containers' lines have where to go: without that group tasks do not start."""
    try:
        described = await look.definition()
    except ResourceMissingError:
        return []
    groups: dict[str, bool] = {}
    for container in described["containerDefinitions"]:
        log = member(container, "logConfiguration")
        options = member(log, "options")
        if log.get("logDriver") == "awslogs" and (name := options.get("awslogs-group")):
            makes = options.get("awslogs-create-group") == "true"
            groups[name] = groups.get(name, False) or makes
    if not groups:
        return [warning("logs", "containers write none to CloudWatch: no cloudburst logs", INIT)]
    return [await _log_group(look, name, made=made) for name, made in groups.items()]


async def _log_group(look: Look, name: str, *, made: bool) -> Check:
    found = await look.aws.pages(
        "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name
    )
    group = next((one for one in found if one["logGroupName"] == name), None)
    if group is None and not made:
        return failure("logs", f"there is no log group {name}: tasks would not start")
    if group is None:
        return ok("logs", f"{name}, made by the first task")
    if not group.get("retentionInDays"):
        mend = f"aws logs put-retention-policy --log-group-name {name} --retention-in-days 30"
        return warning("logs", f"{name} keeps lines for ever, which costs", mend)
    return ok("logs", f"{name}, lines are kept for {group['retentionInDays']} days")
