"""What the calls of ``cloudburst-fargate`` answer: the keys of old, as keys and as attributes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.models.report import Status


class Keyed(BaseModel, Mapping[str, Any]):
    """A model that is a mapping of its fields too: ``result["key"]`` is ``result.key``."""

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, key: str) -> Any:
        """The field of this name."""
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # a model's are pairs
        """The names of the fields."""
        return iter(type(self).model_fields)

    def __len__(self) -> int:
        """The number of the fields."""
        return len(type(self).model_fields)


class Distribution(Keyed):
    """How many scenes each task is meant to take; whoever is done early takes of the others'."""

    num_tasks: int
    batch_distribution: list[int]
    """Scenes for each task, the larger shares first."""
    total_batches: int
    """As ``num_tasks``."""
    strategy: str
    """The plan in one line."""
    warnings: list[str]
    """Where the plan is not as asked for, and why."""


class Efficiency(Keyed):
    """What it was good for to have many tasks."""

    speedup_factor: float = 0.0
    """Seconds of all tasks for each second on the clock."""
    processing_efficiency: float = 0.0
    """Percent of the tasks' seconds during which at least one scene encoded."""
    cost_per_scene: float = 0.0
    """USD; 0 where nothing is billed."""


class TaskResult(Keyed):
    """One task; its scenes are those whose last attempt it had."""

    task_arn: str
    """On this machine: what stands for it."""
    success: bool
    """It was not lost, and none of its scenes failed."""
    total_scenes: int
    successful_scenes: int
    failed_scenes: int
    total_cost_usd: float
    total_duration: float
    """Seconds from the launch until its stop was accepted."""
    downloaded_files: list[str]
    error: str | None = None
    """Why it was lost."""
    may_run: bool = False
    """Its stop was not accepted: it may run on, and be billed."""


class BatchResult(Keyed):
    """What became of the scenes."""

    success: bool
    """Every scene has its video."""
    status: Status
    run: str
    """Identifier of the run: in tags, and in the name of the output folder."""
    total_scenes: int
    successful_scenes: int
    failed_scenes: int
    total_cost_usd: float
    """0 where nothing is billed."""
    total_duration: float
    """Seconds on the clock."""
    downloaded_files: list[str]
    """Paths of the videos, in the order of the scenes."""
    task_results: list[TaskResult]
    tasks_used: int
    efficiency: Efficiency
    errors: dict[str, str] = Field(default_factory=dict[str, str])
    """Of each scene that failed: the kind of its error, and the message."""


class CostBreakdown(Keyed):
    """What one task is billed for, in USD."""

    vcpu_cost: float
    memory_cost: float
    ipv4_cost: float
    calculation: str


class FargateCost(Keyed):
    """What tasks on demand on x86 cost, in list prices."""

    fargate_config: str
    runtime_seconds: float
    """As asked for."""
    runtime_minutes: float
    runtime_hours: float
    billed_seconds: int
    """Of one task: a minute at least."""
    task_count: int
    cost_per_task_usd: float
    total_cost_usd: float
    cost_per_hour: float
    """USD for vCPU and memory of one task; a public address comes on top."""
    cost_breakdown: CostBreakdown


class TaskInfo(Keyed):
    """A task that runs."""

    task_arn: str
    task_definition: str
    status: str
    started_at: dt.datetime | None
    cpu: str
    """CPU units."""
    memory: str
    """MiB."""
    public_ip: str | None
    tags: dict[str, str]


class FailedTask(Keyed):
    """A task that still runs although it should not."""

    task_arn: str
    error: str


class CleanupResult(Keyed):
    """What a cleanup came to."""

    success: bool
    """Nothing runs on that should have been stopped."""
    message: str
    terminated_count: int
    failed_count: int
    terminated_tasks: list[str]
    """Their ARNs."""
    failed_tasks: list[FailedTask]


class AccountValidity(Keyed):
    """Whether AWS takes the credentials, and for whose."""

    valid: bool
    message: str
    account_id: str | None = None
    user_arn: str | None = None
