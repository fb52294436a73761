"""Workers that queue jobs are asked for an encode before a slot is free, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.errors import SceneTimeoutError, WorkerStoppedError
from cloudburst.events import SceneCopied, SceneEncoding, SceneStarted
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from support.harness import checked, engine, known, working
from support.queueing_cloud import QueueingCloud, QueueingRenderer

pytestmark = pytest.mark.anyio


async def events_of(cloud, scenes, *, timeouts=None, **limits):
    limits = Limits(workers=1, **limits) if "workers" not in limits else Limits(**limits)
    async with engine(cloud, limits=limits, timeouts=timeouts) as e, e.open(scenes) as run:
        events = [event async for event in run]
    assert not cloud.running
    assert not any(cloud.queues.values())
    return events, await run.report()


async def test_the_next_encode_begins_without_a_round_trip():
    cloud = QueueingCloud(boot=1, request=1, encode=10, encoders=2)
    _, report = await events_of(cloud, [f"s{number}" for number in range(8)])
    assert report.status is Status.COMPLETE
    assert report.wall_seconds < 1 + 1 + 4 * 10 + 2, "it would be 46 s with a request for each"
    assert [scene.encode_seconds for scene in report.scenes] == pytest.approx([10] * 8, abs=0.1)
    waits = sorted(scene.slot_wait_seconds for scene in report.scenes)
    assert waits[:2] == pytest.approx([1, 1], abs=0.1)
    assert all(8 < wait < 11.1 for wait in waits[2:]), "most of the encode before it"


async def test_a_scene_that_moves_leaves_the_queue_first():
    seconds = {"a": 30.0, "b": 20.0, "c": 5.0, "d": 5.0}
    cloud = QueueingCloud(request=0.1, encode=seconds.__getitem__)
    scenes = [checked(name, length) for name, length in seconds.items()]
    async with engine(cloud, limits=Limits(workers=2)) as e, e.open(scenes) as run:
        moved = []
        async for event in run:
            if isinstance(event, SceneStarted):
                moved += [name for name in cloud.queues if event.scene in cloud.queues[name]]
    report = await run.report()
    assert report.status is Status.COMPLETE
    assert not moved, "queued on one worker while it is sent to the other one"
    assert report.wall_seconds < 35
    assert sum(line.startswith("encoded") for line in cloud.log) == 4


class Draining(QueueingCloud):
    """The first worker is told to stop, and ends what is in its queue."""

    drains_at = 5.0

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield DrainingRenderer(self, renderer.task)


class DrainingRenderer(QueueingRenderer):
    async def free_slot(self, scene):
        end = self.cloud.drains_at if self.task == "fake-1" else 1e6
        with anyio.move_on_after(end - anyio.current_time()):
            return await super().free_slot(scene)
        raise WorkerStoppedError("the worker is stopping", draining=True)


async def test_encodes_of_a_worker_that_stops_are_finished():
    cloud = Draining(boot=1, encode=10, encoders=2)
    cloud.drains_at = anyio.current_time() + 5
    events, report = await events_of(cloud, "abcdef", workers=2)
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 2
    begun = [(event.scene, event.task) for event in events if isinstance(event, SceneEncoding)]
    first = [scene for scene, task in begun if task == "fake-1"]
    done = {scene.scene: (scene.task, scene.attempts) for scene in report.scenes}
    assert [done[scene] for scene in first] == [("fake-1", 1)] * 2
    assert {task for task, _ in done.values()} == {"fake-1", "fake-2"}
    assert sum(line.startswith("encoded") for line in cloud.log) == 6


class Lazy(QueueingCloud):
    """Its workers begin no encode of one scene."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield LazyRenderer(self, renderer.task)


class LazyRenderer(QueueingRenderer):
    async def free_slot(self, scene):
        if scene == "lazy":
            await anyio.sleep_forever()
        return await super().free_slot(scene)


async def test_a_job_that_does_not_begin_though_a_slot_is_free_is_abandoned():
    cloud = Lazy(boot=1, encode=10)
    timeouts = Timeouts(scene=100)
    _, report = await events_of(cloud, ["lazy"], timeouts=timeouts, attempts=1)
    assert isinstance(report.errors[0], SceneTimeoutError)
    assert report.wall_seconds == pytest.approx(101, abs=2)


async def test_the_wait_in_the_queue_has_no_timeout():
    cloud = QueueingCloud(boot=1, encode=500)
    _, report = await events_of(cloud, "abc", timeouts=Timeouts(scene=100), attempts=1)
    assert report.status is Status.COMPLETE


async def test_a_scene_for_which_a_slot_is_free_stays_when_the_stop_is_announced():
    cloud = QueueingCloud(request=4, encode=10, encoders=2)
    cloud.interrupted_tasks = {"fake-1": (2, 100)}
    _, report = await events_of(cloud, "a", workers=2)
    assert report.status is Status.COMPLETE
    assert (report.scenes[0].task, report.scenes[0].attempts) == ("fake-1", 1)
    assert len(cloud.launched) == 1


class Crowded(QueueingCloud):
    """A scene takes long, and the copy of it never begins."""

    requested = 0

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield CrowdedRenderer(self, renderer.task)


class CrowdedRenderer(QueueingRenderer):
    async def free_slot(self, scene):
        self.cloud.requested += scene == "slow"
        if scene == "slow" and self.cloud.requested == 2:
            await anyio.sleep_forever()
        return await super().free_slot(scene)


async def test_a_copy_that_has_not_begun_changes_nothing_in_the_report():
    seconds = {"slow": 150.0, "b": 20.0, "c": 20.0, "d": 15.0}
    cloud = Crowded(boot=10, upload=1, download=1, encode=seconds.__getitem__)
    scenes = [working("slow", 30), *(working(name, seconds[name]) for name in "bcd")]
    limits = Limits(workers=2, idle=300)
    async with engine(cloud, measurements=known(cloud), limits=limits) as e:
        async with e.open(scenes) as run:
            events = [event async for event in run]
        report = await run.report()
    copied = next(event for event in events if isinstance(event, SceneCopied))
    assert copied.scene == "slow"
    slow = report.scenes[0]
    assert cloud.requested == 2
    assert slow.task != copied.task
    assert slow.encode_seconds == pytest.approx(150)
    assert slow.slot_wait_seconds < 1
