"""What a run on this machine would have cost on Fargate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from cloudburst.engine.ledger import MINIMUM_SECONDS
from cloudburst.models.pace import PULL_SECONDS
from cloudburst.models.prices import US_EAST_1
from cloudburst.models.report import WorkerReport
from cloudburst.models.tier import Tier

_SHOWN = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would have cost on Fargate. An estimate: nothing was billed."""

    usd: Decimal
    tasks: int
    seconds: Decimal
    """Billed, over all tasks."""
    assumptions: str
    """In one line."""


def estimate(workers: Iterable[WorkerReport], *, seconds: float, tier: Tier) -> Estimate:
    """The price of the same run on Fargate: as many tasks, each working as long as here.

    ``workers`` and ``seconds`` are those of the report. A worker that is still alive counts up to
    the run's end. The start that was seen here is left out, and the one that Fargate bills put in
    its place; a worker that never answered counts with that alone.
    """
    billed: list[Decimal] = []
    for worker in workers:
        if worker.launched is None:
            continue
        end = seconds if worker.stopped is None else worker.stopped
        begin = end if worker.ready is None else max(worker.ready, 0.0)
        alive = Decimal(str(round(max(end - begin, 0.0), 3)))
        billed.append(max(alive + PULL_SECONDS, Decimal(MINIMUM_SECONDS)))
    total = sum(billed, Decimal())
    cost = total * US_EAST_1.of(tier)
    return Estimate(
        usd=cost.quantize(_SHOWN, ROUND_HALF_UP),
        tasks=len(billed),
        seconds=total,
        assumptions=(
            f"{tier.vcpu} vCPU, {tier.memory_gb} GB, x86 on demand in us-east-1, "
            f"{PULL_SECONDS} s start, {MINIMUM_SECONDS} s minimum, IPv4"
        ),
    )
