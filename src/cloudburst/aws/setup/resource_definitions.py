"""Names, tags, policies and task definitions of the resources that ``cloudburst init`` creates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, cast

from botocore.loaders import create_loader

from cloudburst.aws.fargate.task_definition import (
    RENDER_CONTAINER,
    SERVICE_PORT,
    VERSION_LABEL,
    WATCHDOG_CONTAINER,
    task_families,
)
from cloudburst.image.version import PACKAGE_VERSION
from cloudburst.models.prices import Architecture
from cloudburst.models.settings import OWN_IMAGE, PUBLIC_IMAGE_NAME, Settings
from cloudburst.models.task import (
    PROTOCOL_LABEL,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_LABEL,
    Protocol,
)
from cloudburst.models.tier import Tier
from cloudburst.net.registry.names import ImageReference
from cloudburst.text import list_some

LOG_GROUP, LOG_PREFIX = "/ecs/cloudburst", "ecs"
LOG_RETENTION_DAYS = 30
EXECUTION_ROLE_POLICY = "cloudburst"
"""Name of the execution role's inline policy."""
# AWS's managed policy for execution roles: pull from every ECR repository and write to every log
# stream ("Amazon ECS task execution IAM role", ECS developer guide, 2026-11). It is the permissions
# boundary of our role, so that a user who may edit the role cannot give it more than that. The
# role's actual permissions are those of `role_policy`.
PERMISSIONS_BOUNDARY = "service-role/AmazonECSTaskExecutionRolePolicy"
PULL_SID = "PullImages"
"""Id (``Sid``) of the statement in the execution role's policy that allows tasks to pull images
from private ECR repositories."""
TRUST_POLICY: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
SECURITY_GROUP_NAME = "cloudburst"
TAGS: Mapping[str, str] = {"CreatedBy": "animagent", "Project": "CloudBurst"}
"""Tags of every resource that ``init`` creates; ``destroy`` removes nothing without them."""
STACK_TAG = "aws:cloudformation:stack-name"
"""Key of the tag that CloudFormation adds to the resources of a stack."""
OUR_FAMILY = "cloudburst-render"
"""Name of the task definition that ``init`` registers if the settings name none."""

WATCHDOG_ENTRY_POINT = ("env",)
"""Entry point of the watchdog, the container that limits the lifetime of a task. It replaces the
entry point of the image and runs the command unchanged. The watchdog has the image of the main
container: another image would need a second pull, perhaps from a registry that private subnets
cannot reach. Every image with coreutils or busybox has ``env`` and ``sleep``."""
WATCHDOG_COMMAND = ("sleep", "3600")
"""Command of the watchdog, the container that limits the lifetime of a task: sleep for an hour. A
launch replaces the hour by the lifetime in its settings."""
# Seconds from SIGTERM to SIGKILL for our service: the maximum on Fargate ("Container timeouts", ECS
# developer guide, 2026-11).
SERVICE_CONTAINER_STOP_TIMEOUT = 120
SERVICE_STOP_SECONDS = 110
"""Seconds after SIGTERM in which our render service may finish the scenes that it encodes: a little
less than `SERVICE_CONTAINER_STOP_TIMEOUT`."""
OTHER_CONTAINER_STOP_TIMEOUT = 5
"""Seconds from SIGTERM to SIGKILL for containers without our render service."""
DEFAULT_TIER = Tier.STANDARD
# Options of the log driver, with which a slow CloudWatch never blocks the service: the buffer holds
# lines until they can be sent. The mode is set explicitly because an account setting
# (``defaultLogDriverMode``) would decide otherwise: "Example awslogs log driver configuration", ECS
# developer guide (2026-11).
LOG_MODE: Mapping[str, str] = {"mode": "non-blocking", "max-buffer-size": "25m"}
HEALTH_COMMAND = ("CMD", "python", "-m", "cloudburst.service.health")
SERVICE_USER = "10001"
"""Id of the unprivileged user that runs the service in the image of our Dockerfile."""
# Name and path of the volume of our service, the only folder to which it writes. Root owns a volume
# on Fargate unless the image declares it with VOLUME, as our Dockerfile does: "Use bind mounts with
# Amazon ECS" (2026-11).
SCRATCH, SCRATCH_PATH = "scratch", "/tmp"  # noqa: S108 - a path in the container

