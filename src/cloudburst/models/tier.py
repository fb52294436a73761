"""Tiers: the sizes of a Fargate task."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from cloudburst.text import short_repr

# Number of vCPUs that a new AWS account may use at once on Fargate, separately for on-demand and
# Spot tasks: "Amazon ECS endpoints and quotas", AWS General Reference (2026-11).
NEW_ACCOUNT_VCPU = 6


class Tier(Enum):
    """Size of a Fargate task, with its name and priority in ``cloudburst-fargate``.

    The value is (priority, vCPUs, GB of memory).
    """

    STANDARD = (1, 2, 4)
    HIGH_PERFORMANCE = (2, 4, 8)
    ULTRA_PERFORMANCE = (3, 8, 16)
    MAXIMUM_PERFORMANCE = (4, 16, 32)
    ECONOMY = (5, 1, 2)

    @property
    def priority(self) -> int:
        """Number of the tier, from 1 to 5: ``config_priority`` of ``cloudburst-fargate``."""
        return self.value[0]

    @property
    def vcpu(self) -> int:
        """Number of vCPUs."""
        return self.value[1]

    @property
    def memory_gb(self) -> int:
        """Memory in GB."""
        return self.value[2]

    @property
    def size(self) -> str:
        """Size for people: ``2 vCPU, 4 GB``."""
        return f"{self.vcpu} vCPU, {self.memory_gb} GB"

    @classmethod
    def by_priority(cls, priority: int) -> Tier:
        """Return the tier with this priority. Raises ``ValueError`` unless it is 1 to 5."""
        for tier in cls:
            if type(priority) is int and tier.priority == priority:
                return tier
        known = ", ".join(f"{tier.priority} ({tier.name})" for tier in cls)
        msg = f"config_priority is {priority!r}; expected one of {known}"
        raise ValueError(msg)


def _named(value: Any) -> Any:
    if isinstance(value, int):
        return Tier.by_priority(value)
    if isinstance(value, str) and value not in Tier.__members__:
        raise ValueError(f"{short_repr(value)}; expected one of {', '.join(Tier.__members__)}")
    return Tier[value] if isinstance(value, str) else value


# Tier that is written to JSON as its name, and may be given as its priority.
NamedTier: TypeAlias = Annotated[
    Tier,
    BeforeValidator(_named),
    PlainSerializer(lambda tier: tier.name, when_used="json"),
    WithJsonSchema({"enum": [*Tier.__members__, *range(1, 6)]}, mode="validation"),
    WithJsonSchema({"type": "string", "enum": [*Tier.__members__]}, mode="serialization"),
]


def encoder_slots(vcpu: int) -> int:
    """Return the number of encoder slots of a task with this number of vCPUs: one per vCPU."""
    # More are not faster: each adds 1 to 2 % of CPU time and 120 MB (benchmarks/README.md). A vCPU
    # has 2 GB, and a slot needs at most 0.5 GB. Slots without a scene share a long one.
    return max(1, vcpu)
