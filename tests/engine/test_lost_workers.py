"""Workers that are interrupted, get stuck, or end during a scene, in virtual time."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from cloudburst.engine.pool_state import Ticket
from cloudburst.errors import KeyRefusedError, PoisonedSceneError, WorkerStoppedError
from cloudburst.events import SceneEncoding, SceneQueued, SceneRetried, WorkerStopped
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import checked, engine

pytestmark = pytest.mark.anyio


async def events_of(cloud, scenes, **settings):
    async with engine(cloud, **settings) as e, e.open(scenes) as run:
        return [event async for event in run], await run.report()


async def test_a_spot_notice_lets_the_encode_end_and_gives_the_rest_to_others():
    # Task 1 encodes the first scene from 30 to 70; the notice comes at 40, the end at 160.
    cloud = FakeCloud(boot=30, encode=40, interrupted_tasks={"fake-1": (40, 120)})
    events, report = await events_of(cloud, "abcd", limits=Limits(workers=1))
    assert report.status is Status.COMPLETE
    first, second = report.workers
    assert (first.scenes, second.scenes) == (1, 3)
    assert first.stopped_at < 75, "given back when its encode was done, not when it was taken"
    assert first.error is None
    assert not [e for e in events if isinstance(e, SceneRetried)], "no attempt was used up"
    assert max(e.attempt for e in events if isinstance(e, SceneQueued)) == 1
    assert cloud.max_running == 1, "a task that is taken away does not count"


async def test_a_scene_that_spot_interrupted_twice_is_encoded_on_demand():
    cloud = FakeCloud(boot=1, encode=100, spot_tasks={"fake-1", "fake-2", "fake-3"})
    async with engine(cloud, limits=Limits(workers=4, idle=1000)) as e:
        await e.render(["a", "b", "c"], "warm")
        assert {*cloud.running} == cloud.spot_tasks
        async with e.open(["long"]) as run:
            async for event in run:
                if isinstance(event, SceneEncoding) and len(cloud.interrupted_tasks) < 2:
                    age = anyio.current_time() - cloud.running[event.task]
                    cloud.interrupted_tasks[event.task] = age + 5, 5
            report = await run.report()
    (scene,) = report.scenes
    assert (scene.attempts, scene.task) == (3, "fake-4")


async def test_a_lane_that_is_taken_away_before_it_is_used():
    """The notice comes in the moment in which a scene that waits is called there."""
    cloud, told = FakeCloud(boot=1), []
    first, second = (
        Ticket(
            run="run",
            scene=name,
            language="chinese",
            audio_seconds=1,
            work=1,
        )
        for name in "ab"
    )

    async def use(e, ticket, seconds):
        async with e.pool.lease(ticket) as lane:
            told.append((ticket.scene, lane.connection.task))
            await anyio.sleep(seconds)

    async with (
        engine(cloud, limits=Limits(workers=1)) as e,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(use, e, first, 5)
        await anyio.sleep(3)
        tasks.start_soon(use, e, second, 0)
        await anyio.sleep(1)
        slot, dispatcher = first.assignment.worker, e.pool.scheduler
        dispatcher.release(first.assignment)
        assert second.assignment is not None
        dispatcher.drain(slot)
        assert second.assignment is None
    assert told == [("a", "fake-1"), ("b", "fake-2")]
    assert not cloud.running


async def test_a_worker_that_is_taken_in_the_midst_costs_no_attempt():
    cloud = FakeCloud(
        boot=1, encode=100, interrupted_tasks={f"fake-{n}": (20, 30) for n in range(1, 6)}
    )
    _, report = await events_of(cloud, "a", limits=Limits(workers=1, attempts=1))
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 6
    assert "SpotInterruption" not in str(report.scenes[0].error)


async def test_workers_that_end_before_the_encode_cost_no_attempt():
    cloud = FakeCloud(boot=1, upload=10, encode=5, crashing_tasks={"fake-1": 6, "fake-2": 6})
    _, report = await events_of(cloud, "a", limits=Limits(workers=1, attempts=1))
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 3


async def test_that_has_an_end():
    cloud = FakeCloud(boot=1, upload=10, crashing_tasks={f"fake-{n}": 6 for n in range(1, 99)})
    _, report = await events_of(cloud, "a", limits=Limits(workers=1))
    assert report.status is Status.FAILED
    assert isinstance(report.errors[0], WorkerStoppedError)
    assert report.scenes[0].attempts == 10


async def test_a_scene_that_ends_its_worker_is_given_up():
    cloud = FakeCloud(boot=1, encode=10, crashing_tasks={f"fake-{n}": 5 for n in range(1, 99)})
    _, report = await events_of(cloud, "a", limits=Limits(workers=1, attempts=2))
    assert report.scenes[0].attempts == 2
    assert len(cloud.launched) == 2
    assert isinstance(report.errors[0], PoisonedSceneError)


class Stuck(FakeCloud):
    """Its workers cannot take back an encode that was begun."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield StuckRenderer(renderer)


