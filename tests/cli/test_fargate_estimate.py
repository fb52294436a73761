"""Prices against numbers that were worked out by hand from AWS's list."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from cloudburst.cli.fargate_estimate import estimate
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import WorkerReport
from cloudburst.models.tier import Tier


def worker(ready: float | None, stopped: float | None, launched: float | None = 0) -> WorkerReport:
    return WorkerReport(
        task="t", backend="local", launched_at=launched, ready_at=ready, stopped_at=stopped
    )


@pytest.mark.parametrize(
    ("tier", "usd"),
    [
        (Tier.STANDARD, "0.0987"),  # 2 × 0.0404784 + 4 × 0.004446
        (Tier.HIGH_PERFORMANCE, "0.1975"),
        (Tier.ULTRA_PERFORMANCE, "0.3950"),
        (Tier.MAXIMUM_PERFORMANCE, "0.7899"),
        (Tier.ECONOMY, "0.0494"),
    ],
)
def test_an_hour_of_each_tier(tier: Tier, usd: str) -> None:
    hour = US_EAST_1_RATES.task_usd_per_second(tier, public_ipv4=False) * 3600
    assert hour.quantize(Decimal("0.0001")) == Decimal(usd)


def test_one_worker_for_an_hour() -> None:
    # 3,600 s with 40 s of start: 3,640 s × (0.09874 + 0.005) / 3600 = 0.104893
    one = estimate([worker(2.0, 3602.0)], seconds=3603.0, tier=Tier.STANDARD)
    assert (one.usd, one.tasks, one.billed_seconds) == (Decimal("0.1049"), 1, Decimal(3640))


def test_a_short_task_is_billed_for_a_minute() -> None:
    # 60 s × 0.10374 / 3600 = 0.0017290
    short = estimate([worker(0.5, 5.0)], seconds=5.0, tier=Tier.STANDARD)
    assert (short.usd, short.billed_seconds) == (Decimal("0.0017"), Decimal(60))
    assert estimate([worker(None, 5.0)], seconds=5, tier=Tier.STANDARD) == short
    longer = estimate([worker(0.5, 20.6)], seconds=5.0, tier=Tier.STANDARD)
    assert longer.billed_seconds == Decimal("60.1")


def test_many_workers_add_up_and_a_live_one_counts_until_the_end() -> None:
    workers = [
        worker(-30.0, None),  # warm before the run: 100 s of it, and a start
        worker(1.0, 51.0),  # 50 + 40
        worker(None, None, None),  # never was a task
    ]
    both = estimate(workers, seconds=100.0, tier=Tier.STANDARD)
    assert (both.tasks, both.billed_seconds) == (2, Decimal(230))
    assert both.usd == Decimal("0.0066")  # 230 × 0.10374 / 3600 = 0.0066278


def test_no_workers_cost_nothing() -> None:
    assert estimate([], seconds=9, tier=Tier.STANDARD).usd == 0


def test_the_assumptions_are_told() -> None:
    told = estimate([], seconds=0, tier=Tier.HIGH_PERFORMANCE).assumptions
    assert told == "4 vCPU, 8 GB, x86 on demand in us-east-1, 40 s start, 60 s minimum, IPv4"


def test_it_loads_nothing_heavy() -> None:
    code = "import sys, cloudburst.cli.summary; print({'httpx', 'boto3'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
