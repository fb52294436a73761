"""When another worker is started, once it is known what that would bring. In virtual time."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.simulation import Load
from cloudburst.engine.scheduler import scaling
from cloudburst.engine.scheduler.estimator import Estimator
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud
from support.harness import engine, known, working

pytestmark = pytest.mark.anyio


TASK_HOUR = 3600 * US_EAST_1_RATES.task_usd_per_second(Tier.STANDARD, public_ipv4=False)
"""With this value of an hour, a second of waiting is worth as much as a second of a task."""


def scenes(*works):
    return [working(f"s{number}", seconds) for number, seconds in enumerate(works)]


def cloud(works, *, ratio=1.0, **facts):
    """It takes as long as the work says; a task needs 40 s to start."""
    facts = {"boot": 40.0, "rates": US_EAST_1_RATES} | facts
    return FakeCloud(encode=lambda name: ratio * works[int(name[1:])], **facts)


async def tasks_for(works, *, workers=6, measured=True, **limits):
    one = cloud(works)
    measurements = known(one) if measured else Measurements()
    limits = Limits(**{"workers": workers, "hour_usd": TASK_HOUR} | limits)
    async with engine(one, measurements=measurements, limits=limits) as e:
        report = await e.render(scenes(*works))
    assert report.status is Status.COMPLETE
    assert not one.running
    return len(one.launched), report


async def test_a_task_that_would_save_less_than_its_start_is_not_started():
    # 110 s with one task, 80 s with two: no 40 s are saved.
    number, report = await tasks_for([10] * 7)
    assert number == 1
    assert report.wall_seconds == pytest.approx(110, abs=1)


async def test_the_log_says_once_why_fewer_tasks_start_than_may(caplog):
    # 40 s of start are paid for without any work, and 30 s would be saved.
    caplog.set_level("INFO", logger="cloudburst.engine.scheduler.scaling")
    await tasks_for([10] * 7, workers=2)
    (record,) = caplog.records
    cost = 40 * TASK_HOUR / 3600
    told = f"1 of 2 tasks: 1 more would save 30 s and cost ${cost:.4f}; an hour of waiting is worth"
    assert record.getMessage().startswith(told)


@pytest.mark.parametrize("limits", [{"workers": 1}, {"workers": 4, "deadline": 1}])
async def test_the_log_says_nothing_when_all_tasks_start(caplog, limits):
    caplog.set_level("INFO", logger="cloudburst.engine.scheduler.scaling")
    await tasks_for([10] * 7, **limits)
    assert not caplog.records


async def test_an_eager_backend_starts_all_tasks_although_they_do_not_pay():
    class Eager(FakeCloud):
        @asynccontextmanager
        async def backend(self, timeouts, tier):
            async with super().backend(timeouts, tier) as backend:
                yield replace(backend, eager=True)

    one = Eager(encode=10.0, boot=40.0, rates=US_EAST_1_RATES, encoders=2)
    async with engine(one, measurements=known(one), limits=Limits(workers=3)) as e:
        for run in ("first", "second"):
            report = await e.render(scenes(*[10] * 4), run)
            assert report.status is Status.COMPLETE
        assert len(one.launched) == 6


@pytest.mark.few(3, spread=True)
@pytest.mark.parametrize(
    ("hour_usd", "tasks"), [("0", 1), ("0.02", 1), ("0.05", 2), ("0.2", 4), ("1", 6)]
)
async def test_the_value_of_an_hour_decides_how_many_tasks_are_started(hour_usd, tasks):
    # 280, 160, 120, 100, 88 and 80 s of wall time; the bill is 40 s of a task more for each.
    number, _ = await tasks_for([10] * 24, hour_usd=Decimal(hour_usd))
    assert number == tasks


async def test_as_many_tasks_as_needed_are_considered_at_once():
    """Twelve equal scenes: five tasks are no faster than four, and six are."""
    number, report = await tasks_for([60] * 12, hour_usd=Decimal(1))
    assert number == 6
    assert report.wall_seconds == pytest.approx(160, abs=1)


async def test_a_task_that_saves_more_is():
    # 280 s with one task, 160 s with two, and 120 s with three: the third saves no more than 40 s.
    number, report = await tasks_for([10] * 24)
    assert number == 2
    assert report.wall_seconds == pytest.approx(160, abs=1)


async def test_what_was_never_measured_is_started_as_wanted():
    number, _ = await tasks_for([10] * 5, measured=False)
    assert number == 5


async def test_what_is_learned_in_a_run_counts_in_the_next():
    one = cloud([10] * 5)
    async with engine(one, limits=Limits(workers=5, hour_usd=TASK_HOUR)) as e:
        await e.render(scenes(*[10] * 5), "first")
        assert len(one.launched) == 5
        await e.render(scenes(*[10] * 5), "second")
    assert len(one.launched) == 6


async def test_one_long_scene_needs_one_task():
    number, _ = await tasks_for([600, 1, 1, 1])
    assert number == 1


LONG = [400, 400, 400]
SHARED = {"encoders": 2, "shared_from": 20.0}
"""Facts of a cloud whose workers encode a long scene with both slots."""


def boots_apart(task):
    """The tasks need 36, 40 and 44 s to start."""
    return 32.0 + 4 * number_of(task)


@pytest.mark.parametrize("measured", [True, False])
async def test_three_long_scenes_that_use_all_slots_get_three_tasks(measured):
    one = cloud(LONG, **SHARED)
    measurements = known(one) if measured else Measurements()
    one.boot = boots_apart
    async with engine(one, measurements=measurements, limits=Limits(workers=4)) as e:
        report = await e.render(scenes(*LONG))
    assert len(one.launched) == len({scene.task for scene in report.scenes}) == 3
    assert report.wall_seconds == pytest.approx(40 + 400 / 2, abs=10)


async def test_a_long_scene_waits_for_a_worker_that_will_be_empty_soon():
    works = [400] * 6
    one = cloud(works, **SHARED)
    measurements = known(one)
    one.boot = boots_apart
    async with engine(one, measurements=measurements, limits=Limits(workers=2)) as e:
        report = await e.render(scenes(*works))
    # Two on each worker, and then one on each.
    assert report.wall_seconds == pytest.approx(40 + 400 + 400 / 2, abs=15)


async def test_long_scenes_share_a_worker_if_no_other_one_is_expected():
    one = cloud(LONG[:2], **SHARED)
    async with engine(one, measurements=known(one), limits=Limits(workers=1)) as e:
        report = await e.render(scenes(*LONG[:2]))
    assert report.wall_seconds == pytest.approx(40 + 400, abs=5)


def number_of(task):
    return int(task.rpartition("-")[2])


async def test_the_number_of_forecasts_depends_on_time_and_not_on_decisions(monkeypatch):
    """The tasks that are ready first encode all scenes, and decide hundreds of times meanwhile."""
    counted, schedule_on = [], Load.schedule_on

    def count(load, workers):
        counted.append(len(workers))
        return schedule_on(load, workers)

    monkeypatch.setattr(Load, "schedule_on", count)
    one = FakeCloud(
        encode=0.05,
        boot=lambda task: 20 + number_of(task) / 100,
        rates=US_EAST_1_RATES,
        encoders=2,
    )
    async with engine(one, measurements=Measurements(), limits=Limits(workers=60)) as e:
        report = await e.render(scenes(*[3.0] * 120))
    assert report.status is Status.COMPLETE
    assert len(one.launched) == 60
    assert 1 <= len(counted) <= 50
    assert not one.running


async def test_the_number_of_decisions_about_more_tasks_depends_on_time(monkeypatch):
    """All 60 tasks are ready, and more are allowed: each scene that ends is a new situation."""
    asked = []

    def up_to_60(_load, workers, _new, *, room, goal):
        asked.append(anyio.current_time())
        return max(0, 60 - len(workers))

    monkeypatch.setattr(scaling, "further_workers", up_to_60)
    one = FakeCloud(encode=0.05, boot=20, rates=US_EAST_1_RATES)
    async with engine(one, limits=Limits(workers=200)) as e:
        report = await e.render(scenes(*[3.0] * 300))
    assert len(one.launched) == 60
    assert 1 <= len(asked) <= 100
    assert report.status is Status.COMPLETE


async def test_a_few_tasks_are_considered_at_each_decision():
    one = FakeCloud(encode=100, boot=20, rates=US_EAST_1_RATES)
    async with engine(one, measurements=known(one)) as e, e.open(scenes(60.0), "a") as first:
        await anyio.sleep(0.1)
        async with e.open([working("later", 60)], "b") as second:
            await anyio.sleep(0.1)
            assert len(one.launched) == 2
            await second.until_done()
        await first.until_done()


async def test_the_first_worker_always_starts():
    number, _ = await tasks_for([0.1])
    assert number == 1


async def test_the_minute_that_is_billed_counts():
    """A second task with a start of 2 s saves 10 of 22 s, and 50 s of its minute are no work."""
    works = [10, 10]
    one = cloud(works, boot=2.0)
    limits = Limits(workers=6, hour_usd=TASK_HOUR)
    async with engine(one, measurements=known(one), limits=limits) as e:
        await e.render(scenes(*works))
    assert len(one.launched) == 1
    free = cloud(works, boot=2.0, rates=None)
    async with engine(free, measurements=known(free), limits=limits) as e:
        await e.render(scenes(*works))
    assert len(free.launched) == 2, "where nothing is billed, there is no minute"


async def test_a_free_worker_that_would_come_too_late_is_not_started():
    lengths = [1] * 4
    one = cloud(lengths, rates=None)
    fast = cloud(lengths, rates=None, name="fast", boot=0.0, capacity=1)
    async with engine(fast, one, measurements=known(fast, one)) as e:
        report = await e.render(scenes(*lengths))
    assert report.status is Status.COMPLETE
    assert not one.launched


async def test_a_deadline_starts_tasks_that_do_not_pay():
    # 120 s with one task, 80 s with two, 70 s with three.
    number, report = await tasks_for([10] * 8, deadline=75)
    assert number == 3
    assert report.wall_seconds <= 75


async def test_a_deadline_does_not_lift_the_limit_of_workers():
    number, _ = await tasks_for([10] * 8, workers=2, deadline=1)
    assert number == 2


async def test_a_deadline_does_not_lift_the_budget():
    works = [10] * 8
    one = cloud(works)
    # What one task costs that does it all, and not quite two.
    most = 150 * Decimal("0.0000285")
    limits = Limits(workers=6, deadline=1, max_usd=most)
    async with engine(one, measurements=known(one), limits=limits) as e:
        final = await (await e.render(scenes(*works))).settled()
    assert final.cost.usd <= most
    assert len(one.launched) < 3


async def test_a_lost_worker_is_replaced_although_a_second_one_did_not_pay():
    works = [10] * 7
    one = cloud(works, crashing_tasks={"fake-1": 55})
    limits = Limits(workers=6, hour_usd=TASK_HOUR)
    async with engine(one, measurements=known(one), limits=limits) as e:
        report = await e.render(scenes(*works))
    assert report.status is Status.COMPLETE
    assert len(one.launched) == 2


async def test_a_scene_that_failed_on_the_only_warm_worker_gets_another_one():
    """It may not go there again, whatever another worker saves."""
    slow = iter([1000.0])
    one = FakeCloud(
        boot=40,
        rates=US_EAST_1_RATES,
        encode=lambda _: next(slow, 5.0),
        progress_every=math.inf,
    )
    limits = Limits(workers=2, idle=10_000)
    async with engine(
        one, measurements=known(one), limits=limits, timeouts=Timeouts(scene=100)
    ) as e:
        report = await e.render(scenes(5))
    assert report.status is Status.COMPLETE
    assert len(one.launched) == 2
    assert report.wall_seconds < 300


async def test_more_scenes_are_another_reason():
    """A task that did not pay for one run pays when a second run comes."""
    few, many = [10] * 5, [10] * 40
    one = cloud(many)
    limits = Limits(workers=6, hour_usd=TASK_HOUR)
    async with engine(one, measurements=known(one), limits=limits) as e:

        async def later():
            await anyio.sleep(10)
            assert len(one.launched) == 1
            tasks.start_soon(soon)
            await e.render(scenes(*many), "second")

        async def soon():
            await anyio.sleep(1)
            assert len(one.launched) > 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(later)
            await e.render(scenes(*few), "first")
    assert len(one.launched) > 1


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize("boot", [1.0, 200.0])
@pytest.mark.parametrize("tenths", range(16, 60, 4))
async def test_a_budget_that_a_paid_worker_would_pass_leaves_the_work_to_a_free_one(tenths, boot):
    """The paid one would be done sooner with all of it, as far as it may be paid for."""
    works = [30] * 3
    paid = cloud(works, name="paid", boot=1.0)
    free = cloud(works, name="free", rates=None, ratio=20.0, boot=boot)
    measurements = known(paid)
    for samples in known(free, ratio=20.0)._samples.values():
        for sample in samples:
            measurements.add(sample)
    limits = Limits(max_usd=Decimal(tenths) / 10_000)
    async with engine(paid, free, measurements=measurements, limits=limits) as e:
        report = await e.render(scenes(*works))
    assert report.status is Status.COMPLETE, [type(error) for error in report.errors]


async def test_a_start_for_a_scene_that_failed_on_all_others_is_not_given_up():
    """It saves no time, as far as can be told: the worker that is there could do all of it."""
    slow = iter([1000.0])
    one = FakeCloud(
        boot=40,
        rates=US_EAST_1_RATES,
        encoders=2,
        encode=lambda _: next(slow, 60.0),
        progress_every=math.inf,
    )
    limits = Limits(workers=2, hour_usd=TASK_HOUR)
    async with engine(
        one, measurements=known(one), limits=limits, timeouts=Timeouts(scene=100)
    ) as e:
        report = await e.render(scenes(60, 59, 20))
    assert report.status is Status.COMPLETE
    assert len(one.launched) == 2
    assert report.wall_seconds < 300


@pytest.mark.parametrize("cut", [20, None])
async def test_a_start_that_was_given_up_does_not_tell_how_long_a_stop_takes(cut):
    measurements = Measurements()
    one = cloud([5], ends_after=15)
    await anyio.sleep(50_000)  # the clock of a machine that has been up for long
    async with engine(one, measurements=measurements) as e:
        with anyio.move_on_after(cut):
            await e.render(scenes(5))
        e.pool.close()
        await e.pool.wait_settled("run")
    assert len(one.launched) == 1
    learned = [sample.seconds for sample in measurements._samples.get(("fake", "stop"), ())]
    assert learned == ([] if cut else [pytest.approx(15, abs=1)])


async def test_needless_starts_are_not_repeated_before_a_minute_has_passed(monkeypatch):
    """Whatever the scaling rule says of a start whose worker then counts as needless."""

    cancelled = set()

    def all_starting(estimator):
        found = tuple(estimator._workers.starting) if estimator._workers.ready else ()
        cancelled.update(found)
        return list(found)

    monkeypatch.setattr(Estimator, "needless_workers", all_starting)
    one = FakeCloud(
        encode=30.0, boot=lambda task: 10.0 if task == "fake-1" else 40.0, rates=US_EAST_1_RATES
    )
    measurements = known(replace(one, boot=20.0))
    async with engine(one, measurements=measurements, limits=Limits(workers=2)) as e:
        report = await e.render(scenes(*[30.0] * 10))
    assert report.status is Status.COMPLETE
    assert 2 < len(cancelled) <= 1 + report.wall_seconds / 60
    assert not one.running
