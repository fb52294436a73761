"""Estimated cost of a run on this machine if Fargate had rendered it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from cloudburst.engine.forecast.billing_forecast import billed_seconds
from cloudburst.models.billing import MINIMUM_BILLED_SECONDS
from cloudburst.models.performance import PULL_SECONDS
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import WorkerReport
from cloudburst.models.tier import Tier

_SHOWN_USD = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Estimated cost of a local run on Fargate. Nothing was billed."""

    usd: Decimal
    tasks: int
    billed_seconds: Decimal
    """Seconds that would have been billed on Fargate, for all tasks together."""
    assumptions: str
    """Assumptions of the estimate, in one line."""


def estimate(workers: Iterable[WorkerReport], *, seconds: float, tier: Tier) -> Estimate:
    """Estimate the cost of a local run if it had used a Fargate task in place of each worker.

    Each task is assumed to render for as long as the worker did, after the billed start-up time of
    a Fargate task. For a worker that never became ready, only this start-up time counts.

    Args:
        workers: Workers of the report. A worker that has not stopped counts up to the end of the
            run.
        seconds: Wall time of the run, in seconds.
        tier: Tier of the tasks.
    """
    billed: list[Decimal] = []
    for worker in workers:
        if worker.launched_at is None:
            continue
        end = seconds if worker.stopped_at is None else worker.stopped_at
        begin = end if worker.ready_at is None else max(worker.ready_at, 0.0)
        task_seconds = billed_seconds(max(end - begin, 0.0) + PULL_SECONDS)
        billed.append(Decimal(str(round(task_seconds, 3))))
    total = sum(billed, Decimal())
    cost = total * US_EAST_1_RATES.task_usd_per_second(tier)
    return Estimate(
        usd=cost.quantize(_SHOWN_USD, ROUND_HALF_UP),
        tasks=len(billed),
        billed_seconds=total,
        assumptions=(
            f"{tier.vcpu} vCPU, {tier.memory_gb} GB, x86 on demand in us-east-1, "
            f"{PULL_SECONDS} s start, {MINIMUM_BILLED_SECONDS} s minimum, IPv4"
        ),
    )
