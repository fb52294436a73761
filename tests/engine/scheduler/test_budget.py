"""``Limits.max_usd`` is kept, on a cloud that bills, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest

from cloudburst.errors import BudgetError
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Performance
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import checked, engine, known

pytestmark = pytest.mark.anyio

RATE = Decimal("0.09874") / 3600
"""USD for a second of 2 vCPU and 4 GB without an address."""


def cloud(**facts) -> FakeCloud:
    facts = {"boot": 40, "pull_after": 8, "encode": 20, "ends_after": 15} | facts
    return FakeCloud(rates=US_EAST_1_RATES, **facts)


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize("cents", range(1, 40, 3))
async def test_a_budget_is_kept(cents):
    """Twelve scenes of 60 s, by and large as long as their sounds: 4 cents and more in all."""
    most = Decimal(cents) / 200
    one = cloud(encode=60)
    limits = Limits(workers=3, max_usd=most)
    async with engine(one, limits=limits) as e:
        report = await e.render([checked(f"s{number}", 60) for number in range(12)])
        final = await report.settled()
    spent = final.cost.usd if final.cost else Decimal()
    assert spent <= most
    assert not one.running
    left = [scene for scene in final.scenes if scene.video is None]
    assert final.status is (Status.BUDGET if left else Status.COMPLETE)
    assert all(isinstance(error, BudgetError) for error in final.errors)
    if left:
        assert f"Limits.max_usd is ${most}" in str(final.errors[0])
        # Not all that was there is left: one more scene on a warm worker was foreseen to pass it.
        assert most - spent < 12 * 60 * 4 * RATE
    else:
        assert spent > 0


async def test_a_budget_that_is_too_small_starts_nothing():
    one = cloud()
    async with engine(one, limits=Limits(max_usd=Decimal("0.001"))) as e:
        report = await e.render("ab")
    assert report.status is Status.BUDGET
    assert not one.launched
    assert (report.cost.usd, report.cost.final, report.is_billed) == (0, True, False)


async def test_a_budget_binds_no_worker_that_costs_nothing():
    async with engine(FakeCloud(encode=1), limits=Limits(max_usd=Decimal("0.001"))) as e:
        assert (await e.render("ab")).status is Status.COMPLETE


class Dearer(FakeCloud):
    """Where it finds no room it may start tasks that cost twice as much."""

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, max_usd_per_second=2 * backend.usd_per_second)


async def test_the_budget_reckons_with_the_dearest_task_until_it_is_seen():
    """A scene of 1 s: 60 s until the first answer, at most 11 s of work, 15 s to stop."""
    usual = 86 * RATE
    facts = {"boot": 40, "pull_after": 8, "encode": 20, "rates": US_EAST_1_RATES}
    dear = Dearer(**facts)
    async with engine(dear, limits=Limits(workers=1, max_usd=usual * Decimal("1.5"))) as e:
        report = await e.render("a")
    assert report.status is Status.BUDGET
    assert not dear.launched
    async with engine(cloud(), limits=Limits(workers=1, max_usd=usual * Decimal("1.5"))) as e:
        assert (await e.render("a")).status is Status.COMPLETE
    # Once it is there and known to be a usual one, there is money for more than one scene.
    seen = Dearer(**facts)
    async with engine(seen, limits=Limits(workers=1, max_usd=usual * Decimal("2.5"))) as e:
        assert (await e.render("abcd")).status is Status.COMPLETE


@pytest.mark.few(1)
@pytest.mark.parametrize("first_run", [True, False])
async def test_more_budget_never_gives_fewer_videos(first_run):
    """One task is billed for 173 s; the starts of four cost nearly as much."""
    figures = Performance(
        startup_seconds=58.0,
        placement_seconds=18.0,
        seconds_per_work=0.6,
        stop_seconds=23.0,
    )
    facts = {"boot": 58, "pull_after": 18, "ends_after": 23, "encode": 11, "encoders": 2}
    videos = []
    for bills in ("1", "1.1", "1.5", "1.75"):
        one = cloud(performance=figures, **facts)
        limits = Limits(workers=4, max_usd=173 * RATE * Decimal(bills))
        measurements = None if first_run else known(one, ratio=0.6)
        async with engine(one, limits=limits, measurements=measurements) as e:
            report = await e.render([checked(f"s{number}", 10) for number in range(20)])
            final = await report.settled()
        assert final.cost.usd <= limits.max_usd
        videos.append(sum(scene.video is not None for scene in final.scenes))
    assert videos == sorted(videos)
    assert videos[-1] == 20


@pytest.mark.parametrize("encoders", [1, 2])
async def test_an_encode_that_would_exceed_the_budget_is_cancelled(encoders):
    """The first task is ten times slower than the others; the other one does what it had."""
    one = cloud(encode=60, encoders=encoders, slow_tasks={"fake-1": 10.0})
    limits = Limits(workers=2, max_usd=Decimal("0.012"), speculative_copies=False)
    async with engine(one, limits=limits, measurements=known(one)) as e:
        report = await e.render([checked(f"s{number}", 60) for number in range(2 * encoders)])
        final = await report.settled()
    assert final.cost.usd <= limits.max_usd
    assert not one.running
    (slow,) = [worker for worker in final.workers if worker.task == "fake-1"]
    assert slow.error.startswith("BudgetError: fake-1 was stopped while it encoded")
    assert "Limits.max_usd ($0.012)" in slow.error
    assert not any("on fake-1" in line for line in one.log if line.startswith("encoded"))
