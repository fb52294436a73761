"""What is found in an account: tasks that run, what became of stopping them, what they wrote."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum


class Whose(StrEnum):
    """Who would miss a task."""

    ALIVE = "alive"
    """A run on this machine that goes on."""
    DEAD = "dead"
    """A run on this machine that has ended, or whose process is gone: nobody would."""
    ELSEWHERE = "elsewhere"
    """A run that this machine does not know."""
    FOREIGN = "foreign"
    """It does not have our tag: something else than cloudburst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task that nobody has stopped yet."""

    task_arn: str
    task_definition: str
    """``family:revision``."""
    status: str
    """The ``lastStatus`` of ECS: ``PROVISIONING``, ``PENDING``, ``RUNNING``…"""
    created_at: dt.datetime
    started_at: dt.datetime | None = None
    cpu: str
    """CPU units, 1,024 for each vCPU; empty for a task without a size of its own."""
    memory: str
    """MiB; the same."""
    architecture: str = "X86_64"
    capacity: str = "FARGATE"
    zone: str = ""
    """Availability zone."""
    public_ip: str | None = None
    private_ip: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    run: str = ""
    scene: str = ""
    """The one it was started for."""
    whose: Whose
    age: float
    """Seconds since it was asked for."""
    seconds: int
    """Billed so far."""
    usd: Decimal
    """The same in list prices."""
    assumed: bool = False
    """The prices are those of us-east-1, for those of its region are not known."""

    @property
    def task_id(self) -> str:
        """The last part of its ARN."""
        return self.task_arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStop:
    """A task that still runs although it should not."""

    task: RunningTask
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupReport:
    """What a cleanup came to."""

    stopped: tuple[RunningTask, ...] = ()
    """Their stop was accepted; in a dry run: those that would be stopped."""
    failed: tuple[FailedStop, ...] = ()
    left: tuple[RunningTask, ...] = ()
    """Tasks of ours that go on running, as they shall."""
    forgotten: tuple[str, ...] = ()
    """Runs of this machine that had ended without a farewell and of which nothing is left."""
    dry_run: bool = False

    @property
    def success(self) -> bool:
        """Whether nothing runs on that should have been stopped."""
        return not self.failed


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LogLine:
    """A line that a container wrote."""

    at: dt.datetime
    container: str
    text: str
