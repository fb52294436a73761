"""Values about tasks: ECS tasks on Fargate, or processes on this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import NewType

from cloudburst.models.failures.failure import Failure
from cloudburst.models.limits import Limits
from cloudburst.models.options import Language
from cloudburst.models.prices import Rates
from cloudburst.models.tier import Tier

# Identifier of a task: its ARN, or a name for a process on this machine.
TaskId = NewType("TaskId", str)
# Version of the native protocol. It is raised with every change after which a client and a render
# service of different versions cannot work together. ``cloudburst init`` writes it into the task
# definition.
PROTOCOL_VERSION = 3
# Label of images and containers that names their protocol.
PROTOCOL_LABEL = "cloudburst.protocol"
# Label of images and containers with the version of the native protocol that they speak.
PROTOCOL_VERSION_LABEL = "cloudburst.protocol-version"


class Protocol(StrEnum):
    """Protocol between the client and a render service."""

    NATIVE = "native"
    """Protocol of this package's render service."""
    ONESTEP = "onestep"
    """Protocol of the public image: one long POST for each scene, over plain HTTP."""


class TaskState(StrEnum):
    """State of a task. Each value stands for one or more states of ECS."""

    STARTING = "starting"
    RUNNING = "running"
    """The task runs, or is stopping and has not stopped yet."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Billed resources and times of a task, as far as they are known.

    Times are seconds since the epoch on AWS's clock, so that their differences are exact.
    """

    rates: Rates
    vcpu: float
    memory_gb: float
    extra_disk_gb: int = 0
    """GB of ephemeral storage beyond the first 20, which are not billed."""
    public_ipv4: bool = False
    created_at: float
    pull_started_at: float | None = None
    """Start of the image pull, from which the task is billed."""
    last_seen_at: float
    """Last time at which the task was seen running."""
    stopped_at: float | None = None
    """End of the task, until which it is billed."""

    @property
    def size(self) -> str:
        """Size of the task, for people: ``2 vCPU, 4 GB``."""
        return f"{self.vcpu:g} vCPU, {self.memory_gb:g} GB"

    @property
    def usd_per_second(self) -> Decimal:
        """USD per second."""
        return self.rates.usd_per_second(
            self.vcpu, self.memory_gb, self.extra_disk_gb, public_ipv4=self.public_ipv4
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """Status of a task as its backend reports it."""

    state: TaskState
    address: str | None = None
    """Base URL of the worker, once it is known."""
    reason: str = ""
    """Reason why the task stopped or has no address yet, if there is one."""
    stop_code: str = ""
    """Stop code of ECS, such as ``SpotInterruption``."""
    failure: Failure | None = None
    """Row of the failure table that explains the stop."""
    stop_announced: bool = False
    """True if the task still runs but AWS has announced its stop."""
    spot: bool = False
    """True on Fargate Spot, which may take the machine back."""
    usage: Usage | None = None
    """Billed resources and times; ``None`` if nothing is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """Specification of a task to start."""

    tier: Tier = Tier.STANDARD
    run: str = ""
    scene: str = ""
    """First scene that waited for the task. It, run and language are tags of the task."""
    language: Language = "chinese"
    limits: Limits = field(default_factory=Limits)
    """Limits of the client, some of which the worker applies to its input, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Secrets of one worker. They are never shown or logged."""

    key: str = field(repr=False)
    """Key for the header ``X-Authentication-Key``."""
    certificate: str = field(default="", repr=False)
    """Certificate of the worker in PEM, the only one that is accepted; empty for plain HTTP."""
    private_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTask:
    """Task that the backend found for a run; this process or another one started it."""

    task: TaskId
    status: TaskStatus
    secrets: Secrets | None = None
    """Secrets of the worker; ``None`` if the task can only be stopped, not adopted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """Request for one task, which starts no second task if it is repeated with the same token."""

    spec: TaskSpec
    token: str
    secrets: Secrets


# Minimum time that AWS bills for a task, in seconds. Source: AWS Fargate pricing, "Pricing
# details" (https://aws.amazon.com/fargate/pricing/, 2026-11).
MINIMUM_BILLED_SECONDS = 60
# Unit to which amounts in USD are rounded down, so that their sums are exact.
_USD_UNIT = Decimal("1e-12")


def whole_billed_seconds(running: float) -> int:
    """Round a running time up to the seconds that AWS bills: whole seconds, at least 60."""
    return max(MINIMUM_BILLED_SECONDS, math.ceil(running))


def seconds_billed(usage: Usage) -> int:
    """Return the billed seconds of a task, from the start of its image pull to its stop."""
    if usage.pull_started_at is None:
        return 0
    end = usage.last_seen_at if usage.stopped_at is None else usage.stopped_at
    # Timestamps have milliseconds; rounding removes the error of their difference as floats.
    return whole_billed_seconds(round(end - usage.pull_started_at, 3))


def usd_billed(usage: Usage) -> Decimal:
    """Return the billed amount of a task, in USD."""
    return usd_amount(seconds_billed(usage) * usage.usd_per_second)


def usd_amount(usd: Decimal) -> Decimal:
    """Return the amount rounded down to a multiple of 1e-12 USD, so that sums are exact."""
    return usd.quantize(_USD_UNIT, ROUND_DOWN)
