"""The parameters of RunTask: built once for each request, and the same whenever it is repeated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloudburst.adapters.aws.definition import WATCHDOG, Definition
from cloudburst.adapters.aws.shapes import listed, member
from cloudburst.adapters.http.native import NO_LIMITS
from cloudburst.errors import ConfigurationError
from cloudburst.models.policy import Timeouts
from cloudburst.models.settings import Settings
from cloudburst.models.task import LaunchRequest, Protocol, Secrets, TaskSpec
from cloudburst.models.tier import Tier, encoder_slots

KEY = "AUTHENTICATION_KEY"
CERTIFICATE = "CLOUDBURST_CERTIFICATE"
PRIVATE_KEY = "CLOUDBURST_PRIVATE_KEY"
"""Variables of the container."""
PROVIDERS = ("FARGATE", "FARGATE_SPOT")
LONGEST_VALUE = 256
"""Characters of a tag's value, as of the alphabet below: "Tagging your Amazon ECS resources",
Amazon ECS developer guide (2026-11)."""
LONGEST_STARTER = 128
"""Characters of ``startedBy``: RunTask in the ECS API reference (2026-11)."""
LONGEST_REASON = 1024
"""Characters of a StopTask's reason that are passed on; AWS names no limit."""
DAY = 86_400.0
_SIGNS = frozenset(" _.:/=+-@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a task is asked for, and of what size: that may differ from its tier's."""

    rung: int
    """Of the ladder that leads there."""
    subnets: tuple[str, ...]
    provider: str | None
    """``None``: FARGATE is asked for as a launch type."""
    vcpu: int
    memory_gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What all tasks of a backend have in common."""

    settings: Settings
    definition: Definition
    timeouts: Timeouts

    def parameters(self, request: LaunchRequest, place: Place) -> dict[str, Any]:
        """Those of one request."""
        settings, spec = self.settings, request.spec
        where: dict[str, Any] = (
            {"launchType": "FARGATE"}
            if place.provider is None
            else {"capacityProviderStrategy": [{"capacityProvider": place.provider, "weight": 1}]}
        )
        if settings.platform_version is not None:
            where["platformVersion"] = settings.platform_version
        return {
            "cluster": settings.cluster,
            "taskDefinition": self.definition.arn,
            "count": 1,
            "clientToken": request.token,
            **where,
            "networkConfiguration": {"awsvpcConfiguration": self._network(place.subnets)},
            "overrides": self._overrides(request, place),
            "tags": [{"key": key, "value": value} for key, value in tags(spec).items()],
            "startedBy": starter(spec.run),
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

    def _overrides(self, request: LaunchRequest, place: Place) -> dict[str, Any]:
        tier, settings = request.spec.tier, self.settings
        containers: list[dict[str, Any]] = [
            {
                "name": self.definition.container,
                "environment": [
                    {"name": name, "value": str(value)}
                    for name, value in self._environment(request.secrets, tier).items()
                ],
            }
        ]
        if self.definition.watchdog:
            sleep = ["sleep", str(round(settings.lifetime))]
            containers.append({"name": WATCHDOG, "command": sleep})
        overrides: dict[str, Any] = {
            "cpu": str(place.vcpu * 1024),
            "memory": str(place.memory_gb * 1024),
            "containerOverrides": containers,
        }
        if settings.ephemeral_storage is not None:
            overrides["ephemeralStorage"] = {"sizeInGiB": settings.ephemeral_storage}
        return overrides

    def _environment(self, secrets: Secrets, tier: Tier) -> Mapping[str, object]:
        if self.definition.protocol is Protocol.ONESTEP:
            return {KEY: secrets.key}
        tls = {CERTIFICATE: secrets.certificate, PRIVATE_KEY: secrets.private_key}
        ours = {
            "LIFETIME_SECONDS": self.settings.lifetime,
            "IDLE_SECONDS": self.settings.idle,
            "ENCODERS": encoder_slots(tier.vcpu),
            "SCENE_SECONDS": self.timeouts.scene or DAY,
            **NO_LIMITS,
        }
        return {
            KEY: secrets.key,
            **(tls if secrets.certificate else {}),
            **{f"CLOUDBURST_{name}": value for name, value in ours.items()},
        }


def tags(spec: TaskSpec) -> dict[str, str]:
    """The tags of a task; characters that AWS does not take are replaced."""
    return {
        "CreatedBy": "animagent",
        "Purpose": "video-generation",
        "Scene": tag_value(spec.scene),
        "Language": spec.language,
        "Project": "CloudBurst",
        "cloudburst:run": tag_value(spec.run),
    }


def tag_value(text: str) -> str:
    """As near to the text as a tag's value can be."""
    value = "".join(char if char.isalnum() or char in _SIGNS else "_" for char in text)
    # What begins with "aws:" belongs to AWS.
    value = re.sub(r"^(aws):", r"\1_", value, flags=re.IGNORECASE)
    return value[:LONGEST_VALUE]


def starter(run: str) -> str:
    """``startedBy`` of the tasks of a run."""
    return re.sub(r"[^A-Za-z0-9/_-]", "_", f"cloudburst/{run}")[:LONGEST_STARTER]


def secrets_of(task: Mapping[str, Any], container: str) -> Secrets:
    """The key and the certificate of a task that is described, for who has not launched it."""
    values: dict[str, str] = {
        variable["name"]: variable["value"]
        for override in listed(member(task, "overrides"), "containerOverrides")
        if override.get("name") == container
        for variable in listed(override, "environment")
    }
    return Secrets(
        key=values.get(KEY, ""),
        certificate=values.get(CERTIFICATE, ""),
        private_key=values.get(PRIVATE_KEY, ""),
    )


class Providers:
    """Whose turn it is, by a share such as ``FARGATE_SPOT:3,FARGATE:1``.

    One provider for each launch, evenly mixed ("smooth weighted round robin"): of four launches
    three are Spot, and never three of one kind before the first of the other.
    """

    def __init__(self, capacity: str) -> None:
        self.weights = _weights(capacity)
        self._plain = capacity.strip() == "FARGATE"
        self._credit = dict.fromkeys(self.weights, 0)

    def next(self) -> str | None:
        """The provider of one launch; ``None``: none, the launch type FARGATE."""
        if self._plain:
            return None
        for provider, weight in self.weights.items():
            self._credit[provider] += weight
        chosen = max(self._credit, key=self._credit.__getitem__)
        self._credit[chosen] -= sum(self.weights.values())
        return chosen


def _weights(capacity: str) -> dict[str, int]:
    weights: dict[str, int] = {}
    for part in capacity.split(","):
        provider, _, weight = (word.strip() for word in part.partition(":"))
        if provider not in PROVIDERS or provider in weights or not _is_weight(weight or "1"):
            msg = (
                f"capacity is {capacity!r}; expected FARGATE, FARGATE_SPOT, or a share of each: "
                "FARGATE_SPOT:3,FARGATE:1"
            )
            raise ConfigurationError(msg)
        weights[provider] = int(weight or "1")
    return weights


def _is_weight(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= 1000


def placement_reasons(failures: Sequence[Mapping[str, Any]]) -> str:
    """What the ``failures`` of an answer say."""
    return "; ".join(
        " ".join(str(failure[name]) for name in ("reason", "detail") if failure.get(name))
        for failure in failures
    )
