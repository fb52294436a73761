"""Tasks that start late or never, in virtual time. A usual start takes 40 s."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.events import WorkerFailed, WorkerLaunched
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Performance, Sample
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from support.harness import engine, known, working

pytestmark = pytest.mark.anyio

LATE = 52.0
"""Seconds after which a start is late: 1.3 times the usual time."""


def cloud(boots=(), **facts):
    """Tasks that need these seconds to start, in the order of their launches, and then 40 s."""
    times = dict(enumerate(boots, 1))
    facts = {"rates": US_EAST_1_RATES, "encode": 10.0, "pull_after": 18.0} | facts
    return FakeCloud(boot=lambda task: times.get(int(task.rpartition("-")[2]), 40.0), **facts)


def measured(starts=(40.0,)):
    measurements = known(FakeCloud(), starts=False)
    for seconds in starts:
        measurements.add(Sample(kind="fake", measure="startup", seconds=seconds))
    return measurements


async def render(one, scenes=1, *, work=10, measurements=None, **limits):
    limits = Limits(**limits)
    measurements = measurements or measured()
    async with engine(one, measurements=measurements, limits=limits) as e:
        async with e.open([working(f"s{n}", work) for n in range(scenes)]) as run:
            events = [event async for event in run]
        report = await run.settled()
    assert report.status is Status.COMPLETE
    assert not one.running
    return [event.at for event in events if isinstance(event, WorkerLaunched)], report


async def test_a_task_that_never_starts_is_replaced():
    one = cloud(silent_tasks={"fake-1"})
    launches, report = await render(one)
    assert launches == [pytest.approx(0, abs=0.1), pytest.approx(LATE, abs=2.5)]
    assert report.wall_seconds == pytest.approx(LATE + 40 + 10, abs=3)
    late = next(worker for worker in report.workers if worker.task == "fake-1")
    assert late.error.startswith("WorkerNotReadyError: fake-1 was stopped because it was not ready")
    assert "a usual start takes 40 s, and another task replaces it" in late.error
    # It is stopped when the other one is ready, and not before.
    assert late.cost.billed_seconds == pytest.approx(LATE + 40 - 18, abs=3)


async def test_a_late_task_that_is_ready_first_is_used():
    one = cloud(boots=[60.0])
    launches, report = await render(one)
    assert len(launches) == 2
    assert report.wall_seconds == pytest.approx(70, abs=1)
    assert "encoded s0 on fake-1" in one.log
    assert not any(worker.error for worker in report.workers)
    assert sum(worker.cost.billed_seconds for worker in report.workers if worker.cost) <= 60


async def test_a_start_that_takes_a_little_longer_is_not_late():
    one = cloud(boots=[50.0])
    launches, report = await render(one)
    assert len(launches) == 1
    assert report.wall_seconds == pytest.approx(60, abs=1)


async def test_the_measured_percentile_decides_once_it_is_known():
    # Ten starts: nine in ten are ready within 46 s; or some of them take long.
    for starts, late in (([38, 39, *[40] * 6, 46, 46], 46), ([*[40] * 8, 90, 90], 90)):
        one = cloud(silent_tasks={"fake-1"})
        launches, _ = await render(one, measurements=measured(starts))
        assert launches[1] == pytest.approx(late, abs=2.6)


async def test_other_tasks_do_the_work_of_a_late_one():
    """Three of four tasks do all in nearly the same time: another start is not worth its price."""
    one = cloud(silent_tasks={"fake-2"})
    launches, report = await render(one, 16, workers=8, hour_usd=Decimal("0.4"))
    assert len(launches) == len(one.launched) == 4
    assert report.wall_seconds == pytest.approx(40 + 6 * 10, abs=1)


@pytest.mark.parametrize("limits", [{"workers": 1}, {"workers": 4, "max_usd": Decimal("0.0085")}])
async def test_a_late_task_is_stopped_first_where_no_other_one_may_be_started(limits):
    one = cloud(silent_tasks={"fake-1"}, stop_takes=3.0)
    launches, report = await render(one, work=100, **limits)
    assert launches[1] == pytest.approx(1.3 * LATE + 3, abs=2.6)
    assert one.max_running == 1
    if "max_usd" in limits:
        assert report.cost.usd <= limits["max_usd"]


async def test_a_late_task_is_kept_if_no_other_one_could_be_paid_for():
    one = cloud(boots=[100.0])
    launches, report = await render(one, max_usd=Decimal("0.0045"))
    assert len(launches) == 1
    assert report.wall_seconds == pytest.approx(110, abs=1)


async def test_tasks_are_not_replaced_until_the_end_of_time():
    """All starts take three times as long as ever measured."""
    one = cloud(boots=[120.0] * 99)
    launches, report = await render(one, workers=1)
    # The first one is stopped after 68 s; the second one would be late after 104 s, overdue at 135.
    assert len(launches) == 2
    assert report.wall_seconds == pytest.approx(1.3 * LATE + 120 + 10, abs=4)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("startup", [60.0, 120.0, 250.0])
@pytest.mark.parametrize(("scenes", "workers"), [(20, 4), (8, 2)])
async def test_when_all_starts_are_slow_the_run_is_complete(startup, scenes, workers):
    """One task at a time is stopped to make room, which counts as no failed start."""
    one = cloud(boots=[startup] * 99)
    launches, report = await render(one, scenes, workers=workers, measurements=measured([20.0]))
    at_first = sum(at < 1 for at in launches)
    stopped = sum(bool(worker.error) for worker in report.workers)
    assert len(launches) == at_first + stopped
    assert stopped <= 4, "the start of each one in the place of another one may take twice as long"
    assert report.wall_seconds < startup + 10 * scenes / (at_first - 1) + 5


async def test_starts_that_were_stopped_count_like_the_slow_one_in_their_place():
    measurements = measured([20.0] * 2)
    await render(cloud(boots=[120.0] * 9), workers=1, measurements=measurements)
    assert measurements.count("fake", "startup") == 2 + 3
    usual = measurements.performance("fake", Performance()).startup_seconds
    assert usual == pytest.approx(120, abs=1)
    measurements = measured([20.0] * 3)
    await render(
        cloud(silent_tasks={"fake-1"}, boots=[0, 20.0]), workers=1, measurements=measurements
    )
    assert measurements.count("fake", "startup") == 4


async def test_when_all_tasks_are_late_one_of_them_is_replaced():
    one = cloud(boots=[120.0] * 99)
    launches, report = await render(one, 40, workers=8)
    at_first = sum(at < 1 for at in launches)
    assert len(launches) <= at_first + 1
    assert report.wall_seconds < 200


async def test_assumed_starts_stop_no_task():
    """In a first run, the usual time of a start is assumed: another task, and no stop for one."""
    pace = Performance(startup_seconds=40.0, transfer_seconds=2.0)
    one = cloud(boots=[100.0], performance=pace)
    launches, report = await render(one, workers=1, measurements=Measurements())
    assert len(launches) == 1
    one = cloud(silent_tasks={"fake-1"}, performance=pace)
    launches, report = await render(one, workers=2, measurements=Measurements())
    assert launches[1] == pytest.approx(LATE, abs=2.5)
    assert report.wall_seconds == pytest.approx(LATE + 50, abs=3)


async def test_the_old_calls_and_free_workers_replace_no_task():
    class Eager(FakeCloud):
        @asynccontextmanager
        async def backend(self, timeouts, tier):
            async with super().backend(timeouts, tier) as backend:
                yield replace(backend, eager=True)

    for one in (
        Eager(boot=lambda _: 100.0, encode=10.0, rates=US_EAST_1_RATES),
        cloud(boots=[100.0], rates=None),
    ):
        launches, _ = await render(one)
        assert len(launches) == 1


async def test_a_task_that_was_not_accepted_is_not_late():
    one = cloud()
    launch = one.launch

    async def slow_launch(request):
        await anyio.sleep(9)
        return await launch(request)

    one.launch = slow_launch
    launches, report = await render(one)
    assert len(launches) == 1
    assert report.wall_seconds == pytest.approx(59, abs=1)


async def test_many_tasks_that_never_start_end_the_run():
    one = cloud(silent_tasks={f"fake-{number}" for number in range(1, 99)})
    async with engine(one, measurements=measured(), limits=Limits(workers=1)) as e:
        async with e.open([working("s", 10)]) as run:
            events = [event async for event in run]
        report = await run.settled()
    assert report.status is Status.FAILED
    assert "no render service answered at" in str(report.errors[0])
    # Twice: one is stopped to make room, and the one in its place runs for Timeouts.reach.
    assert len([event for event in events if isinstance(event, WorkerFailed)]) == 4
    assert not one.running
    assert report.wall_seconds == pytest.approx(2 * (LATE * 1.3 + 40 + 90), abs=6)


async def test_a_late_task_on_which_the_budget_allows_no_scene_is_stopped():
    one = cloud(silent_tasks={"fake-1"})
    limits = Limits(max_usd=Decimal("0.003"))  # for two minutes
    async with engine(one, measurements=measured(), limits=limits) as e:
        async with e.open([working("s", 10)]) as run:
            report = await run.until_done()
        settled = await run.settled()
    assert report.status is Status.BUDGET
    assert settled.cost.usd <= limits.max_usd
    (worker,) = report.workers
    assert "no scene could be rendered within max_usd" in worker.error


async def test_no_task_replaces_a_late_one_whose_stop_was_not_accepted_yet():
    """Until then, nobody knows what the late one costs, also when something else is decided."""
    one = cloud(silent_tasks={"fake-1"}, stop_takes=9.0)
    limits = Limits(workers=4, max_usd=Decimal("0.0085"))
    async with engine(one, measurements=measured(), limits=limits) as e:
        async with e.open([working("s0", 100)]) as run:
            await anyio.sleep(75)
            async with e.open([working("s1", 1)], "other") as other:
                await run.until_done()
                await other.until_done()
        cost = (await run.settled()).cost.usd
    assert one.log[:3] == ["launch fake-1", "stop fake-1", "launch fake-2"]
    assert cost <= limits.max_usd


async def test_a_late_task_is_kept_for_the_shortest_scene_that_the_budget_allows():
    one = cloud(boots=[90.0])
    limits = Limits(workers=1, max_usd=Decimal("0.0045"))
    async with engine(one, measurements=measured(), limits=limits) as e:
        report = await e.render([working("long", 60), working("short", 1)])
    assert "encoded short on fake-1" in one.log
    assert report.status is Status.BUDGET
    assert not any(worker.error for worker in report.workers)
