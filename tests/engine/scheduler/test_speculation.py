"""Scenes that encode for much longer than others did, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import anyio
import anyio.lowlevel
import pytest

from cloudburst.engine.attempt import SpeculativeCopy
from cloudburst.errors import (
    CloudburstError,
    DownloadError,
    EncodeError,
    OutputWriteError,
    PoisonedSceneError,
)
from cloudburst.events import SceneCopied, SceneEncoded, SceneStarted
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import engine, known, working

pytestmark = pytest.mark.anyio

SCENES = [working("slow", 30), working("b", 20), working("c", 20), working("d", 15)]
LIMITS = Limits(workers=2, idle=300)


class Uneven(FakeCloud):
    """The first encode of the scene that is called slow takes long, and the next ones do not."""

    def __init__(self, *, first=10_000.0, then=30.0, **facts):
        self.tries = iter([first])
        self.cut = []
        facts = {"boot": 10.0, "upload": 1.0, "download": 1.0} | facts
        super().__init__(encode=lambda scene: self._seconds(scene, then), **facts)

    def _seconds(self, scene, then):
        return next(self.tries, then) if scene == "slow" else 20.0


async def render(cloud, limits=LIMITS, *, scenes=SCENES, timeouts=None, measurements=None):
    measurements = measurements or known(cloud)
    async with engine(cloud, measurements=measurements, limits=limits, timeouts=timeouts) as e:
        async with e.open(scenes) as run:
            events = [event async for event in run]
        final = await run.settled()
    assert not cloud.running
    assert not any(cloud.encoding.values())
    return events, final


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


async def test_the_copy_is_first():
    cloud = Uneven(rates=US_EAST_1_RATES)
    events, report = await render(cloud)
    assert report.status is Status.COMPLETE
    (copied,) = of(SceneCopied, events)
    (first,) = [e for e in of(SceneStarted, events) if e.scene == "slow"]
    (done,) = [e for e in of(SceneEncoded, events) if e.scene == "slow"]
    assert copied.task == done.task != first.task
    slow = report.scenes[0]
    assert slow.video.task == slow.task == copied.task
    assert slow.attempts == 1
    assert slow.encode_seconds == pytest.approx(30)
    assert slow.bytes_sent == 2000, "it travelled twice"
    # Without progress: when it has taken twice as long as others did, and 10 % more for the copy.
    assert 11 + 30 + 2 + 1.1 * 30 <= copied.at <= 11 + 30 + 2 + 1.1 * 30 + 4
    assert report.wall_seconds < 500
    # The loser's time came to nothing.
    loser = next(worker for worker in report.workers if worker.task == first.task)
    rate = loser.cost.usd / loser.cost.billed_seconds
    assert loser.cost.usd == loser.cost.wasted or loser.cost.wasted >= 60 * rate
    assert cloud.log.count(f"encoded slow on {copied.task}") == 1
    assert f"encoded slow on {first.task}" not in cloud.log


async def test_the_first_one_is_first_after_all():
    cloud = Uneven(first=150.0, then=10_000.0)
    events, report = await render(cloud)
    assert report.status is Status.COMPLETE
    assert of(SceneCopied, events)
    slow = report.scenes[0]
    (first,) = [e for e in of(SceneStarted, events) if e.scene == "slow"]
    assert slow.video.task == slow.task == first.task
    assert slow.encode_seconds == pytest.approx(150)


@pytest.mark.parametrize(
    ("why", "cloud", "limits"),
    [
        ("switched off", {}, {"speculative_copies": False}),
        ("cannot cancel", {"cancels_encodes": False}, {}),
        ("nobody is free", {}, {"workers": 1}),
        ("is soon done", {"first": 61.0}, {}),
    ],
)
async def test_no_copy(why, cloud, limits):
    events, report = await render(Uneven(**({"first": 400.0} | cloud)), replace(LIMITS, **limits))
    assert not of(SceneCopied, events), why
    assert report.status is Status.COMPLETE


@pytest.mark.parametrize("measured", [True, False])
async def test_only_what_was_measured_is_late(measured):
    """The slow scene is on the one cloud, and the free worker on the other."""
    far = FakeCloud(name="far", boot=10, capacity=1, encode=400.0)
    near = FakeCloud(name="near", boot=15, capacity=1, encode=20.0)
    measurements = known(far, near) if measured else known(near)
    async with (
        engine(far, near, measurements=measurements, limits=LIMITS) as e,
        e.open([working("slow", 60), working("b", 20)]) as run,
    ):
        events = [event async for event in run]
    assert (await run.report()).status is Status.COMPLETE
    assert bool(of(SceneCopied, events)) is measured


async def test_a_copy_is_within_the_budget():
    """The more may be spent, the more is begun: both scenes, and then a copy beside the other."""
    found = set()
    for most in (400, 600, 800):
        tries = iter([1500.0])
        far = FakeCloud(name="far", boot=10, capacity=1, rates=US_EAST_1_RATES)
        far.encode = near_encode = lambda name, t=tries: next(t, 200.0) if name == "slow" else 700.0
        near = FakeCloud(name="near", boot=15, capacity=1, encoders=2, rates=US_EAST_1_RATES)
        near.encode = near_encode
        limits = Limits(workers=2, max_usd=Decimal(most) / 10_000, hour_usd=Decimal(50))
        measurements = known(far, near)
        timeouts = Timeouts(scene=None)
        async with (
            engine(far, near, measurements=measurements, limits=limits, timeouts=timeouts) as e,
            e.open([working("slow", 200), working("other", 190)]) as run,
        ):
            events = [event async for event in run]
        if (await run.report()).status is Status.COMPLETE and far.launched and near.launched:
            found.add(bool([e for e in of(SceneCopied, events) if e.scene == "slow"]))
    assert found == {True, False}


async def test_what_goes_on_well_is_not_copied():
    """It is late, and says that it is nearly done: a copy would need 32 s."""
    events, _ = await render(Uneven(first=80.0))
    assert not of(SceneCopied, events)
    events, _ = await render(Uneven(first=130.0))
    assert of(SceneCopied, events)


async def test_progress_shows_early_that_an_encode_is_slow():
    """After 12 s, 5 % of it are done; the other worker will be free at 32 s."""
    events, _ = await render(Uneven(first=200.0), scenes=SCENES[:2])
    (copied,) = of(SceneCopied, events)
    assert 11 + 12 <= copied.at <= 11 + 12 + 4


async def test_a_little_longer_is_not_slow():
    events, _ = await render(Uneven(first=45.0), scenes=SCENES[:2])
    assert not of(SceneCopied, events), "it is done at 56 s, and a copy at 62 s or later"


async def test_one_copy_at_most():
    cloud = Uneven(first=2000.0, then=2000.0)
    limits, timeouts = Limits(workers=4, idle=3000), Timeouts(scene=None)
    events, report = await render(cloud, limits, timeouts=timeouts)
    assert report.status is Status.COMPLETE
    assert len(of(SceneCopied, events)) == 1


@pytest.mark.parametrize(("work", "comes_first"), [(28, True), (10, False)])
async def test_copies_and_waiting_scenes_are_encoded_longest_first(work, comes_first):
    cloud = Uneven(first=2000.0, silent_tasks={"fake-3"})
    scenes = [working("slow", 30), *(working(f"w{number}", work) for number in range(9))]
    scenes += [working("last", 12)]
    events, report = await render(cloud, Limits(workers=2), scenes=scenes)
    assert report.status is Status.COMPLETE
    (copied,) = of(SceneCopied, events)
    begun = {event.scene: event.at for event in of(SceneStarted, events)}
    assert (copied.at > begun["last"]) is not comes_first
    assert copied.at < max(begun.values()) or comes_first


class Meets(Uneven):
    """What its two encodes of the slow scene, and the download, meet is up to the test."""

    def __init__(self, *generating, downloading=None, **facts):
        super().__init__(**facts)
        self.generating = dict(enumerate(generating, 1))
        self.downloading = downloading
        self.uploads = self.encodes = 0
        self.taken = {}

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets) as line:
            yield Line(line.cloud, line.task)


class Line(FakeRenderer):
    async def upload(self, scene, **more):
        if scene.scene.name == "slow":
            self.cloud.uploads += 1
            if self.cloud.uploads in self.cloud.taken:
                age = anyio.current_time() - self.cloud.running[self.task]
                self.cloud.interrupted_tasks[self.task] = age + 3, 200
        return await super().upload(scene)

    async def encode(self, upload, *, progress):
        if upload.scene == "slow":
            self.cloud.encodes += 1
            match self.cloud.generating.get(self.cloud.encodes):
                case CloudburstError() as error:
                    raise error
                case float() as seconds:
                    self._crash_in(seconds)
                case _:
                    pass
        return await super().encode(upload, progress=progress)

    async def download(self, output, to, **more):
        if output.scene == "slow" and self.cloud.downloading:
            error, self.cloud.downloading = self.cloud.downloading, None
            raise error
        return await super().download(output, to, **more)


async def test_a_copy_that_fails_does_not_fail_the_scene():
    cloud = Meets(None, EncodeError("no"), first=300.0)
    events, report = await render(cloud)
    assert report.status is Status.COMPLETE
    assert of(SceneCopied, events)
    slow = report.scenes[0]
    assert slow.attempts == 1
    assert slow.encode_seconds == pytest.approx(300)


async def test_the_first_one_fails_and_the_copy_goes_on():
    events, report = await render(Meets(75.0))
    (copied,) = of(SceneCopied, events)
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 1
    assert report.scenes[0].video.task == copied.task
    assert sum(worker.error is not None for worker in report.workers) == 1


async def test_the_first_one_runs_out_of_time_and_the_copy_goes_on():
    cloud = Uneven()
    events, report = await render(cloud, timeouts=Timeouts(scene=80))
    assert of(SceneCopied, events)
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 1


async def test_a_copy_whose_worker_dies_costs_nothing():
    events, report = await render(Meets(None, 10.0, first=300.0))
    assert of(SceneCopied, events)
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 1
    assert sum(worker.error is not None for worker in report.workers) == 1


async def test_both_workers_die_under_it():
    _, report = await render(Meets(75.0, 25.0))
    assert isinstance(report.errors[0], PoisonedSceneError)
    assert report.scenes[0].attempts == 1
    assert len(set(report.errors[0].tasks)) == 2


async def test_a_copy_that_has_won_and_does_not_arrive_is_tried_again():
    events, report = await render(Meets(downloading=DownloadError("cut")))
    assert of(SceneCopied, events)
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 2


async def test_a_copy_that_has_won_and_cannot_be_written_at_first_is_fetched_again():
    events, report = await render(Meets(downloading=OutputWriteError("disk full")))
    assert of(SceneCopied, events)
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 1


async def test_a_worker_with_a_copy_on_it_that_is_taken_away():
    """A notice comes while the copy uploads: it is given up, and the scene is not queued twice."""
    cloud = Meets(first=300.0, upload=10.0)
    cloud.taken = {2}
    events, report = await render(cloud)
    assert of(SceneCopied, events)
    assert report.status is Status.COMPLETE
    assert report.scenes[0].attempts == 1
    assert len(cloud.launched) == 2


async def test_a_free_slot_beside_it_is_no_other_worker():
    cloud = Uneven(encoders=2, first=300.0)
    events, report = await render(cloud, Limits(workers=1))
    assert report.status is Status.COMPLETE
    assert not of(SceneCopied, events)


@pytest.mark.few(15, spread=True)
@pytest.mark.parametrize("ticks", range(0, 400, 7))
async def test_cut_anywhere_nothing_is_left(ticks):
    """From the moment of the copy on, at every few checkpoints."""
    cloud = Uneven()

    async def user(copied):
        async with (
            engine(cloud, measurements=known(cloud), limits=LIMITS) as e,
            e.open(SCENES) as run,
        ):
            async for event in run:
                if isinstance(event, SceneCopied):
                    copied.set()

    async with anyio.create_task_group() as tasks:
        copied = anyio.Event()
        tasks.start_soon(user, copied)
        await copied.wait()
        for _ in range(ticks):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not cloud.running
    assert not any(cloud.encoding.values())


async def test_cut_before_the_copy_has_begun(monkeypatch):
    """Its task never runs: its place on the worker is given back all the same."""
    begin, cloud = SpeculativeCopy.start, Uneven()
    run_scope = anyio.CancelScope()

    def cut(second, lane):
        begin(second, lane)
        run_scope.cancel()

    monkeypatch.setattr(SpeculativeCopy, "start", cut)
    async with engine(cloud, measurements=known(cloud), limits=Limits(workers=2, idle=300)) as e:
        with run_scope:
            await e.render(SCENES)
        assert run_scope.cancelled_caught
        with anyio.fail_after(100):
            assert (await e.render(["more"], "other")).status is Status.COMPLETE
        assert all(not slot.assignments for slot in e.pool.scheduler.workers)
    assert not cloud.running
