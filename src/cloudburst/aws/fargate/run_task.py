"""Parameters of RunTask, and the values that are read back from tasks of other processes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.aws.client.responses import get_list, get_structure
from cloudburst.aws.fargate.placement import Placement
from cloudburst.aws.fargate.task_definition import WATCHDOG_CONTAINER, TaskDefinition
from cloudburst.models.limits import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import LaunchRequest, Protocol, Secrets, TaskSpec
from cloudburst.models.tier import Tier, encoder_slots
from cloudburst.workers.http.native import service_limits

KEY_VARIABLE = "AUTHENTICATION_KEY"
"""Name of the environment variable with the worker's key, which every request must contain."""
CERTIFICATE_VARIABLE = "CLOUDBURST_CERTIFICATE"
"""Name of the environment variable with the worker's TLS certificate."""
PRIVATE_KEY_VARIABLE = "CLOUDBURST_PRIVATE_KEY"
"""Name of the environment variable with the private key of the worker's TLS certificate."""
CREATED_BY_TAG, RUN_TAG, SCENE_TAG = "CreatedBy", "cloudburst:run", "Scene"
"""Keys of the tags with the creator, run and scene of a task, which are read back from tasks."""
CREATED_BY = "animagent"
"""Value of `CREATED_BY_TAG` on the tasks of this package and of ``cloudburst-fargate``."""
STARTED_BY_PREFIX = "cloudburst/"
"""Beginning of the ``startedBy`` of a task; the name of the run follows."""
# Maximum length of the value of a tag, in characters: "Tagging your Amazon ECS resources", Amazon
# ECS developer guide (2026-11), which also lists the characters that AWS allows.
MAX_TAG_VALUE_LENGTH = 256
_TAG_PUNCTUATION = frozenset(" _.:/=+-@")
# Maximum length of ``startedBy``, in characters: RunTask in the ECS API reference (2026-11).
MAX_STARTED_BY_LENGTH = 128
NO_SCENE_TIMEOUT = 86_400.0
"""Value of ``CLOUDBURST_SCENE_SECONDS``, in seconds, if scenes have no timeout: one day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTaskTemplate:
    """Template for the RunTask parameters of all tasks of a backend."""

    settings: Settings
    definition: TaskDefinition
    timeouts: Timeouts

    def parameters(self, request: LaunchRequest, placement: Placement) -> dict[str, Any]:
        """Return the RunTask parameters of a launch.

        A repeated request of the launch must use the same parameters.
        """
        settings, spec = self.settings, request.spec
        capacity: dict[str, Any] = (
            {"launchType": "FARGATE"}
            if placement.provider is None
            else {
                "capacityProviderStrategy": [{"capacityProvider": placement.provider, "weight": 1}]
            }
        )
        if settings.platform_version is not None:
            capacity["platformVersion"] = settings.platform_version
        return {
            "cluster": settings.cluster,
            "taskDefinition": self.definition.arn,
            "count": 1,
            "clientToken": request.token,
            **capacity,
            "networkConfiguration": {"awsvpcConfiguration": self._network(placement.subnets)},
            "overrides": self._overrides(request, placement),
            "tags": [{"key": key, "value": value} for key, value in task_tags(spec).items()],
            "startedBy": started_by(spec.run),
        }

    def _network(self, subnets: Sequence[str]) -> dict[str, Any]:
        settings = self.settings
        network: dict[str, Any] = {
            "subnets": list(subnets),
            "assignPublicIp": "ENABLED" if settings.public_address else "DISABLED",
        }
        if settings.security_groups:
            network["securityGroups"] = list(settings.security_groups)
        return network

    def _overrides(self, request: LaunchRequest, placement: Placement) -> dict[str, Any]:
        tier, settings = request.spec.tier, self.settings
        containers: list[dict[str, Any]] = [
            {
                "name": self.definition.container,
                "environment": [
                    {"name": name, "value": str(value)}
                    for name, value in self._environment(request, tier).items()
                ],
            }
        ]
        if self.definition.watchdog:
            sleep = ["sleep", str(round(settings.lifetime))]
            containers.append({"name": WATCHDOG_CONTAINER, "command": sleep})
        overrides: dict[str, Any] = {
            "cpu": str(placement.vcpu * 1024),
            "memory": str(placement.memory_gb * 1024),
            "containerOverrides": containers,
        }
        if settings.ephemeral_storage is not None:
            overrides["ephemeralStorage"] = {"sizeInGiB": settings.ephemeral_storage}
        return overrides

    def _environment(self, request: LaunchRequest, tier: Tier) -> Mapping[str, object]:
        secrets = request.secrets
        if self.definition.protocol is Protocol.ONESTEP:
            return {KEY_VARIABLE: secrets.key}
        tls = {
            CERTIFICATE_VARIABLE: secrets.certificate,
            PRIVATE_KEY_VARIABLE: secrets.private_key,
        }
        service_settings = {
            "LIFETIME_SECONDS": self.settings.lifetime,
            "IDLE_SECONDS": self.settings.idle,
            "ENCODERS": encoder_slots(tier.vcpu),
            "SCENE_SECONDS": self.timeouts.scene or NO_SCENE_TIMEOUT,
            **service_limits(request.spec.limits),
        }
        return {
            KEY_VARIABLE: secrets.key,
            **(tls if secrets.certificate else {}),
            **{f"CLOUDBURST_{name}": value for name, value in service_settings.items()},
        }


def task_tags(spec: TaskSpec) -> dict[str, str]:
    """Return the tags of a task."""
    return {
        CREATED_BY_TAG: CREATED_BY,
        "Purpose": "video-generation",
        SCENE_TAG: tag_value(spec.scene),
        "Language": spec.language,
        "Project": "CloudBurst",
        RUN_TAG: tag_value(spec.run),
    }


def tag_value(text: str) -> str:
    """Return the text as the value of a tag, with ``_`` for characters that AWS does not allow."""
    value = "".join(char if char.isalnum() or char in _TAG_PUNCTUATION else "_" for char in text)
    # AWS reserves values that begin with "aws:".
    value = re.sub(r"^(aws):", r"\1_", value, flags=re.IGNORECASE)
    return value[:MAX_TAG_VALUE_LENGTH]


def started_by(run: str) -> str:
    """Return the ``startedBy`` of a run's tasks, with ``_`` for characters that AWS forbids."""
    text = f"{STARTED_BY_PREFIX}{run}"
    return re.sub(r"[^A-Za-z0-9/_-]", "_", text)[:MAX_STARTED_BY_LENGTH]


def secrets_of(task: Mapping[str, Any], container: str) -> Secrets:
    """Return the secrets of a container in the description of its task; missing ones are empty."""
    values: dict[str, str] = {
        variable.get("name", ""): variable.get("value", "")
        for override in get_list(get_structure(task, "overrides"), "containerOverrides")
        if override.get("name") == container
        for variable in get_list(override, "environment")
    }
    return Secrets(
        key=values.get(KEY_VARIABLE, ""),
        certificate=values.get(CERTIFICATE_VARIABLE, ""),
        private_key=values.get(PRIVATE_KEY_VARIABLE, ""),
    )
