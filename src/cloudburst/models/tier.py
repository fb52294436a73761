"""Sizes of a task."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, PlainSerializer


class Tier(Enum):
    """Size of a task, by the names and priorities of ``cloudburst-fargate``.

    The value is (priority, vCPU, GB of memory).
    """

    STANDARD = (1, 2, 4)
    HIGH_PERFORMANCE = (2, 4, 8)
    ULTRA_PERFORMANCE = (3, 8, 16)
    MAXIMUM_PERFORMANCE = (4, 16, 32)
    ECONOMY = (5, 1, 2)

    @property
    def priority(self) -> int:
        """``config_priority`` of the old client: 1 to 5."""
        return self.value[0]

    @property
    def vcpu(self) -> int:
        """Virtual CPUs."""
        return self.value[1]

    @property
    def memory_gb(self) -> int:
        """Memory in GB, as Fargate bills it."""
        return self.value[2]

    @classmethod
    def by_priority(cls, priority: int) -> Tier:
        """The tier of a ``config_priority``; ``ValueError`` for anything but 1 to 5."""
        for tier in cls:
            if tier.priority == priority:
                return tier
        known = ", ".join(f"{tier.priority} ({tier.name})" for tier in cls)
        msg = f"config_priority is {priority!r}; expected one of {known}"
        raise ValueError(msg)


def _named(value: Any) -> Any:
    return Tier.__members__.get(value, value) if isinstance(value, str) else value


NamedTier: TypeAlias = Annotated[
    Tier, BeforeValidator(_named), PlainSerializer(lambda tier: tier.name, when_used="json")
]
"""A tier that is its name in JSON."""
