"""A task as this package sees it: on Fargate a task, on this machine a process."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NewType

from cloudburst.models.failures import Failure
from cloudburst.models.options import Language
from cloudburst.models.prices import Rates
from cloudburst.models.tier import Tier

TaskId = NewType("TaskId", str)
"""The task's ARN, or what stands for it on this machine."""


class Protocol(StrEnum):
    """How to talk to a worker."""

    NATIVE = "native"
    """Our service's own: files by their hash, jobs with progress, over TLS on Fargate."""
    ONESTEP = "onestep"
    """The public image's: one long POST for each scene, over plain HTTP."""


class TaskState(StrEnum):
    """ECS has more; these are the ones we act on."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What AWS bills a task by, as far as it is known.

    Times are seconds since the epoch, on AWS's clock: differences between them are exact.
    """

    rates: Rates
    """Of its region, architecture and capacity provider."""
    vcpu: float
    memory_gb: float
    extra_disk_gb: int = 0
    """Ephemeral storage beyond the 20 GB that cost nothing."""
    public_ipv4: bool = False
    created: float
    pull_started: float | None = None
    """From here on it is billed; ``None``: not yet, or never."""
    seen: float
    """It had not stopped yet at this time."""
    stopped: float | None = None
    """Up to here it is billed."""

    @property
    def usd_per_second(self) -> Decimal:
        """Of the whole task."""
        rates = self.rates
        return (
            Decimal(str(self.vcpu)) * rates.vcpu
            + Decimal(str(self.memory_gb)) * rates.memory_gb
            + self.extra_disk_gb * rates.disk_gb
            + (rates.ipv4 if self.public_ipv4 else 0)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """What the backend says about a task."""

    state: TaskState
    address: str | None = None
    """Base URL of the worker, as soon as it is known."""
    reason: str = ""
    """Why it stopped, with the last lines of its output where there are any."""
    stop_code: str = ""
    """The ``stopCode`` of ECS: ``SpotInterruption``, ``EssentialContainerExited``…"""
    failure: Failure | None = None
    """What that means and what helps, where the backend knows; ``None`` while it runs."""
    leaving: bool = False
    """It still runs and will be stopped by others: no new work for it."""
    usage: Usage | None = None
    """``None`` where nothing is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """What kind of task to start."""

    tier: Tier = Tier.STANDARD
    run: str = ""
    """Identifier of the run that asked first, for tags and names."""
    scene: str = ""
    """Name of the first scene that waited for it, for a tag."""
    language: Language = "chinese"
    """Of that run, for a tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What only one worker and we know. Never shown, never logged."""

    key: str = field(repr=False)
    """It wants this in ``X-Authentication-Key``."""
    certificate: str = field(default="", repr=False)
    """PEM; the worker shows it and the client takes no other. Empty: plain HTTP."""
    private_key: str = field(default="", repr=False)
    """PEM, of that certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTask:
    """A task that was started for a run, by whomever."""

    task: TaskId
    status: TaskStatus
    secrets: Secrets | None = None
    """``None``: it cannot be taken over, only stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """One exact request: repeated with the same token it starts nothing new."""

    spec: TaskSpec
    token: str
    secrets: Secrets
