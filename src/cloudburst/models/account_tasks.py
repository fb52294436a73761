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
    """The task belongs to a run that is in progress on this machine."""
    ORPHAN = "orphan"
    """The task belongs to a run that was started on this machine; the run has ended or its process
    has exited."""
    OTHER_MACHINE = "other_machine"
    """The task belongs to a run that is not registered on this machine; another machine may have
    started it."""
    FOREIGN = "foreign"
    """The task does not carry the tag of cloudburst: another program started it."""


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
    """CPU units of the task as text, 1,024 for each vCPU; empty if only its containers have
    sizes."""
    memory: str
    """Memory of the task in MiB, as text; empty if only its containers have sizes."""
    architecture: str = "X86_64"
    capacity: str = "FARGATE"
    """Capacity provider: ``FARGATE`` or ``FARGATE_SPOT``."""
    zone: str = ""
    """Availability zone of the task; empty if it is unknown."""
    public_ip: str | None = None
    private_ip: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    run: str = ""
    """Name of the run that started the task; empty if it is unknown."""
    scene: str = ""
    """Name of the first scene that waited for the task; empty if it is unknown."""
    owner: TaskOwner
    age_seconds: float
    """Seconds since the launch of the task."""
    billed_seconds: int
    """Seconds for which AWS bills the task so far."""
    usd: Decimal
    """Cost of the task so far, in USD, at list prices."""
    price_assumed: bool = False
    """True if the prices of us-east-1 are used because those of the task's region are not known."""

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
    """Other tasks of cloudburst in the cluster, which the options of the cleanup did not select."""
    forgotten_runs: tuple[str, ...] = ()
    """Names of ended runs that have no tasks left and were removed from this machine's registry of
    runs."""
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
