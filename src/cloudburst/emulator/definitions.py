"""Task definition operations of the emulated ECS API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.errors import ApiError, client_error
from cloudburst.emulator.roles import Roles

GB = 1024
# Sizes of memory that Fargate offers, in MB, by CPU units (1024 per vCPU): "Task size" in the ECS
# developer guide (2026-11).
MEMORY_MB_BY_CPU: Mapping[int, tuple[int, ...]] = {
    256: (512, GB, 2 * GB),
    512: tuple(range(GB, 4 * GB + 1, GB)),
    1024: tuple(range(2 * GB, 8 * GB + 1, GB)),
    2048: tuple(range(4 * GB, 16 * GB + 1, GB)),
    4096: tuple(range(8 * GB, 30 * GB + 1, GB)),
    8192: tuple(range(16 * GB, 60 * GB + 1, 4 * GB)),
    16384: tuple(range(32 * GB, 120 * GB + 1, 8 * GB)),
}
NO_SUCH_SIZE = "No Fargate configuration exists for given values."
# Maximum of `stopTimeout` on Fargate, in seconds: "Container timeouts" in the ECS developer guide
# (2026-11).
MAX_STOP_TIMEOUT = 120


class TaskDefinitions:
    """Task definitions of the emulated account, and the ECS operations on task definitions."""

    def __init__(self, config: EmulatorConfig, roles: Roles) -> None:
        self._config = config
        self._roles = roles
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:task-definition/"
        self._families: dict[str, list[tuple[dict[str, Any], list[dict[str, str]]]]] = {}
        self.operations = {
            "RegisterTaskDefinition": self.register,
            "DescribeTaskDefinition": self._describe,
            "DeregisterTaskDefinition": self._deregister,
            "ListTaskDefinitions": self._list,
        }

    def find(self, reference: str) -> dict[str, Any]:
        """Return a task definition.

        A reference without a revision means the latest active revision of the family.
        """
        family, _, number = reference.rpartition("/")[2].partition(":")
        for definition, _tags in self._families.get(family, [])[::-1]:
            if number == str(definition["revision"]) or (
                not number and definition["status"] == "ACTIVE"
            ):
                return definition
        raise client_error("Unable to describe task definition.")

    def find_to_run(self, reference: str) -> dict[str, Any]:
        """Return a task definition that RunTask can launch.

        A reference without a revision means the latest active revision of the family.
        """
        try:
            definition = self.find(reference)
        except ApiError:
            raise client_error("TaskDefinition not found.") from None
        if definition["status"] != "ACTIVE":
            raise client_error("TaskDefinition is inactive")
        return definition

    def register(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Register a task definition and return the response of RegisterTaskDefinition."""
        family = parameters["family"]
        if not parameters.get("containerDefinitions"):
            raise client_error("Container list cannot be empty.")
        if "FARGATE" in (parameters.get("requiresCompatibilities") or ()):
            _check_fargate(parameters)
        self._roles.check_passing(parameters, f"arn:aws:iam::{self._config.account}:user/emulator")
        revisions = self._families.setdefault(family, [])
        revision = len(revisions) + 1
        definition = {
            **{name: value for name, value in parameters.items() if name != "tags"},
            "taskDefinitionArn": f"{self._prefix}{family}:{revision}",
            "containerDefinitions": [_complete(c) for c in parameters["containerDefinitions"]],
            "revision": revision,
            "status": "ACTIVE",
            "volumes": list(parameters.get("volumes") or ()),
            "placementConstraints": [],
            "requiresAttributes": [],
            "compatibilities": ["EC2", "FARGATE"],
            "registeredAt": time.time(),
            "registeredBy": f"arn:aws:iam::{self._config.account}:user/emulator",
        }
        revisions.append((definition, list(parameters.get("tags") or ())))
        return {"taskDefinition": definition, "tags": revisions[-1][1]}

    def tags(self, arn: str) -> list[dict[str, str]] | None:
        """Return the tags of a task definition; ``None`` for an unknown ARN."""
        for revisions in self._families.values():
            for definition, tags in revisions:
                if definition["taskDefinitionArn"] == arn:
                    return tags
        return None

    def _describe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        definition = self.find(parameters["taskDefinition"])
        with_tags = "TAGS" in (parameters.get("include") or ())
        tags = {"tags": self.tags(definition["taskDefinitionArn"])} if with_tags else {}
        return {"taskDefinition": definition, **tags}

    def _deregister(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if ":" not in parameters["taskDefinition"].rpartition("/")[2]:
            raise client_error("Task definition revision is required")
        definition = self.find(parameters["taskDefinition"])
        definition["status"] = "INACTIVE"
        definition.setdefault("deregisteredAt", time.time())
        return {"taskDefinition": definition}

    def _list(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        status, family = parameters.get("status") or "ACTIVE", parameters.get("familyPrefix")
        limit, at = parameters.get("maxResults") or 100, int(parameters.get("nextToken") or 0)
        arns = [
            definition["taskDefinitionArn"]
            for name, revisions in sorted(self._families.items())
            if family in {None, name}
            for definition, _ in revisions
            if definition["status"] == status
        ]
        more = {"nextToken": str(at + limit)} if at + limit < len(arns) else {}
        return {"taskDefinitionArns": arns[at : at + limit], **more}


def check_size(cpu: int, memory_mb: int) -> None:
    """Raise an error for a combination of CPU and memory that Fargate does not offer."""
    if memory_mb not in MEMORY_MB_BY_CPU.get(cpu, ()):
        raise client_error(NO_SUCH_SIZE)


def cpu_units(text: str) -> int:
    """Return the CPU units (1024 per vCPU) of a text such as ``1024`` or ``1 vCPU``."""
    number, _, unit = text.strip().partition(" ")
    return _number(number, 1024 if unit.strip().lower() == "vcpu" else 1, "cpu")


def memory_mb(text: str) -> int:
    """Return the memory in MB of a text such as ``2048``, ``2 GB`` or ``2GB``."""
    number = text.strip()
    in_gb = number.upper().endswith("GB")
    return _number(number[:-2] if in_gb else number, GB if in_gb else 1, "memory")


def _number(text: str, unit: int, what: str) -> int:
    try:
        return int(float(text) * unit)
    except ValueError:
        raise client_error(f"Invalid '{what}' setting for task.") from None


def _check_fargate(parameters: Mapping[str, Any]) -> None:
    if parameters.get("networkMode") != "awsvpc":
        raise client_error("Fargate only supports network mode 'awsvpc'.")
    for name in ("cpu", "memory"):
        if not parameters.get(name):
            raise client_error(f"Fargate requires that '{name}' be defined at the task level.")
    check_size(cpu_units(parameters["cpu"]), memory_mb(parameters["memory"]))
    for container in parameters["containerDefinitions"]:
        if (container.get("stopTimeout") or 0) > MAX_STOP_TIMEOUT:
            raise client_error(f"stopTimeout must be between 0 and {MAX_STOP_TIMEOUT} seconds.")
        log: Mapping[str, Any] = container.get("logConfiguration") or {}
        if log.get("logDriver") == "awslogs" and not parameters.get("executionRoleArn"):
            raise client_error(
                "Fargate requires task definition to have execution role ARN to support log "
                "driver awslogs."
            )


def _complete(container: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cpu": 0,
        "portMappings": [],
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "volumesFrom": [],
        "systemControls": [],
        **container,
    }