Tags: TypeAlias = Mapping[str, str] | Sequence[Mapping[str, str]]
"""Tags in any of the forms that AWS returns."""
# Members that AWS adds to a task definition.
_DERIVED = frozenset(
    {
        "compatibilities",
        "deregisteredAt",
        "registeredAt",
        "registeredBy",
        "requiresAttributes",
        "revision",
        "status",
        "taskDefinitionArn",
    }
)
_HEALTH_URL = f"http://127.0.0.1:{SERVICE_PORT}/health"
# Shell command that checks the health of images other than ours. It tries three programs, because
# images differ in which of them they have. ECS does not stop an unhealthy task that belongs to no
# ECS service: "Determine Amazon ECS task health using container health checks" (2026-11).
_ONESTEP_HEALTH_COMMAND = (
    f"python3 -c 'import urllib.request as r; r.urlopen(\"{_HEALTH_URL}\", timeout=4)' "
    f"|| curl -fsS -m 4 -o /dev/null {_HEALTH_URL} || wget -q -T 4 -O /dev/null {_HEALTH_URL} "
    "|| exit 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerImage:
    """Container image of a worker and the protocol that it speaks."""

    name: str
    protocol: Protocol

    @property
    def runs_our_service(self) -> bool:
        """True if the image runs our render service.

        That service exits by itself after its lifetime, and finishes its scenes when it is stopped.
        """
        return self.protocol is Protocol.NATIVE


def execution_role(region: str) -> str:
    """Return the name of the execution role of a region: roles exist in all regions at once."""
    return f"cloudburst-execution-{region}"


def partition(region: str) -> str:
    """Return the AWS partition of a region: the second part of ARNs, such as ``aws-cn``."""
    return _partition(region)["name"]


def dns_suffix(region: str) -> str:
    """Return the end of the names of hosts in a region, such as ``amazonaws.com.cn``."""
    return _partition(region)["dnsSuffix"]


@cache
def _partition(region: str) -> Mapping[str, str]:
    known: list[dict[str, Any]] = create_loader().load_data("partitions")["partitions"]
    fitting = [each for each in known if re.match(each["regionRegex"], region)]
    return cast("Mapping[str, str]", [*fitting, known[0]][0]["outputs"])


def is_our_image(image: str) -> bool:
    """Return whether an image is named ``cloudburst``, like the image of our render service.

    The registry does not matter. `OWN_IMAGE`, which stands for that image in our ECR repository,
    counts as its name.
    """
    if image == OWN_IMAGE:
        return True
    return ImageReference.split(image).repository.rpartition("/")[2] == "cloudburst"


def reference_to_set_up(settings: Settings) -> str:
    """Return the task definition that ``init`` registers: family, ``family:revision`` or ARN.

    If the settings name none, it is `OUR_FAMILY`. Only the public image gets the family that
    ``cloudburst-fargate`` uses: that client sends no key and could not use tasks of another image.
    """
    if settings.names_task_definition or settings.image == PUBLIC_IMAGE_NAME:
        return settings.task_definition
    return OUR_FAMILY


def all_families(settings: Settings) -> tuple[str, ...]:
    """Return the families of the task definitions that runs use and that ``init`` registers.

    They differ if the settings name no task definition.
    """
    references = dict.fromkeys((settings.task_definition, reference_to_set_up(settings)))
    return tuple(family for one in references for family in task_families(one).values())


def has_our_tags(tags: Tags) -> bool:
    """Return whether tags, in any of the forms that AWS returns, include `TAGS`."""
    return TAGS.items() <= tag_values(tags).items()


def tag_values(tags: Tags) -> Mapping[str, str]:
    """Return the values of tags by their keys; the tags may have any form that AWS returns."""
    if isinstance(tags, Mapping):
        return tags
    return {tag.get("key") or tag["Key"]: tag.get("value") or tag.get("Value", "") for tag in tags}


def tag_list(*, key: str = "key", value: str = "value") -> list[dict[str, str]]:
    """Return `TAGS` as a list of entries with the member names that an AWS service expects."""
    return [{key: name, value: text} for name, text in TAGS.items()]


def task_definition(
    settings: Settings, image: WorkerImage, *, architecture: Architecture, region: str, role: str
) -> dict[str, Any]:
    """Return the parameters of RegisterTaskDefinition, without tags.

    No container has a size of its own, so that a launch can override the task's size with any tier.
    """
    containers = [_render_container(image, region)]
    if not image.runs_our_service:
        containers.append(_watchdog_container(image, region))
    volumes = {"volumes": [{"name": SCRATCH}]} if image.runs_our_service else {}
    return {
        "family": task_families(settings.task_definition)[architecture],
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(DEFAULT_TIER.vcpu * 1024),
        "memory": str(DEFAULT_TIER.memory_gb * 1024),
        "executionRoleArn": role,
        "runtimePlatform": {"cpuArchitecture": architecture, "operatingSystemFamily": "LINUX"},
        "containerDefinitions": containers,
        **volumes,
    }


def role_policy(region: str, account: str, repositories: Iterable[str]) -> dict[str, Any]:
    """Return the inline policy of the execution role."""
    aws = f"arn:{partition(region)}"
    logs = f"{aws}:logs:{region}:{account}:log-group:{LOG_GROUP}:*"
    # If GuardDuty Runtime Monitoring is on, AWS adds a container with its agent to each task, whose
    # image is pulled with this role from an account of AWS: "Prerequisites for AWS Fargate (Amazon
    # ECS only) support", Amazon GuardDuty User Guide (2026-11).
    agent = f"{aws}:ecr:{region}:*:repository/aws-guardduty-agent-fargate"
    pull = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    allowed: list[tuple[str, list[str], list[str]]] = [
        ("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [logs]),
        # IAM supports no resource for GetAuthorizationToken.
        ("LogInToECR", ["ecr:GetAuthorizationToken"], ["*"]),
        (PULL_SID, pull, [agent, *sorted(set(repositories) - {agent})]),
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
            for sid, actions, resources in allowed
        ],
    }


def differences(required: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the paths at which a described task definition differs from the required one.

    Members that AWS adds, and members that are empty on both sides, do not count.
    """
    described = {key: value for key, value in found.items() if key not in _DERIVED}
    return _differing_paths(required, described, "")


def differences_text(paths: Iterable[str]) -> str:
    """Return a text with at most three paths in a task definition, images and sizes first."""
    by_weight = sorted(paths, key=lambda path: not path.endswith((".image", ".cpu", ".memory")))
    return list_some([path.replace("containerDefinitions", "containers") for path in by_weight], 3)


def _differing_paths(required: Any, found: Any, path: str) -> list[str]:
    paths: list[str] = []
    if isinstance(required, Mapping) and isinstance(found, Mapping):
        a, b = cast("Mapping[str, Any]", required), cast("Mapping[str, Any]", found)
        for key in sorted(a.keys() | b.keys()):
            paths += _differing_paths(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif isinstance(required, list) and isinstance(found, list):
        ours, theirs = cast("Sequence[Any]", required), cast("Sequence[Any]", found)
        for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            paths += _differing_paths(one, other, f"{path}[{number}]")
        paths += [path] if len(ours) != len(theirs) else []
    elif required != found and (required or found):
        paths.append(path)
    return paths


def _render_container(image: WorkerImage, region: str) -> dict[str, Any]:
    ours = image.runs_our_service
    versions = {VERSION_LABEL: PACKAGE_VERSION, PROTOCOL_VERSION_LABEL: str(PROTOCOL_VERSION)}
    stop_seconds = {"name": "CLOUDBURST_STOP_SECONDS", "value": str(SERVICE_STOP_SECONDS)}
    unprivileged = {
        "user": SERVICE_USER,
        "mountPoints": [{"sourceVolume": SCRATCH, "containerPath": SCRATCH_PATH}],
    }
    return {
        **_container(RENDER_CONTAINER, image.name, region, hardened=ours, init_process=not ours),
        # Other images may need root, or write to other folders.
        **(unprivileged if ours else {}),
        "portMappings": [
            {"containerPort": SERVICE_PORT, "hostPort": SERVICE_PORT, "protocol": "tcp"}
        ],
        "environment": [stop_seconds] if ours else [],
        "dockerLabels": {PROTOCOL_LABEL: str(image.protocol), **(versions if ours else {})},
        "stopTimeout": SERVICE_CONTAINER_STOP_TIMEOUT if ours else OTHER_CONTAINER_STOP_TIMEOUT,
        "healthCheck": {
            "command": list(HEALTH_COMMAND if ours else ("CMD-SHELL", _ONESTEP_HEALTH_COMMAND)),
            # A busy encoder leaves the check little CPU, and each check takes some from it.
            "interval": 60,
            "timeout": 30,
            "retries": 3,
            "startPeriod": 60,
        },
    }


def _watchdog_container(image: WorkerImage, region: str) -> dict[str, Any]:
    return {
        **_container(WATCHDOG_CONTAINER, image.name, region, hardened=True, init_process=True),
        "entryPoint": list(WATCHDOG_ENTRY_POINT),
        "command": list(WATCHDOG_COMMAND),
        "stopTimeout": OTHER_CONTAINER_STOP_TIMEOUT,
    }


def _container(
    name: str, image: str, region: str, *, hardened: bool, init_process: bool
) -> dict[str, Any]:
    drop = {"capabilities": {"drop": ["ALL"]}} if hardened else {}
    return {
        "name": name,
        "image": image,
        "essential": True,
        # The kernel delivers no signal to PID 1 that it does not handle, so that it would run until
        # SIGKILL. Our service handles them. An init process before it would show the task's key in
        # /proc to other processes of the same user.
        "linuxParameters": {"initProcessEnabled": init_process, **drop},
        **({"readonlyRootFilesystem": True} if hardened else {}),
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": LOG_GROUP,
                "awslogs-region": region,
                "awslogs-stream-prefix": LOG_PREFIX,
                **LOG_MODE,
            },
        },
    }
