"""Cost of whole runs on a fake cloud that bills, in virtual time."""

from __future__ import annotations

import pickle
from decimal import Decimal

import anyio
import pytest

from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.models.task import usd_amount
from cloudburst.testing import FakeCloud
from support.harness import engine

pytestmark = pytest.mark.anyio

RATE = Decimal("0.09874") / 3600
"""USD for a second of 2 vCPU and 4 GB without an address."""


def cloud(**facts) -> FakeCloud:
    facts = {"boot": 40, "pull_after": 8, "encode": 20, "ends_after": 15} | facts
    return FakeCloud(rates=US_EAST_1_RATES, **facts)


async def test_the_bill_of_one_task():
    # Launched at 0, pulls from 8, answers at 40, encodes until 80, is stopped then, ends at 95.
    one = cloud()
    async with engine(one, limits=Limits(workers=1)) as e:
        report = await e.render("ab")
        assert report.wall_seconds == pytest.approx(80, abs=0.6)
        estimated = report.cost
        assert not estimated.final
        final = await report.settled()
    assert final.cost.final
    assert final.cost.usd >= estimated.usd
    assert final.cost.billed_seconds == pytest.approx(87, abs=1)
    assert final.cost.usd == usd_amount(final.cost.billed_seconds * RATE)
    assert final.cost.wasted == 0
    assert final.cost.encoding == pytest.approx(40 * RATE)
    assert sum(scene.usd for scene in final.scenes) == final.cost.usd
    assert [w.cost for w in final.workers] == [final.cost]


async def test_totals_never_go_down_and_the_parts_always_add_up():
    async with engine(cloud(crashing_tasks={"fake-1": 50}), limits=Limits(workers=2)) as e:
        last = Decimal()
        async with e.open("abcdef") as run:
            async for _ in run:
                cost = (await run.report()).cost
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
        cloud(silent_tasks={"fake-1"}),
        limits=Limits(workers=1),
        timeouts=Timeouts(ready=100),
    ) as e:
        final = await (await e.render("a")).settled()
    lost, good = (worker.cost for worker in final.workers)
    assert lost.usd == lost.wasted == usd_amount(lost.billed_seconds * RATE) > 0
    assert good.wasted == 0


async def test_a_task_whose_launch_was_never_answered_is_on_the_bill():
    one = cloud(stalls=1)
    async with engine(one, limits=Limits(workers=1)) as e:
        async with e.open("a") as run:
            await anyio.sleep(3)
        final = await run.settled()
    assert not one.running
    assert len(final.workers) == 1
    assert final.cost.final


async def test_a_bill_that_cannot_become_final_says_so(caplog):
    async with engine(cloud()) as e:
        report = await e.render("a")
    late = await report.settled()
    assert not late.cost.final
    assert "the cost of run run is still an estimate" in caplog.text
    assert str(late.cost).endswith(" (estimate)")
    caplog.clear()
    async with engine(cloud()) as e:
        final = await (await e.render("a")).settled()
    assert final.cost.final
    assert str(final.cost) == f"${final.cost.usd:.4f}"
    assert not caplog.text


async def test_a_cost_of_zero_is_written_without_exponent():
    async with engine(cloud()) as e:
        cost = (await e.render("a")).cost
    assert str(cost.wasted) == "0"
    assert cost.model_dump(mode="json")["wasted"] == "0"
    assert cost.model_dump(mode="json")["usd"] == f"{cost.usd:f}"


async def test_settling_is_bounded():
    async with engine(cloud(ends_after=1e6), timeouts=Timeouts(settle=30)) as e:
        report = await e.render("a")
        began = anyio.current_time()
        assert not (await report.settled()).cost.final
        assert anyio.current_time() - began == pytest.approx(30, abs=1)


async def test_nothing_is_billed_where_nothing_is():
    async with engine(FakeCloud(encode=1)) as e:
        report = await e.render("a")
    assert (report.cost.usd, report.cost.final, report.is_billed) == (0, True, False)
    assert report.scenes[0].usd is None


async def test_a_report_travels():
    async with engine(cloud()) as e:
        report = await e.render("a")
        copy = pickle.loads(pickle.dumps(report))
    assert copy.cost == report.cost
    assert await copy.settled() is copy


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_task_whose_launch_is_answered_after_the_run_is_on_its_bill(cancelled):
    """The answer was lost; the worker is kept, and another run makes use of it."""
    cloud = FakeCloud(rates=US_EAST_1_RATES, encode=1, stalls=1)
    limits = Limits(workers=2, idle=100)
    async with engine(cloud, timeouts=Timeouts(call=5), limits=limits) as e:
        with anyio.move_on_after(1.5 if cancelled else None):
            async with e.open(["a", "b"], "first") as first:
                await first.until_done()
        assert len((await first.report()).workers) == 1
        async with e.open(["c", "d"], "second") as second:
            await second.until_done()
            await anyio.sleep(30)
        e.pool.close()
        reports = [await run.settled() for run in (first, second)]
    costs = {w.task: w.cost for report in reports for w in report.workers if w.cost is not None}
    assert costs.keys() == set(cloud.launched.values())
    assert len(costs) == 2
    assert reports[0].cost.billed_seconds == sum(cost.billed_seconds for cost in costs.values())
    assert reports[0].cost.final
    assert not reports[1].is_billed
