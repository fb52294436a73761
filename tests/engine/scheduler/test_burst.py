"""Workers that cost nothing beside workers that cost something, in virtual time."""

from __future__ import annotations

import pytest

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Performance, Sample
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud
from support.harness import engine, known, working

pytestmark = pytest.mark.anyio


TASK_HOUR = 3600 * US_EAST_1_RATES.task_usd_per_second(Tier.STANDARD, public_ipv4=False)
"""With this value of an hour, a second of waiting is worth as much as a second of a task."""


def scenes(works):
    return [working(f"s{number}", seconds) for number, seconds in enumerate(works)]


def here(works, *, ratio=1.0, cores=2):
    return FakeCloud(
        name="here", boot=1.0, capacity=cores, encode=lambda name: ratio * works[int(name[1:])]
    )


def there(works, *, ratio=1.0, **facts):
    facts = {"boot": 40.0} | facts
    return FakeCloud(
        name="there",
        rates=US_EAST_1_RATES,
        encode=lambda name: ratio * works[int(name[1:])],
        **facts,
    )


def measured(*clouds_and_ratios):
    measurements = Measurements()
    for cloud, ratio in clouds_and_ratios:
        for samples in known(cloud, ratio=ratio)._samples.values():
            for sample in samples:
                measurements.add(sample)
    return measurements


async def render(works, *clouds, measurements, **limits):
    limits = Limits(**{"hour_usd": TASK_HOUR} | limits)
    async with engine(*clouds, measurements=measurements, limits=limits) as e:
        async with e.open(scenes(works)) as run:
            events = [event async for event in run]
        final = await run.settled()
    assert final.status is Status.COMPLETE
    assert not any(cloud.running for cloud in clouds)
    return events, final


async def test_work_that_ends_before_a_task_would_be_ready_starts_none():
    works = [10] * 6
    near, far = here(works), there(works)
    _, report = await render(works, near, far, measurements=measured((near, 1), (far, 1)))
    assert not far.launched
    assert report.wall_seconds == pytest.approx(31, abs=1)


async def test_tasks_are_started_where_they_pay():
    works = [20] * 40
    near, far = here(works), there(works)
    _, report = await render(works, near, far, measurements=measured((near, 1), (far, 1)))
    assert 1 <= len(far.launched) <= 4
    assert report.wall_seconds < 401 - 40, "two cores alone would need 401 s"


async def test_a_task_may_pay_by_itself_and_not_in_company():
    """Two cores would take 101 s, and three tasks alone 80 s: a task helps, though it saves 30 s.

    It would not be started for what it saves, but the whole shall not be later than without cores.
    """
    works = [10] * 20
    near, far = here(works), there(works, encoders=2)
    _, report = await render(works, near, far, measurements=measured((near, 1), (far, 1)))
    alone = there(works, encoders=2)
    _, without = await render(works, alone, measurements=measured((alone, 1)))
    assert far.launched
    assert report.wall_seconds <= without.wall_seconds
    assert report.cost.usd <= without.cost.usd


async def test_workers_that_cost_nothing_are_counted_by_themselves():
    works = [20] * 60
    near, far = here(works, cores=3), there(works)
    _, report = await render(works, near, far, measurements=Measurements(), workers=2)
    assert near.max_running == 2, "they have the same limit, and their own capacity"
    assert far.max_running == 2
    assert report.status is Status.COMPLETE


async def test_those_here_come_first():
    works = [20, 20]
    near, far = here(works), there(works)
    await render(works, near, far, measurements=Measurements())
    assert (len(near.launched), len(far.launched)) == (2, 0)


async def test_a_slow_core_does_not_take_the_longest_scene_at_the_end():
    """The core would need 300 s for it, a task that is free in 40 s needs 60 s."""
    works = [60, 5, 5, 5]
    near, far = here(works, ratio=5, cores=1), there(works, ratio=1)
    measurements = measured((near, 5), (far, 1))
    _, report = await render(works, near, far, measurements=measurements)
    tasks = {video.scene: video.task for video in report.videos}
    assert tasks["s0"].startswith("there")
    assert report.wall_seconds < 120


async def test_a_scene_that_waits_at_a_task_does_not_move_to_a_slow_core():
    works = [30, 29, 2]
    near = here(works, ratio=8, cores=1)
    far = there(works, boot=2.0, capacity=1)
    _, report = await render(works, near, far, measurements=measured((near, 8), (far, 1)))
    tasks = {video.scene: video.task for video in report.videos}
    assert tasks["s0"].startswith("there")
    assert tasks["s1"].startswith("there")
    assert report.wall_seconds < 2 + 62


async def test_a_start_that_is_needed_no_more_is_given_up():
    """The cores are as fast as was thought, the tasks start more slowly: there is nothing left."""
    works = [10] * 14
    near, far = here(works), there(works, boot=10_000.0)
    measurements = measured((near, 1), (far, 1))
    measurements._samples["there", "startup"].clear()
    measurements.add(Sample(kind="there", measure="startup", seconds=5.1))
    events, report = await render(works, near, far, measurements=measurements)
    assert far.launched, "it was thought to start in 5.1 s"
    stops = [event.at for event in events if event.type == "worker.stopped"]
    assert min(stops) < 50, "scenes still wait then, and will all be done here"
    assert report.wall_seconds == pytest.approx(71, abs=2)


async def test_when_the_fast_ones_end_the_slow_ones_go_on():
    """A slow core that left a scene to a task takes it when the task is no more."""
    works = [60, 5]
    near = here(works, ratio=5, cores=1)
    far = there(
        works, boot=2.0, capacity=1, crashing_tasks={"there-1": 20, "there-2": 1, "there-3": 1}
    )
    _, report = await render(works, near, far, measurements=measured((near, 5), (far, 1)))
    assert report.status is Status.COMPLETE


async def test_tasks_of_unknown_speed_are_not_started_where_this_machine_is_done_before():
    """The first run with tasks, whose assumed start takes longer than all scenes here."""
    works = [1] * 6
    assumed = Performance(startup_seconds=58, seconds_per_work=0.3)
    near, far = here(works), there(works, performance=assumed)
    await render(works, near, far, measurements=measured((near, 1)))
    assert not far.launched
