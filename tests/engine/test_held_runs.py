"""Workers that wait for a run whose input files are still read, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from decimal import Decimal

import anyio
import pytest

from cloudburst.models.limits import Limits
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import engine, known, working

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def held(e, count, *, seconds, work=10):
    """A run whose files are read for so many seconds."""
    scenes = [working(f"held{number}", work) for number in range(count)]

    async def finish():
        await anyio.sleep(seconds)
        return scenes

    async with e.open(scenes, "held", finish_check=finish) as run:
        yield run


async def test_the_budget_ends_the_wait_of_workers_for_a_held_run():
    cloud = FakeCloud(boot=20, encode=10, rates=US_EAST_1_RATES)
    limits = Limits(workers=4, max_usd=Decimal("0.01"))
    async with engine(cloud, limits=limits) as e, held(e, 8, seconds=3600) as run:
        report = await run.until_done()
        assert report.status is Status.BUDGET
        assert not cloud.running
        assert (await run.settled()).cost.usd <= limits.max_usd


async def test_only_workers_that_a_held_run_needs_wait_for_it():
    cloud = FakeCloud(boot=20, encode=60, encoders=2)
    others = [working(f"s{number}", 60) for number in range(10)]
    async with engine(cloud, limits=Limits(workers=5)) as e, e.open(others, "other") as other:
        await anyio.sleep(30)
        assert len(cloud.running) == 5
        async with held(e, 3, seconds=1800) as run:
            assert (await other.until_done()).wall_seconds < 100, "it waits for no other run"
            await anyio.sleep(5)
            assert len(cloud.running) == 3
            report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 5


async def test_workers_of_a_held_run_are_started_once():
    cloud = FakeCloud(encode=10, encoders=4)
    limits = Limits(workers=5, deadline=15)  # which needs more workers than their slots say
    async with engine(cloud, limits=limits) as e, held(e, 5, seconds=600) as run:
        assert (await run.until_done()).status is Status.COMPLETE
    assert len(cloud.launched) <= 5


async def test_a_worker_that_was_started_because_another_one_is_slow_is_started_once():
    """Both wait for one scene: without the second one, it would be started again and again."""
    cloud = FakeCloud(boot=20, encode=100, slow_tasks={"fake-1": 5.0}, rates=US_EAST_1_RATES)
    limits = Limits(workers=2, hour_usd=Decimal(10), speculative_copies=False)
    others = [working("s", 100)]
    async with (
        engine(cloud, limits=limits, measurements=known(cloud)) as e,
        e.open(others, "other") as other,
    ):
        await anyio.sleep(400)
        async with held(e, 1, seconds=1800, work=100) as run:
            assert (await other.until_done()).status is Status.COMPLETE
            await anyio.sleep(300)
            assert (await run.until_done()).status is Status.COMPLETE
    assert len(cloud.launched) == 2


async def test_a_worker_that_is_idle_waits_for_a_held_run_also_if_others_are_busy():
    works = [1000, 1000, 10]
    cloud = FakeCloud(
        boot=lambda task: 20 + int(task[-1]), encode=lambda name: works[int(name[-1])]
    )
    others = [working(f"s{number}", work) for number, work in enumerate(works)]
    limits = Limits(workers=3, speculative_copies=False)
    async with engine(cloud, limits=limits) as e, e.open(others, "other") as other:
        await anyio.sleep(30)
        async with held(e, 1, seconds=300) as run:
            await anyio.sleep(100)
            assert "encoded s2 on fake-3" in cloud.log
            assert len(cloud.running) == 3
            await run.until_done()
        await other.until_done()
    assert len(cloud.launched) == 3