class StuckRenderer:
    def __init__(self, renderer):
        self._renderer = renderer
        self.has_abandoned_encode = False

    def __getattr__(self, name):
        return getattr(self._renderer, name)

    async def encode(self, upload, *, progress):
        try:
            return await self._renderer.encode(upload, progress=progress)
        except anyio.get_cancelled_exc_class():
            self.has_abandoned_encode = True
            raise


async def test_a_worker_that_cannot_cancel_is_given_back():
    slow = {"a": [900.0, 5.0], "b": [5.0]}
    cloud = Stuck(boot=10, encode=lambda scene: slow[scene].pop(0), progress_every=math.inf)
    events, report = await events_of(
        cloud, "ab", limits=Limits(workers=1), timeouts=Timeouts(scene=60)
    )
    assert report.status is Status.COMPLETE
    assert len(report.workers) == 2
    (reason,) = [e.reason for e in events if isinstance(e, WorkerStopped) if e.task == "fake-1"]
    assert "was cancelled" in reason


async def test_a_slow_kind_of_worker_is_given_more_time():
    class Slow(FakeCloud):
        @asynccontextmanager
        async def backend(self, timeouts, tier):
            async with super().backend(timeouts, tier) as backend:
                yield replace(backend, encode_timeout_factor=10.0)

    cloud = Slow(encode=350)
    _, report = await events_of(cloud, [checked("a", 30)], timeouts=Timeouts(scene=60))
    assert report.status is Status.COMPLETE
    cloud = Slow(encode=370)
    _, report = await events_of(
        cloud, [checked("a", 30)], timeouts=Timeouts(scene=60), limits=Limits(attempts=1)
    )
    assert "not done within 360.0 s" in report.scenes[0].error


class Strange(FakeCloud):
    """Some of its workers want another key."""

    strange = frozenset({"fake-1"})

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as renderer:
            yield StrangeRenderer(renderer) if address in self.strange else renderer


class StrangeRenderer:
    has_abandoned_encode = False

    def __init__(self, renderer):
        self._renderer = renderer

    async def is_healthy(self):
        return await self._renderer.is_healthy()

    async def upload(self, scene, **more):
        raise KeyRefusedError("the worker refused the key (HTTP 401)")


async def test_a_worker_that_wants_another_key_costs_no_scene():
    cloud = Strange(boot=1, encode=5)
    _, report = await events_of(cloud, "abc", limits=Limits(workers=2, attempts=1))
    assert report.status is Status.COMPLETE
    assert [w.error for w in report.workers if w.task == "fake-1"] == [
        "KeyRefusedError: the worker refused the key (HTTP 401)"
    ]


async def test_when_all_workers_do_it_is_given_up():
    cloud = Strange(boot=1)
    cloud.strange = frozenset(f"fake-{n}" for n in range(99))
    _, report = await events_of(cloud, "abcdefgh", limits=Limits(workers=2, attempts=3))
    assert report.status is Status.FAILED
    assert all(isinstance(error, KeyRefusedError) for error in report.errors)
    assert len(cloud.launched) <= 4
    assert not cloud.running


async def test_a_scene_that_moves_is_told_to_wait_again():
    """Behind a long encode waits a scene, until the other worker is free."""
    seconds = {"a": 30.0, "b": 20.0, "c": 5.0, "d": 5.0}
    cloud = FakeCloud(encode=seconds.__getitem__)
    scenes = [checked(name, length) for name, length in seconds.items()]
    events, report = await events_of(cloud, scenes, limits=Limits(workers=2))
    assert report.status is Status.COMPLETE
    for scene in seconds:
        kinds = [e.type for e in events if getattr(e, "scene", None) == scene]
        starts = [place for place, kind in enumerate(kinds) if kind == "scene.started"]
        assert all(kinds[place - 1] == "scene.queued" for place in starts), kinds


class Cut(FakeRenderer):
    """The line breaks while one scene is sent."""

    async def upload(self, scene, **more):
        await anyio.sleep(1)
        if scene.scene.name == "cut":
            raise WorkerStoppedError("the line broke", task=self.task)
        return await super().upload(scene)


class Silent(FakeCloud):
    """It takes its time to say what became of a task."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        yield Cut(self, address)

    async def describe(self, task, *, refresh=False):
        await anyio.sleep(8 if refresh else 0)
        return await super().describe(task, refresh=refresh)


async def test_a_run_that_is_left_while_its_worker_is_doubted_leaves_others_a_worker():
    cloud, reports = Silent(boot=1, encode=5, encoders=2), []

    async def beside(e):
        reports.append(await e.render("abc", "other"))

    async with (
        engine(cloud, limits=Limits(workers=1, idle=1000)) as e,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(beside, e)
        with anyio.move_on_after(5):
            await e.render(["cut"])
    assert reports[0].status is Status.COMPLETE
    assert reports[0].wall_seconds < 60
    assert not cloud.running
