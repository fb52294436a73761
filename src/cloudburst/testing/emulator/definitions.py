"""ECS: task definitions."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from cloudburst.testing.emulator.config import EmulatorConfig
from cloudburst.testing.emulator.refusal import client_error, invalid

GB = 1024
MEMORY: Mapping[int, tuple[int, ...]] = {
    256: (512, GB, 2 * GB),
    512: tuple(range(GB, 4 * GB + 1, GB)),
    1024: tuple(range(2 * GB, 8 * GB + 1, GB)),
    2048: tuple(range(4 * GB, 16 * GB + 1, GB)),
    4096: tuple(range(8 * GB, 30 * GB + 1, GB)),
    8192: tuple(range(16 * GB, 60 * GB + 1, 4 * GB)),
    16384: tuple(range(32 * GB, 120 * GB + 1, 8 * GB)),
}
"""MB that go with CPU units: "Task size" in the ECS developer guide (2026-11)."""
NO_PAIR = "No Fargate configuration exists for given values."
LONGEST_STOP = 120
"""Seconds of a ``stopTimeout`` on Fargate: the same guide, "Container timeouts"."""
FAMILY = re.compile(r"[A-Za-z0-9_-]{1,255}")


class Definitions:
    """The task definitions of the account."""

    def __init__(self, config: EmulatorConfig) -> None:
        self._config = config
        self._prefix = f"arn:aws:ecs:{config.region}:{config.account}:task-definition/"
        self._families: dict[str, list[tuple[dict[str, Any], list[dict[str, str]]]]] = {}
        self.operations = {
            "RegisterTaskDefinition": self.register,
            "DescribeTaskDefinition": self._describe,
            "DeregisterTaskDefinition": self._deregister,
            "ListTaskDefinitions": self._list,
        }

    def find(self, reference: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """A revision, or the last active one of a family, with its tags.

        Raises `RefusedError` when there is none.
        """
        family, _, number = reference.rpartition("/")[2].partition(":")
        for definition, tags in reversed(self._families.get(family, [])):
            if number == str(definition["revision"]) or (
                not number and definition["status"] == "ACTIVE"
            ):
                return definition, tags
        raise client_error("Unable to describe task definition.")

    def find_to_run(self, reference: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """The same, for RunTask, which wants an active one."""
        family, _, number = reference.rpartition("/")[2].partition(":")
        for definition, tags in reversed(self._families.get(family, [])):
            if definition["status"] == "ACTIVE" and number in {"", str(definition["revision"])}:
                return definition, tags
            if number == str(definition["revision"]):
                raise client_error("TaskDefinition is inactive")
        raise client_error("TaskDefinition not found.")

    def register(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """RegisterTaskDefinition."""
        family = asked["family"]
        if not FAMILY.fullmatch(family):
            raise client_error("Family contains invalid characters.")
        if not asked.get("containerDefinitions"):
            raise client_error("Container list cannot be empty.")
        if "FARGATE" in (asked.get("requiresCompatibilities") or ()):
            _check_fargate(asked)
        revisions = self._families.setdefault(family, [])
        revision = len(revisions) + 1
        definition = {
            **{name: value for name, value in asked.items() if name != "tags"},
            "taskDefinitionArn": f"{self._prefix}{family}:{revision}",
            "containerDefinitions": [_complete(c) for c in asked["containerDefinitions"]],
            "revision": revision,
            "status": "ACTIVE",
            "volumes": list(asked.get("volumes") or ()),
            "placementConstraints": [],
            "requiresAttributes": [],
            "compatibilities": ["EC2", "FARGATE"],
            "registeredAt": time.time(),
            "registeredBy": f"arn:aws:iam::{self._config.account}:user/emulator",
        }
        revisions.append((definition, list(asked.get("tags") or ())))
        return {"taskDefinition": definition, "tags": revisions[-1][1]}

    def tags(self, arn: str) -> list[dict[str, str]] | None:
        """Of the revision with this ARN; the list itself."""
        for revisions in self._families.values():
            for definition, tags in revisions:
                if definition["taskDefinitionArn"] == arn:
                    return tags
        return None

    def _describe(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        definition, tags = self.find(asked["taskDefinition"])
        shown = {"tags": tags} if "TAGS" in (asked.get("include") or ()) else {}
        return {"taskDefinition": definition, **shown}

    def _deregister(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        if ":" not in asked["taskDefinition"].rpartition("/")[2]:
            raise client_error("Task definition revision is required")
        definition, _ = self.find(asked["taskDefinition"])
        definition["status"] = "INACTIVE"
        definition.setdefault("deregisteredAt", time.time())
        return {"taskDefinition": definition}

    def _list(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        status, family = asked.get("status") or "ACTIVE", asked.get("familyPrefix")
        limit, at = asked.get("maxResults") or 100, int(asked.get("nextToken") or 0)
        if not 1 <= limit <= 100:
            raise invalid("maxResults must be between 1 and 100.")
        arns = [
            definition["taskDefinitionArn"]
            for name, revisions in sorted(self._families.items())
            if family in {None, name}
            for definition, _ in revisions
            if definition["status"] == status
        ]
        if asked.get("sort") == "DESC":
            arns.reverse()
        more = {"nextToken": str(at + limit)} if at + limit < len(arns) else {}
        return {"taskDefinitionArns": arns[at : at + limit], **more}


def check_size(cpu: int, memory_mb: int) -> None:
    """Raises `RefusedError` for a pair that Fargate has not."""
    if memory_mb not in MEMORY.get(cpu, ()):
        raise client_error(NO_PAIR)


def cpu_units(text: str) -> int:
    """From ``1024`` or ``1 vCPU``."""
    number, _, unit = text.strip().partition(" ")
    return _number(number, 1024 if unit.strip().lower() == "vcpu" else 1, "cpu")


def memory_mb(text: str) -> int:
    """From ``2048``, ``2 GB`` or ``2GB``."""
    number = text.strip()
    in_gb = number.upper().endswith("GB")
    return _number(number[:-2] if in_gb else number, GB if in_gb else 1, "memory")


def _number(text: str, unit: int, what: str) -> int:
    try:
        return int(float(text) * unit)
    except ValueError:
        raise client_error(f"Invalid '{what}' setting for task.") from None


def _check_fargate(asked: Mapping[str, Any]) -> None:
    if asked.get("networkMode") != "awsvpc":
        raise client_error("Fargate only supports network mode 'awsvpc'.")
    for name in ("cpu", "memory"):
        if not asked.get(name):
            raise client_error(f"Fargate requires that '{name}' be defined at the task level.")
    check_size(cpu_units(asked["cpu"]), memory_mb(asked["memory"]))
    for container in asked["containerDefinitions"]:
        if (container.get("stopTimeout") or 0) > LONGEST_STOP:
            raise client_error(f"stopTimeout must be between 0 and {LONGEST_STOP} seconds.")
        log: Mapping[str, Any] = container.get("logConfiguration") or {}
        if log.get("logDriver") == "awslogs" and not asked.get("executionRoleArn"):
            raise client_error(
                "Fargate requires task definition to have execution role ARN to support log "
                "driver awslogs."
            )


def _complete(container: Mapping[str, Any]) -> dict[str, Any]:
    """With the members that AWS adds."""
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
