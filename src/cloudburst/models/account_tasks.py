"""Information about an account's tasks: running tasks, reports of cleanups and log lines."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum


class TaskOwner(StrEnum):
    """Owner of a running task, according to the runs that are registered on this machine."""

    ACTIVE = "active"
    """A run in progress on this machine."""
    ORPHAN = "orphan"
    """A run of this machine that has ended, or whose process has exited."""
    OTHER_MACHINE = "other_machine"
    """A run that is not registered on this machine."""
    FOREIGN = "foreign"
    """Another program: the task does not carry the tag of cloudburst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """A task in the cluster whose stop has not been requested."""

    task_arn: str
    task_definition: str
    """Family and revision, as in ``family:revision``."""
    status: str
    """ECS's ``lastStatus``: ``PROVISIONING``, ``PENDING``, ``RUNNING``…"""
    created_at: dt.datetime
    started_at: dt.datetime | None = None
    cpu: str
    """CPU units as text, 1,024 for each vCPU; empty if only the containers have sizes."""
    memory: str
    """MiB as text; empty if only the containers have sizes."""
    architecture: str = "X86_64"
    capacity: str = "FARGATE"
    zone: str = ""
    public_ip: str | None = None
    private_ip: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    run: str = ""
    scene: str = ""
    """First scene that waited for the task."""
    owner: TaskOwner
    age_seconds: float
    """Seconds since the launch."""
    billed_seconds: int
    usd: Decimal
    """Cost so far, in USD, at list prices."""
    price_assumed: bool = False
    """True if the prices are those of us-east-1, for lack of those of the region."""

    @property
    def task_id(self) -> str:
        """Identifier of the task: the last part of its ARN."""
        return self.task_arn.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStop:
    """A task that a cleanup could not stop."""

    task: RunningTask
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupReport:
    """Result of a cleanup, which stops tasks that are no longer needed."""

    stopped: tuple[RunningTask, ...] = ()
    """Tasks whose stop AWS accepted; in a dry run, the tasks that would be stopped."""
    failed: tuple[FailedStop, ...] = ()
    kept: tuple[RunningTask, ...] = ()
    """Other tasks of cloudburst, which the options did not select."""
    forgotten_runs: tuple[str, ...] = ()
    """Ended runs without tasks that were removed from this machine's registry."""
    dry_run: bool = False

    @property
    def success(self) -> bool:
        """True if AWS accepted the stop of every selected task."""
        return not self.failed


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LogLine:
    """A line that a container wrote."""

    time: dt.datetime
    container: str
    text: str
