"""Tasks that end by themselves after a while. In virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from cloudburst.errors import ConfigurationError
from cloudburst.events import WorkerFailed
from cloudburst.models.failures import classify_stop
from cloudburst.models.journal_entries import SceneFailureEntry, TaskEntry
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.performance import ASSUMED_RANGE, Performance
from cloudburst.models.report import Status
from cloudburst.models.task import TaskState
from cloudburst.testing import FakeCloud
from support.harness import engine, known, working
from support.interrupted_runs import MemoryJournal, Plug, killed, life

pytestmark = pytest.mark.anyio

HOUR = 3600.0


class Mortal(FakeCloud):
    """Its tasks end in order an hour after they are ready."""

    def __init__(self, works, *, lifetime=HOUR, told=True, pace=None, **facts):
        super().__init__(encode=lambda name: works[int(name[1:])], **facts)
        self.lifetime = lifetime
        self.told = told
        self.pace = pace

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            lifetime = self.lifetime if self.told else None
            yield replace(backend, lifetime=lifetime, performance=self.pace or backend.performance)

    async def launch(self, request):
        task = await super().launch(request)
        self.crashing_tasks[task] = self.boot + self.lifetime
        return task

    async def describe(self, task, *, refresh=False):
        status = await super().describe(task, refresh=refresh)
        if status.state is TaskState.STOPPED:
            return replace(status, failure=classify_stop(status.stop_code, [], [0]))
        return status


def scenes(works):
    return [working(f"s{number}", seconds) for number, seconds in enumerate(works)]


async def render(cloud, works, measurements=None, **limits):
    limits = Limits(workers=1, **limits)
    timeouts = Timeouts(scene=5000)
    async with engine(cloud, limits=limits, timeouts=timeouts, measurements=measurements) as eng:
        report = await eng.render(scenes(works))
        await eng.pool.stop_all()
    assert not cloud.running
    return report


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("idle", [0, 10_000])
@pytest.mark.parametrize("encoders", [1, 2])
async def test_no_scene_begins_on_a_task_that_ends_before_it(idle, encoders):
    """Two of 300 s can be done one after the other within 12 minutes, and three cannot."""
    works = [300] * 6 * encoders
    cloud = Mortal(works, lifetime=720, boot=40, encoders=encoders)
    report = await render(cloud, works, known(cloud), idle=idle)
    assert report.status is Status.COMPLETE
    assert {scene.attempts for scene in report.scenes} == {1}
    assert len(cloud.launched) == 3
    assert cloud.max_running == 1
    assert report.wall_seconds < 3 * (40 + 2 * 300) + 20, "an old task is given back at once"


async def test_short_scenes_use_the_time_that_long_ones_leave():
    works = [1500, 1500, 1500, *[100] * 5]
    cloud = Mortal(works, boot=40)
    report = await render(cloud, works, known(cloud))
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 2
    assert {scene.attempts for scene in report.scenes} == {1}


async def test_a_task_whose_ready_was_not_written_down_counts_from_its_launch():
    """It ends at 3,640 s: of the two scenes left at 1,800 s, one can be done there."""
    works = [1500] * 3
    cloud, journal = Mortal(works, boot=40), MemoryJournal()
    settings = {"limits": Limits(workers=1), "timeouts": Timeouts(scene=5000)}
    await killed(cloud, journal, scenes(works), seconds=1800, measurements=known(cloud), **settings)
    journal.entries = [
        replace(entry, ready_at=None) if isinstance(entry, TaskEntry) else entry
        for entry in journal.entries
    ]
    plug = Plug(cloud, journal)
    async with life(
        plug, scenes(works), earlier=journal.earlier(), measurements=known(cloud), **settings
    ) as (_, run):
        events = [event async for event in run]
        report = await run.settled()
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 2
    assert not [event for event in events if isinstance(event, WorkerFailed)]


async def test_a_scene_that_fits_no_task_is_refused_before_anything_starts():
    works = [10, 4000]
    cloud = Mortal(works, boot=40)
    with pytest.raises(ConfigurationError, match=r"scene s1 needs about 67 minutes.*LIFETIME"):
        await render(cloud, works, known(cloud))
    assert not cloud.launched
    assert (await render(cloud, [10], known(cloud))).status is Status.COMPLETE


@pytest.mark.parametrize(("ratio", "minutes"), [(1.5, 75), (15, 750)])
async def test_what_is_only_assumed_not_to_fit_is_warned_of(caplog, ratio, minutes):
    """In fact it goes faster."""
    works = [3000]
    cloud = Mortal(
        [1500], boot=40, pace=Performance(seconds_per_work=ratio, encode_range=ASSUMED_RANGE)
    )
    report = await render(cloud, works)
    assert report.status is Status.COMPLETE
    assert f"scene s0 needs about {minutes} minutes" in caplog.text


async def test_where_tasks_do_not_end_nothing_is_refused():
    cloud = Mortal([4000], lifetime=10_000, told=False)
    assert (await render(cloud, [4000], known(cloud))).status is Status.COMPLETE


class Notes:
    """A journal in memory."""

    def __init__(self):
        self.entries = []

    def now(self):
        return anyio.current_time()

    async def write(self, *entries):
        self.entries += entries


async def test_a_task_that_ends_in_order_is_not_ended_by_its_scene():
    """Nobody has said when tasks end: the scene is encoded again, and is no suspect."""
    cloud, notes = Mortal([700] * 3, lifetime=2000, told=False, boot=10), Notes()
    async with engine(cloud, limits=Limits(workers=1)) as eng:
        report = await eng.render(scenes([700] * 3), journal=notes)
    assert report.status is Status.COMPLETE
    (fault,) = [entry for entry in notes.entries if isinstance(entry, SceneFailureEntry)]
    assert "exit code 137" in fault.error.message, "the reason that this cloud gives"
    assert fault.worker_losses == 0
