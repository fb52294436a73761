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


def encoder_slots(vcpu: int) -> int:
    """Scenes that a task of so many vCPUs encodes at once: one for each of them.

    ``nox -s bench -- slots`` measured it, on one core and on two; docs/benchmarks.md has the
    figures and says how far they carry:

    - a scene that is being made has something to do all the time, so that one for each core leaves
      none idle and a further one cannot be faster: it adds CPU (7 % with two for each core, 11 %
      with three) and about 400 MB;
    - a scene alone uses 1.3 cores, never more than 1.4: one for each two leaves a third idle;
    - 2 GB of memory come with each vCPU, and a slot holds 1.2 GB at most.
    """
    return max(1, vcpu)
