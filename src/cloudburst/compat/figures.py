"""What the calls of old answer with: reports and prices under the keys of old."""

from __future__ import annotations

import math
from decimal import Decimal

from cloudburst.adapters.aws.prices import read_prices
from cloudburst.compat.parameters import read_settings, tier_of
from cloudburst.engine.ledger import MINIMUM_SECONDS
from cloudburst.errors import ConfigurationError
from cloudburst.models.batches import (
    BatchResult,
    CostBreakdown,
    Efficiency,
    FargateCost,
    TaskResult,
)
from cloudburst.models.prices import HOME
from cloudburst.models.report import Report, Status, WorkerReport


def calculate_fargate_cost(
    seconds: float, task_count: int = 1, config_priority: int = 1
) -> FargateCost:
    """What so many tasks cost that each run for so many seconds, on demand on x86.

    In list prices of the configured region, with AWS's minimum of a minute and, unless the
    settings do without, a public address; 0 seconds cost nothing. Raises `ConfigurationError` for
    figures below 0 and tiers that do not exist.
    """
    if not (math.isfinite(seconds) and seconds >= 0 and task_count >= 0):
        msg = f"{task_count} tasks of {seconds} seconds: expected figures from 0 on"
        raise ConfigurationError(msg)
    tier, settings = tier_of(config_priority), read_settings()
    rates = read_prices().rates(settings.region or HOME)
    billed = max(MINIMUM_SECONDS, math.ceil(seconds)) if seconds else 0
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
    """A report of ours as one of old."""
    workers = [worker for worker in report.workers if worker.launched is not None]
    tasks = [_task_result(report, worker) for worker in workers]
    seconds = sum(task.total_duration for task in tasks)
    cost = _usd(report.cost.usd if report.cost else Decimal())
    done, total = len(report.videos), len(report.scenes)
    encoding = sum(worker.encoding for worker in workers)
    return BatchResult(
        success=report.status is Status.COMPLETE,
        status=report.status,
        run=report.run,
        total_scenes=total,
        successful_scenes=done,
        failed_scenes=total - done,
        total_cost_usd=cost,
        total_duration=report.seconds,
        downloaded_files=[str(video.path) for video in report.videos],
        task_results=tasks,
        tasks_used=len(tasks),
        efficiency=Efficiency(
            speedup_factor=seconds / report.seconds if report.seconds else 0.0,
            processing_efficiency=100 * encoding / seconds if seconds else 0.0,
            cost_per_scene=cost / total,
        ),
        errors={entry.scene: entry.error for entry in report.scenes if entry.error is not None},
    )


def _task_result(report: Report, worker: WorkerReport) -> TaskResult:
    scenes = [entry for entry in report.scenes if entry.task == worker.task]
    files = [str(entry.video.path) for entry in scenes if entry.video is not None]
    end = report.seconds if worker.stopped is None else worker.stopped
    return TaskResult(
        task_arn=worker.task,
        success=worker.error is None and len(files) == len(scenes),
        total_scenes=len(scenes),
        successful_scenes=len(files),
        failed_scenes=len(scenes) - len(files),
        total_cost_usd=_usd(worker.cost.usd if worker.cost else Decimal()),
        total_duration=end - (worker.launched or 0.0),
        downloaded_files=files,
        error=worker.error,
        may_run=worker.may_run,
    )


def _usd(amount: Decimal) -> float:
    return float(amount)
