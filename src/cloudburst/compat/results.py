"""Results in the form of ``cloudburst-fargate``."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from cloudburst.aws.client.price_list import read_prices
from cloudburst.compat.parameters import tier_of
from cloudburst.errors import ConfigurationError
from cloudburst.models.batches import (
    BatchResult,
    CostBreakdown,
    Efficiency,
    FargateCost,
    TaskResult,
)
from cloudburst.models.prices import DEFAULT_REGION
from cloudburst.models.report import Report, SceneReport, Status, WorkerReport
from cloudburst.models.settings import Settings
from cloudburst.models.task import whole_billed_seconds


def calculate_fargate_cost(
    seconds: float, task_count: int = 1, config_priority: int = 1
) -> FargateCost:
    """Return the cost in USD of on-demand tasks on x86 that each run for ``seconds``.

    The cost is computed from the list prices of the configured region. At least one minute is
    billed for each task, but 0 seconds cost nothing. A public address is included unless the
    settings turn it off. Raises `ConfigurationError` for negative numbers and unknown tiers.
    """
    if not (math.isfinite(seconds) and seconds >= 0 and task_count >= 0):
        msg = f"{task_count} tasks of {seconds} seconds; expected numbers from 0"
        raise ConfigurationError(msg)
    tier, settings = tier_of(config_priority), Settings()
    rates = read_prices().rates(settings.region or DEFAULT_REGION)
    billed = whole_billed_seconds(seconds) if seconds else 0
    vcpu, memory = tier.vcpu * rates.vcpu, tier.memory_gb * rates.memory_gb
    ipv4 = rates.ipv4 if settings.public_address else Decimal()
    one = billed * (vcpu + memory + ipv4)
    return FargateCost(
        fargate_config=f"{tier.vcpu}vCPU/{tier.memory_gb}GB",
        runtime_seconds=seconds,
        runtime_minutes=seconds / 60,
        runtime_hours=seconds / 3600,
        billed_seconds=billed,
        task_count=task_count,
        cost_per_task_usd=_usd(one),
        total_cost_usd=_usd(one * task_count),
        cost_per_hour=_usd(3600 * (vcpu + memory)),
        cost_breakdown=CostBreakdown(
            vcpu_cost=_usd(billed * vcpu),
            memory_cost=_usd(billed * memory),
            ipv4_cost=_usd(billed * ipv4),
            calculation=f"{billed} s × ({tier.vcpu} vCPU × ${rates.vcpu} "
            f"+ {tier.memory_gb} GB × ${rates.memory_gb} + IPv4 ${ipv4:.9f})",
        ),
    )


def batch_result(report: Report) -> BatchResult:
    """Convert the report of a run to a result with the keys of ``cloudburst-fargate``."""
    workers = [worker for worker in report.workers if worker.launched_at is not None]
    by_task = defaultdict[str | None, list[SceneReport]](list)
    for entry in report.scenes:
        by_task[entry.task].append(entry)
    tasks = [_task_result(report, worker, by_task[worker.task]) for worker in workers]
    seconds = sum(task.total_duration for task in tasks)
    cost = _usd(report.cost.usd)
    done, total = len(report.videos), len(report.scenes)
    encoding = sum(worker.encode_seconds for worker in workers)
    return BatchResult(
        success=report.status is Status.COMPLETE,
        status=report.status,
        run=report.run,
        total_scenes=total,
        successful_scenes=done,
        failed_scenes=total - done,
        total_cost_usd=cost,
        total_duration=report.wall_seconds,
        downloaded_files=[str(video.path) for video in report.videos],
        task_results=tasks,
        tasks_used=len(tasks),
        efficiency=Efficiency(
            speedup_factor=seconds / report.wall_seconds if report.wall_seconds else 0.0,
            processing_efficiency=100 * encoding / seconds if seconds else 0.0,
            cost_per_scene=cost / total,
        ),
        errors={entry.scene: entry.error for entry in report.scenes if entry.error is not None},
    )


def _task_result(report: Report, worker: WorkerReport, scenes: Sequence[SceneReport]) -> TaskResult:
    files = [str(entry.video.path) for entry in scenes if entry.video is not None]
    end = report.wall_seconds if worker.stopped_at is None else worker.stopped_at
    return TaskResult(
        task_arn=worker.task,
        success=worker.error is None and len(files) == len(scenes),
        total_scenes=len(scenes),
        successful_scenes=len(files),
        failed_scenes=len(scenes) - len(files),
        total_cost_usd=_usd(worker.cost.usd if worker.cost else Decimal()),
        total_duration=end - (worker.launched_at or 0.0),
        downloaded_files=files,
        error=worker.error,
        may_run=worker.possibly_running,
    )


def _usd(amount: Decimal) -> float:
    return float(amount)
