"""What ``cloudburst init`` makes, as documents: names, tags and task definitions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cloudburst.adapters.aws.definition import CONTAINER, PORT, PROTOCOL_LABEL, WATCHDOG
from cloudburst.models.prices import Architecture
from cloudburst.models.settings import Settings
from cloudburst.models.task import Protocol
from cloudburst.models.tier import Tier

LOG_GROUP, LOG_PREFIX = "/ecs/cloudburst", "ecs"
RETENTION_DAYS = 30
ROLE = "cloudburst-execution-role"
ROLE_POLICY = "service-role/AmazonECSTaskExecutionRolePolicy"
"""AWS's own: pull from ECR, write to CloudWatch Logs. "Amazon ECS task execution IAM role",
developer guide (2026-11)."""
ROLE_TRUST: Mapping[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
GROUP = "cloudburst"
"""Name of the security group."""
RULE = "cloudburst init"
"""Describes the rules of that group which are ours."""
TAGS: Mapping[str, str] = {"CreatedBy": "animagent", "Project": "CloudBurst"}
"""On everything that is made; what has them may be removed again."""
ARM_SUFFIX = "-arm64"

WATCHDOG_IMAGE = "public.ecr.aws/docker/library/busybox:stable"
WATCHDOG_COMMAND = ("sleep", "3600")
"""A launch puts the lifetime of its settings in place of this hour."""
OUR_STOP, OUR_STOP_SECONDS, OTHER_STOP = 120, 110, 5
"""Seconds from SIGTERM to SIGKILL, and those of them in which our service finishes what it encodes;
other images finish nothing. 120 is the most on Fargate: "Container timeouts", ECS developer guide
(2026-11)."""
DEFAULT_TIER = Tier.STANDARD

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
"""What AWS adds to a task definition."""
_ASK = "http://127.0.0.1:{port}/health"
_OTHER_CHECK = (
    "python3 -c 'import urllib.request as r; r.urlopen(\"{ask}\", timeout=4)' "
    "|| curl -fsS -m 4 -o /dev/null {ask} || wget -q -T 4 -O /dev/null {ask} || exit 1"
)
"""Whichever of the three an image has. A task that no service of ECS keeps is not stopped for
being unhealthy: "Determine Amazon ECS task health using container health checks" (2026-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What runs in a task, and how to talk to it."""

    name: str
    protocol: Protocol

    @property
    def ours(self) -> bool:
        """Whether it is our service, which stops by itself and takes its time to finish."""
        return self.protocol is Protocol.NATIVE


def is_ours(image: str) -> bool:
    """Whether an image is named as ours is built: ``cloudburst``, in whatever registry."""
    repository = re.split("[@:]", image.rpartition("/")[2], maxsplit=1)[0]
    return repository == "cloudburst"


def families(task_definition: str) -> dict[Architecture, str]:
    """The two families of a setting, which is a family, ``family:revision`` or an ARN."""
    family = task_definition.rpartition("/")[2].partition(":")[0].removesuffix(ARM_SUFFIX)
    return {"X86_64": family, "ARM64": family + ARM_SUFFIX}


def is_ours_by_tags(tags: Mapping[str, str] | Sequence[Mapping[str, str]]) -> bool:
    """Whether something carries our tags, in whichever of AWS's shapes."""
    if not isinstance(tags, Mapping):
        tags = {_either(tag, "key"): _either(tag, "value") for tag in tags}
    return all(tags.get(key) == value for key, value in TAGS.items())


def tag_list(*, key: str = "key", value: str = "value") -> list[dict[str, str]]:
    """Our tags as a list; services differ in how they write its members."""
    return [{key: name, value: text} for name, text in TAGS.items()]


def task_definition(
    settings: Settings, image: Image, *, architecture: Architecture, region: str, role: str
) -> dict[str, Any]:
    """The parameters of RegisterTaskDefinition, without tags.

    No container has a size of its own, so that every tier fits as an override of the task's.

    Args:
        settings: For the family.
        image: What runs in it.
        architecture: That of the image.
        region: Where its lines go.
        role: ARN of the execution role.
    """
    containers = [_processor(image, region)]
    if not image.ours:
        containers.append(_watchdog(region))
    return {
        "family": families(settings.task_definition)[architecture],
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(DEFAULT_TIER.vcpu * 1024),
        "memory": str(DEFAULT_TIER.memory_gb * 1024),
        "executionRoleArn": role,
        "runtimePlatform": {"cpuArchitecture": architecture, "operatingSystemFamily": "LINUX"},
        "containerDefinitions": containers,
    }


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Paths of what a described task definition has otherwise; empty: it is as wanted.

    What AWS adds and what is empty there does not count.
    """
    return _unlike(wanted, {k: v for k, v in found.items() if k not in _DERIVED}, "")


def _unlike(wanted: Any, found: Any, path: str) -> list[str]:
    unlike: list[str] = []
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        a, b = cast("Mapping[str, Any]", wanted), cast("Mapping[str, Any]", found)
        for key in sorted(a.keys() | b.keys()):
            unlike += _unlike(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif isinstance(wanted, list) and isinstance(found, list):
        ours, theirs = cast("Sequence[Any]", wanted), cast("Sequence[Any]", found)
        for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            unlike += _unlike(one, other, f"{path}[{number}]")
        unlike += [path] if len(ours) != len(theirs) else []
    elif wanted != found and (wanted or found):
        unlike.append(path)
    return unlike


def _processor(image: Image, region: str) -> dict[str, Any]:
    environment = {"CLOUDBURST_STOP_SECONDS": str(OUR_STOP_SECONDS)} if image.ours else {}
    return {
        **_container(CONTAINER, image.name, region),
        "portMappings": [{"containerPort": PORT, "hostPort": PORT, "protocol": "tcp"}],
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "dockerLabels": {PROTOCOL_LABEL: str(image.protocol)},
        "stopTimeout": OUR_STOP if image.ours else OTHER_STOP,
        "healthCheck": {
            "command": _check(image),
            "interval": 30,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 60,
        },
    }


def _watchdog(region: str) -> dict[str, Any]:
    return {
        **_container(WATCHDOG, WATCHDOG_IMAGE, region),
        "command": list(WATCHDOG_COMMAND),
        "stopTimeout": OTHER_STOP,
    }


def _container(name: str, image: str, region: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "essential": True,
        # PID 1 takes no signal that it does not handle: it would wait for SIGKILL.
        "linuxParameters": {"initProcessEnabled": True},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": LOG_GROUP,
                "awslogs-region": region,
                "awslogs-stream-prefix": LOG_PREFIX,
            },
        },
    }


def _check(image: Image) -> list[str]:
    if image.ours:
        return ["CMD", "python", "-m", "cloudburst.service.health"]
    return ["CMD-SHELL", _OTHER_CHECK.format(ask=_ASK.format(port=PORT))]


def _either(tag: Mapping[str, str], name: str) -> str:
    return tag.get(name) or tag.get(name.title()) or ""
