"""Which idle workers are kept for later runs, with ``Limits(idle=None)``. In virtual time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from cloudburst.models.limits import Limits
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud
from support.harness import engine, known

pytestmark = pytest.mark.anyio

RATE = US_EAST_1_RATES.task_usd_per_second(Tier.STANDARD, public_ipv4=False)
TASK_HOUR = 3600 * RATE
"""With this value of an hour, a start of 40 s is worth 80 s of a task: its bill and the wait."""
WORTH = 80


def warm(**more):
    return Limits(**{"workers": 2, "idle": None, "hour_usd": TASK_HOUR} | more)


def cloud(**facts):
    return FakeCloud(**{"boot": 40.0, "encode": 30.0, "rates": US_EAST_1_RATES} | facts)


async def test_one_warm_worker_is_kept_for_the_price_of_a_start():
    one = cloud()
    async with engine(one, measurements=known(one), limits=warm()) as e:
        await e.render(["a"])
        await anyio.sleep(WORTH - 5)
        report = await e.render(["b"], "second")
        assert report.wall_seconds < 40
        assert len(one.launched) == 1
        await anyio.sleep(WORTH - 5)
        assert one.running
        await anyio.sleep(10)
        assert not one.running


async def test_the_other_workers_stop_at_once():
    one = cloud()
    async with engine(one, measurements=known(one), limits=warm(hour_usd=100)) as e:
        await e.render(["a", "b"])
        assert len(one.launched) == 2
        await anyio.sleep(3)
        assert len(one.running) == 1


async def test_by_default_no_worker_is_kept():
    one = cloud()
    async with engine(one, measurements=known(one), limits=replace(warm(), idle=0.0)) as e:
        await e.render(["a"])
        assert not one.running


async def test_a_worker_that_costs_nothing_is_not_kept():
    one = cloud(rates=None)
    async with engine(one, measurements=known(one), limits=warm()) as e:
        await e.render(["a"])
        assert not one.running


async def test_a_warm_worker_is_kept_until_the_end_of_what_asks_for_it():
    one = cloud()
    async with engine(one, measurements=known(one), limits=replace(warm(), idle=0.0)) as e:
        with e.pool.scheduler.kept_workers.keeping_warm():
            await e.render(["a"])
            assert one.running
        await anyio.sleep(1)
        assert not one.running


async def test_a_warm_worker_stops_before_its_bill_exceeds_the_budget():
    one = cloud(ends_after=20.0)
    limit = 130 * RATE
    limits = warm(hour_usd=Decimal(100), max_usd=limit)
    async with engine(one, measurements=known(one), limits=limits) as e:
        report = await e.render(["a"])
        assert report.status is Status.COMPLETE
        assert one.running
        await anyio.sleep(120)
        assert not one.running
        report = await report.settled()
    assert report.cost.final
    assert limit * 8 / 10 < report.cost.usd <= limit
    assert report.cost.idle > 0


async def test_the_end_of_the_client_stops_a_warm_worker():
    one = cloud()
    async with engine(one, measurements=known(one), limits=warm()) as e:
        await e.render(["a"])
        assert one.running
    assert not one.running


async def test_the_time_for_which_a_worker_was_kept_is_no_part_of_its_stop():
    one, measurements = cloud(ends_after=20.0), known(cloud())
    async with engine(one, measurements=measurements, limits=warm()) as e:
        await e.render(["a"])
        await anyio.sleep(WORTH + 60)
        assert not one.running
    stop = measurements.performance("fake", one.performance).stop_seconds
    assert stop == pytest.approx(20, abs=1)
