"""What whole runs cost, on a cloud that bills, in virtual time."""

from __future__ import annotations

import pickle
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from harness import checked, engine

from cloudburst.errors import BudgetError
from cloudburst.models.policy import Limits, Timeouts
from cloudburst.models.prices import US_EAST_1
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio

RATE = Decimal("0.000027428")
"""USD for a second of 2 vCPU and 4 GB without an address."""


def cloud(**facts) -> FakeCloud:
    facts = {"boot": 40, "pull_after": 8, "encode": 20, "ends_after": 15} | facts
    return FakeCloud(rates=US_EAST_1, **facts)


async def test_the_bill_of_one_task():
    # Launched at 0, pulls from 8, answers at 40, encodes until 80, is stopped then, ends at 95.
    one = cloud()
    async with engine(one, limits=Limits(workers=1)) as e:
        report = await e.render("ab")
        assert report.seconds == pytest.approx(80, abs=0.6)
        estimated = report.cost
        assert not estimated.final
        final = await report.settled()
    assert final.cost.final
    assert final.cost.usd >= estimated.usd
    assert final.cost.seconds == pytest.approx(87, abs=1)
    assert final.cost.usd == final.cost.seconds * RATE
    assert final.cost.wasted == 0
    assert final.cost.rendering == pytest.approx(40 * RATE)
    assert sum(scene.usd for scene in final.scenes) == final.cost.usd
    assert [w.cost for w in final.workers] == [final.cost]


async def test_totals_never_go_down_and_the_parts_always_add_up():
    async with engine(cloud(dying_tasks={"fake-1": 50}), limits=Limits(workers=2)) as e:
        last = Decimal()
        async with e.open("abcdef") as run:
            async for _ in run:
                cost = run.report.cost
                if cost is not None:
                    assert cost.usd >= last
                    last = cost.usd
        final = await run.settled()
    assert final.status is Status.COMPLETE
    assert final.cost.final
    assert final.cost.usd >= last
    assert final.cost.wasted > 0
    assert sum(s.usd for s in final.scenes) + final.cost.wasted == final.cost.usd


async def test_a_task_that_never_answered_is_wasted():
    async with engine(
        cloud(mute_tasks={"fake-1"}),
        limits=Limits(workers=1),
        timeouts=Timeouts(ready=100),
    ) as e:
        final = await (await e.render("a")).settled()
    lost, good = (worker.cost for worker in final.workers)
    assert lost.usd == lost.wasted == lost.seconds * RATE > 0
    assert good.wasted == 0


async def test_a_task_whose_launch_was_never_answered_is_on_the_bill():
    one = cloud(stalls=1)
    async with engine(one, limits=Limits(workers=1)) as e:
        async with e.open("a") as run:
            await anyio.sleep(3)
        final = await run.settled()
    assert not one.running
    assert len(final.workers) == 1
    assert final.cost is not None
    assert final.cost.final


async def test_settling_is_bounded():
    async with engine(cloud(ends_after=1e6), timeouts=Timeouts(settle=30)) as e:
        report = await e.render("a")
        began = anyio.current_time()
        assert not (await report.settled()).cost.final
        assert anyio.current_time() - began == pytest.approx(30, abs=1)


async def test_nothing_is_billed_where_nothing_is():
    async with engine(FakeCloud(encode=1)) as e:
        report = await e.render("a")
    assert report.cost is None
    assert report.scenes[0].usd is None


async def test_a_report_travels():
    async with engine(cloud()) as e:
        report = await e.render("a")
        copy = pickle.loads(pickle.dumps(report))
    assert copy.cost == report.cost
    assert await copy.settled() is copy


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
    assert report.cost is None


async def test_a_budget_binds_no_worker_that_costs_nothing():
    async with engine(FakeCloud(encode=1), limits=Limits(max_usd=Decimal("0.001"))) as e:
        assert (await e.render("ab")).status is Status.COMPLETE


class Dearer(FakeCloud):
    """Where it finds no room it may start tasks that cost twice as much."""

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, most_usd_per_second=2 * backend.usd_per_second)


async def test_the_budget_reckons_with_the_dearest_task_until_it_is_seen():
    """A scene of 1 s: 60 s until the first answer, at most 11 s of work, 15 s to stop."""
    usual = 86 * RATE
    facts = {"boot": 40, "pull_after": 8, "encode": 20, "rates": US_EAST_1}
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


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_task_whose_launch_is_answered_after_the_run_is_on_its_bill(cancelled):
    """The answer was lost; the worker is kept, and another run makes use of it."""
    cloud = FakeCloud(rates=US_EAST_1, encode=1, stalls=1)
    limits = Limits(workers=2, idle=100)
    async with engine(cloud, timeouts=Timeouts(call=5), limits=limits) as e:
        with anyio.move_on_after(1.5 if cancelled else None):
            async with e.open(["a", "b"], "first") as first:
                await first.until_done()
        assert len(first.report.workers) == 1
        async with e.open(["c", "d"], "second") as second:
            await second.until_done()
            await anyio.sleep(30)
        await e.pool.given_back()
        reports = [await run.settled() for run in (first, second)]
    costs = {w.task: w.cost for report in reports for w in report.workers if w.cost is not None}
    assert costs.keys() == set(cloud.launched.values())
    assert len(costs) == 2
    assert reports[0].cost.seconds == sum(cost.seconds for cost in costs.values())
    assert reports[0].cost.final
    assert reports[1].cost is None
