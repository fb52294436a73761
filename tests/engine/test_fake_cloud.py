"""The fake cloud: tasks that differ, the progress of encodes, and shared encoding."""

from __future__ import annotations

import pytest

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.events import SceneProgress
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Performance
from cloudburst.testing import FakeCloud
from support.harness import checked, engine

pytestmark = pytest.mark.anyio


async def test_each_task_has_its_own_start_up_and_speed():
    boots = {"fake-1": 10.0, "fake-2": 30.0}
    cloud = FakeCloud(boot=boots.__getitem__, encode=10, slow_tasks={"fake-1": 3.0})
    async with engine(cloud, limits=Limits(workers=2)) as eng:
        report = await eng.render("ab")
    ready = {worker.task: worker.ready_at for worker in report.workers}
    assert ready == pytest.approx(boots, abs=1)
    seconds = {scene.task: scene.encode_seconds for scene in report.scenes}
    assert seconds == pytest.approx({"fake-1": 30, "fake-2": 10})


async def test_progress_is_reported_while_an_encode_runs():
    cloud = FakeCloud(encode=5)
    async with engine(cloud) as eng, eng.open("a") as run:
        events = [event async for event in run if isinstance(event, SceneProgress)]
    assert [event.progress for event in events] == pytest.approx([0.4, 0.8, 1])
    assert [event.at - events[0].at for event in events] == pytest.approx([0, 2, 3])


async def test_idle_slots_take_part_in_long_encodes():
    cloud = FakeCloud(encoders=3, encode={"long": 20.0, "short": 9.0}.__getitem__, shared_from=10)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        alone = await eng.render(["long"])
        short = await eng.render(["short"])
    (work,) = (scene.encode_seconds for scene in alone.scenes)
    assert work == pytest.approx(2 + 18 / 3)  # from the second report of the progress on
    assert short.scenes[0].encode_seconds == pytest.approx(9)


async def test_two_long_encodes_divide_the_idle_slots():
    cloud = FakeCloud(encoders=4, encode=20, shared_from=10)
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render("ab")
    assert [scene.encode_seconds for scene in report.scenes] == pytest.approx([2 + 18 / 2] * 2)


async def test_the_time_of_all_slots_counts_as_the_time_of_a_shared_encode():
    """Otherwise a lone scene would make the worker look faster than it is."""
    cloud, measurements = FakeCloud(encoders=2, encode=20, shared_from=10), Measurements()
    async with engine(cloud, measurements=measurements) as eng:
        await eng.render(["a"])
    learned = measurements.performance(cloud.name, Performance())
    assert learned.encode_seconds(scene_work(checked("a"))) == pytest.approx(20)


async def test_the_performance_of_tasks_is_assumed_before_they_are_measured():
    slow = Performance(startup_seconds=50, seconds_per_work=2, transfer_seconds=4)
    async with engine(FakeCloud(performance=slow)) as eng:
        plan = eng.pool.scheduler.plan_for([1.0], 0)
        assert plan.seconds == pytest.approx(50 + 2 + 4)
