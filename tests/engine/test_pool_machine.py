"""Any sequence of events in a pool, in virtual time; its guarantees hold after each of them.

The engine lives on one asyncio loop whose clock jumps, and each rule lets that loop run for a
while. Where the machine has found something, the steps are a test of their own below.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from itertools import repeat

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.errors import BudgetError, CapacityError, ClosedError, CloudburstError
from cloudburst.events import SceneCompleted, SceneCopied, SceneFailed
from cloudburst.models.limits import Backoff, Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.testing import FakeCloud, VirtualClockLoop
from support.harness import engine, known, working
from support.queueing_cloud import QueueingCloud

LONG = 20_000.0
"""Virtual seconds in which everything has an end."""
TIMEOUTS = Timeouts(call=5, scene=400, ready=120, launch=90, stop=120, settle=30)


class Steady(Backoff):
    """The same delays each time, so that the same steps lead to the same end."""

    def delays(self, rng=None):
        return repeat(0.25)


class Engine(RuleBasedStateMachine):
    """Two clouds and what is asked of them."""

    @initialize(
        workers=st.integers(1, 3),
        encoders=st.integers(1, 3),
        idle=st.sampled_from([0.0, 60.0]),
        cancels_encodes=st.booleans(),
        queues_jobs=st.booleans(),
        priced=st.booleans(),
        measured=st.booleans(),
        max_usd=st.sampled_from([None, None, Decimal("0.01"), Decimal("0.1")]),
        deadline=st.sampled_from([None, 100.0]),
    )
    def begin(  # noqa: PLR0917
        self,
        workers,
        encoders,
        idle,
        cancels_encodes,
        queues_jobs,
        priced,
        measured,
        max_usd,
        deadline,
    ):
        self.works = {}
        self.slow = {}
        self.free = FakeCloud(
            name="free", boot=2, upload=0.5, download=0.5, encode=self.seconds, capacity=2
        )
        kind = QueueingCloud if queues_jobs else FakeCloud
        self.paid = kind(
            name="paid",
            boot=20,
            upload=1,
            download=1,
            encode=self.seconds,
            encoders=encoders,
            cancels_encodes=cancels_encodes,
            rates=US_EAST_1_RATES if priced else None,
            pull_after=5,
            ends_after=3,
            stop_takes=0.2,
        )
        self.clouds = [self.free, self.paid] if encoders != 2 else [self.paid]
        self.limits = Limits(workers=workers, idle=idle, max_usd=max_usd, deadline=deadline)
        self.measurements = known(*self.clouds) if measured else Measurements()
        self.runs = {}
        self.number = 0
        self.foreseeable = not idle
        self.loop = VirtualClockLoop()
        self.stop = self.engine = None
        self.life = self.loop.create_task(self.live())
        self.let(1.0)

    def seconds(self, scene):
        return self.slow.pop(scene, self.works[scene])

    async def live(self):
        self.stop = anyio.Event()
        async with engine(
            *self.clouds,
            timeouts=TIMEOUTS,
            limits=self.limits,
            measurements=self.measurements,
            backoff=Steady(),
        ) as self.engine:
            await self.stop.wait()

    async def one_run(self, name, scenes):
        run = self.runs[name]
        with anyio.CancelScope() as run["scope"]:
            async with self.engine.open(scenes, name) as opened:
                run["report"] = lambda: self.loop.run_until_complete(opened.report())
                async for event in opened:
                    run["events"].append(event)
                run["final"] = await opened.settled()

    def let(self, seconds):
        """Time passes."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
        if self.life.done():
            self.life.result()

    def some(self, which, among):
        among = sorted(among)
        return among[which % len(among)] if among else None

    def where(self, task):
        return next(cloud for cloud in self.clouds if task.startswith(cloud.name))

    def tasks(self):
        return [task for cloud in self.clouds for task in cloud.running]

    @rule(seconds=st.sampled_from([0.0, 0.3, 2.0, 11.0, 45.0]))
    def time_passes(self, seconds):
        self.let(seconds)

    @rule(
        works=st.lists(st.sampled_from([4, 8, 20, 60]), min_size=1, max_size=7),
        slow=st.integers(-3, 6),
        deadly=st.integers(-4, 6),
        broken=st.integers(-4, 6),
    )
    def a_run_begins(self, works, slow, deadly, broken):
        if sum(not run["task"].done() for run in self.runs.values()) >= 3:
            return
        self.number += 1
        name = f"run{self.number}"
        names = [f"{name}-{number}" for number in range(len(works))]
        self.works.update(zip(names, works, strict=True))
        for number, scene in enumerate(names):
            if number == slow:
                self.slow[scene] = 2000.0
                self.foreseeable = False
            if number == deadly:
                self.foreseeable = False
                for cloud in self.clouds:
                    cloud.crashing_scenes[scene] = 3.0
            if number == broken:
                for cloud in self.clouds:
                    cloud.broken_scenes.add(scene)
        scenes = [working(scene, work) for scene, work in zip(names, works, strict=True)]
        self.runs[name] = {"scenes": names, "events": [], "final": None, "report": None}
        self.runs[name]["task"] = self.loop.create_task(self.one_run(name, scenes))
        self.let(0.0)

    @rule(which=st.integers(0, 9))
    def a_worker_is_lost(self, which):
        task = self.some(which, self.tasks())
        if task is None:
            return
        self.foreseeable = False
        cloud = self.where(task)
        cloud.crashing_tasks[task] = self.loop.time() - cloud.running[task]

    @rule(which=st.integers(0, 9))
    def a_worker_falls_silent(self, which):
        task = self.some(which, self.tasks())
        if task is None:
            return
        self.foreseeable = False
        self.where(task).silent_tasks.add(task)

    @rule(which=st.integers(0, 9), left=st.sampled_from([1.0, 30.0, 120.0]))
    def a_worker_will_be_taken(self, which, left):
        task = self.some(which, self.tasks())
        if task is None:
            return
        self.foreseeable = False
        cloud = self.where(task)
        cloud.interrupted_tasks.setdefault(task, (self.loop.time() - cloud.running[task], left))

    @rule(times=st.integers(1, 3))
    def launches_are_refused(self, times):
        for cloud in self.clouds:
            cloud.refuse += [CapacityError("full")] * times

    @rule(stall=st.booleans())
    def an_answer_is_lost(self, stall):
        self.foreseeable = False
        for cloud in self.clouds:
            if stall:
                cloud.stalls = 1
            else:
                cloud.lost_stops = 1

    @rule(which=st.integers(0, 9), natively=st.booleans())
    def a_run_is_cancelled(self, which, natively):
        name = self.some(which, self.runs)
        if name is None:
            return
        run = self.runs[name]
        run["cancelled"] = True
        self.foreseeable = False
        if natively:
            run["task"].cancel()
        elif "scope" in run:
            self.loop.call_soon(run["scope"].cancel)

    @invariant()
    def limits_hold(self):
        most = self.limits.workers
        for cloud in self.clouds:
            assert cloud.max_running <= most, cloud.log
        if self.paid.rates is None and len(self.clouds) == 2:  # they share the limit then
            running = sum(
                not cloud._stop_announced(task, self.loop.time())
                for cloud in self.clouds
                for task in cloud.running
            )
            assert running <= most
        assert self.free.max_running <= 2

    @invariant()
    def copies_are_where_they_may_be(self):
        for run in self.runs.values():
            for event in run["events"]:
                if isinstance(event, SceneCopied):
                    assert self.where(event.task).cancels_encodes

    @invariant()
    def each_scene_has_one_outcome(self):
        for run in self.runs.values():
            ends = Counter(
                e.scene for e in run["events"] if isinstance(e, SceneCompleted | SceneFailed)
            )
            assert all(count == 1 for count in ends.values())
            assert set(ends) <= set(run["scenes"])

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        try:
            self.come_to_an_end()
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(200))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def come_to_an_end(self):
        tasks = [run["task"] for run in self.runs.values()]
        if tasks:
            _, left = self.loop.run_until_complete(asyncio.wait(tasks, timeout=LONG))
            assert not left, "a run that has no end"
        for name, run in self.runs.items():
            if run.get("cancelled"):
                continue
            run["task"].result()
            self.check(name, run["final"])
        self.loop.run_until_complete(self.close())
        for cloud in self.clouds:
            assert not cloud.running, cloud.log
            assert not any(cloud.encoding.values())

    async def close(self):
        self.stop.set()
        await asyncio.wait_for(self.life, 1000)

    def check(self, name, report):
        assert [scene.scene for scene in report.scenes] == self.runs[name]["scenes"]
        for scene in report.scenes:
            assert (scene.video is None) != (scene.error is None), scene
        for error in report.errors:
            assert isinstance(error, CloudburstError)
            assert not isinstance(error, ClosedError)
            assert self.limits.max_usd or not isinstance(error, BudgetError)
        if self.foreseeable and self.limits.max_usd and report.cost:
            assert report.cost.usd <= self.limits.max_usd


SETTINGS = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


class TestEngine(Engine.TestCase):
    settings = SETTINGS


@pytest.mark.nightly
@pytest.mark.chaos
@pytest.mark.timeout(1220)
class TestEngineAtNight(Engine.TestCase):
    settings = settings(SETTINGS, max_examples=240)
