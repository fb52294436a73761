"""Results of the functions of ``cloudburst-fargate``, readable by key and by attribute."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloudburst.models.report import Status


class Keyed(BaseModel, Mapping[str, Any]):
    """Model that is also a mapping of its fields: ``result["key"]`` is ``result.key``."""

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, key: str) -> Any:
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # a model yields pairs
        return iter(type(self).model_fields)

    def __len__(self) -> int:
        return len(type(self).model_fields)


class Distribution(Keyed):
    """Planned number of tasks, and planned number of scenes for each task.

    The tasks take scenes from one queue, so the actual numbers of scenes may differ.
    """

    num_tasks: int
    batch_distribution: list[int]
    """Planned number of scenes of each task, in descending order."""
    total_batches: int
    """The same as ``num_tasks``."""
    strategy: str
    """Plan as one line of text, such as ``50 scenes on 5 tasks: 5 × 10``."""
    warnings: list[str]
    """Messages that explain where the plan differs from the caller's parameters."""


class Efficiency(Keyed):
    """Figures that show how well a batch used its tasks."""

    speedup_factor: float = 0.0
    """Sum of the run times of all tasks divided by the wall time of the batch."""
    processing_efficiency: float = 0.0
    """Percentage of the tasks' run time in which they encoded at least one scene."""
    cost_per_scene: float = 0.0
    """Cost per scene in USD; 0 if nothing is billed."""


class TaskResult(Keyed):
    """Result of one task. A scene is counted only for the task that made its last attempt."""

    task_arn: str
    """ARN of the task, or the name of a process on this machine."""
    success: bool
    """True if the task did not fail and none of its scenes failed."""
    total_scenes: int
    successful_scenes: int
    failed_scenes: int
    total_cost_usd: float
    total_duration: float
    """Seconds from the launch of the task until its stop was accepted."""
    downloaded_files: list[str]
    error: str | None = None
    may_run: bool = False
    """True if the stop of the task was not accepted: the task is possibly still running and
    billed."""


class BatchResult(Keyed):
    """Result of a batch of scenes."""

    success: bool
    """True if every scene has a video."""
    status: Status
    run: str
    """Name of the run. It is part of the name of the output folder and of the tags of the tasks."""
    total_scenes: int
    successful_scenes: int
    failed_scenes: int
    total_cost_usd: float
    """Cost in USD when AWS had accepted the stop of every task; 0 if nothing is billed. AWS bills a
    task until it has stopped, some seconds later: ``cloudburst runs`` lists the final cost."""
    total_duration: float
    """Wall time in seconds."""
    downloaded_files: list[str]
    """Paths of the videos, in the order of the scenes."""
    task_results: list[TaskResult]
    tasks_used: int
    efficiency: Efficiency
    errors: dict[str, str] = Field(default_factory=dict[str, str])
    """Error of each failed scene as ``Kind: message``, by the name of the scene."""


class CostBreakdown(Keyed):
    """Parts of the cost of one task, in USD."""

    vcpu_cost: float
    memory_cost: float
    ipv4_cost: float
    calculation: str


class FargateCost(Keyed):
    """Cost of on-demand tasks on x86, at list prices."""

    fargate_config: str
    runtime_seconds: float
    """Run time of each task in seconds, as the caller gave it."""
    runtime_minutes: float
    runtime_hours: float
    billed_seconds: int
    """Billed seconds of one task: at least 60, or 0 for a run time of 0."""
    task_count: int
    cost_per_task_usd: float
    total_cost_usd: float
    cost_per_hour: float
    """Price of one task in USD per hour, without its public IPv4 address."""
    cost_breakdown: CostBreakdown


class TaskInfo(Keyed):
    """Task that runs in the cluster."""

    task_arn: str
    task_definition: str
    status: str
    started_at: dt.datetime | None
    cpu: str
    """CPU units of the task as text, 1,024 for each vCPU."""
    memory: str
    """Memory of the task in MiB, as text."""
    public_ip: str | None
    tags: dict[str, str]


class FailedTask(Keyed):
    """Task that could not be stopped."""

    task_arn: str
    error: str


class CleanupResult(Keyed):
    """Result of ``cleanup_all_tasks``."""

    success: bool
    """True if AWS accepted the stop of every selected task."""
    message: str
    terminated_count: int
    failed_count: int
    terminated_tasks: list[str]
    failed_tasks: list[FailedTask]


class AccountValidity(Keyed):
    """Result of checking the credentials with AWS."""

    valid: bool
    message: str
    account_id: str | None = None
    user_arn: str | None = None
