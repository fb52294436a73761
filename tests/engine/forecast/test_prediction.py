"""What is expected of a run when it begins, against what comes of it, in virtual time."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from cloudburst.concurrency import collapse_single
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.plan import WorkerKind, default_plan, make_plan
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.forecast.simulation import Load
from cloudburst.engine.open_run import open_run
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import RunSpec
from cloudburst.models.limits import READINESS_BACKOFF, Limits, Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.performance import Performance, Sample
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.task import TaskSpec
from cloudburst.testing import FakeCloud
from support.harness import checked

pytestmark = pytest.mark.anyio

BOOT, STOP, MOVE, PULL = 40.0, 15.0, 2.0, 10.0
OPTIONS = RenderOptions()
TASK_HOUR = 3600 * US_EAST_1_RATES.task_usd_per_second(TaskSpec().tier, public_ipv4=False)
"""With this value of an hour, a second of waiting is worth as much as a second of a task."""


@dataclass
class Place:
    """A fake cloud with figures of its own, and what a run of it comes to."""

    cloud: FakeCloud
    pace: Performance

    @asynccontextmanager
    async def opened(self):
        async with self.cloud.backend(Timeouts(), TaskSpec().tier) as backend:
            yield replace(backend, kind=self.cloud.name, performance=self.pace)


async def rendered(places, scenes, *, limits, measurements=None):
    timeouts = Timeouts()
    with collapse_single():
        async with anyio.create_task_group() as tasks:
            backends = []
            for place in places:
                async with place.opened() as backend:
                    backends.append(backend)
            pool = WorkerPool(
                tasks,
                backends,
                spec=TaskSpec(),
                timeouts=timeouts,
                limits=limits,
                backoff=READINESS_BACKOFF,
                measurements=measurements or Measurements(),
            )
            async with open_run(
                RunSpec("run", scenes, lambda name: Path(f"{name}.mp4")), pool
            ) as run:
                first = (await run.report()).predicted
                assert first is not None
                report = await run.until_done()
                report = await run.settled()
            pool.close()
            tasks.cancel_scope.cancel()
    assert report.predicted == first
    report.raise_for_failures()
    return report


def cloud(scenes, ratio: float = 1.0, **more) -> FakeCloud:
    works = {scene.scene.name: ratio * scene_work(scene) for scene in scenes}
    facts = {
        "boot": BOOT,
        "pull_after": PULL,
        "upload": MOVE / 2,
        "download": MOVE / 2,
        "encode": works.__getitem__,
        "ends_after": STOP,
        "rates": US_EAST_1_RATES,
    }
    return FakeCloud(**facts | more)


TRUE = Performance(
    startup_seconds=BOOT,
    seconds_per_work=1.0,
    transfer_seconds=MOVE,
    stop_seconds=STOP,
    placement_seconds=PULL,
)


def mixed(number: int, seed: int = 0):
    rng = random.Random(seed)
    return [checked(f"s{n}", round(rng.lognormvariate(3, 0.7), 1)) for n in range(number)]


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize("workers", [1, 3, 5])
@pytest.mark.parametrize("encoders", [1, 2])
async def test_a_run_comes_to_what_was_predicted(workers, encoders):
    scenes = mixed(17, seed=workers)
    place = Place(cloud(scenes, encoders=encoders), TRUE)
    report = await rendered([place], scenes, limits=Limits(workers=workers))
    # Scenes that wait on a worker for the one before them do not always go where is room first.
    assert report.wall_seconds == pytest.approx(report.predicted.wall_seconds, rel=0.1)
    assert report.predicted.usd_low <= report.predicted.usd_high
    assert float(report.cost.usd) == pytest.approx(float(report.predicted.usd_high), rel=0.1)


async def test_this_machine_costs_nothing():
    scenes = mixed(9)
    place = Place(
        cloud(scenes, rates=None, boot=1.0), Performance(startup_seconds=1.0, transfer_seconds=MOVE)
    )
    report = await rendered([place], scenes, limits=Limits(workers=2))
    assert report.predicted.usd_high == 0
    assert report.wall_seconds == pytest.approx(report.predicted.wall_seconds, rel=0.05)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("length", "hour_usd", "tasks"),
    [
        *[(5.0, TASK_HOUR, 1), (30.0, TASK_HOUR, 3), (120.0, TASK_HOUR, 6)],
        *[(5.0, Decimal(1), 4), (30.0, Decimal(1), 6), (120.0, Decimal(0), 1)],
    ],
)
async def test_as_many_tasks_are_predicted_as_are_started(length, hour_usd, tasks):
    """With figures that are measured, few scenes are worth few tasks."""
    scenes = [checked(f"s{n}", length) for n in range(12)]
    place = Place(cloud(scenes), TRUE)
    known = [
        Sample(kind="fake", measure="startup", seconds=BOOT),
        *[Sample(kind="fake", measure="encode", seconds=x, work=x) for x in (5.0, 50.0, 150.0)] * 9,
        Sample(kind="fake", measure="transfer", seconds=MOVE),
        Sample(kind="fake", measure="stop", seconds=STOP),
    ]
    limits = Limits(workers=6, hour_usd=hour_usd)
    report = await rendered([place], scenes, limits=limits, measurements=Measurements(known))
    assert report.wall_seconds == pytest.approx(report.predicted.wall_seconds, rel=0.06)
    offer = WorkerKind(
        backend="fake",
        performance=Measurements(known).performance("fake", TRUE),
        encoder_slots=1,
        max_workers=6,
        usd_per_second=US_EAST_1_RATES.task_usd_per_second(TaskSpec().tier, public_ipv4=False),
    )
    works = [scene_work(scene) for scene in scenes]
    plan = default_plan(works, [offer], max_tasks=6, hour_usd=hour_usd)
    billed = [worker for worker in report.workers if worker.cost]
    assert plan.tasks == len(billed)
    assert plan.tasks == tasks


async def test_a_deadline_is_foreseen_too():
    scenes = [checked(f"s{n}", 5.0) for n in range(12)]
    known = [
        Sample(kind="fake", measure="startup", seconds=BOOT),
        *[Sample(kind="fake", measure="encode", seconds=x, work=x) for x in (5.0, 50.0, 150.0)] * 9,
    ]
    reports = [
        await rendered(
            [Place(cloud(scenes), TRUE)],
            scenes,
            limits=Limits(workers=6, deadline=deadline, hour_usd=TASK_HOUR),
            measurements=Measurements(known),
        )
        for deadline in (None, 80.0)
    ]
    alone, hurried = reports
    assert hurried.predicted.wall_seconds <= 80.0 < alone.predicted.wall_seconds
    assert hurried.wall_seconds == pytest.approx(hurried.predicted.wall_seconds, rel=0.06)
    assert alone.wall_seconds == pytest.approx(alone.predicted.wall_seconds, rel=0.06)


async def test_a_fleet_is_foreseen_in_no_time():
    """The loop must not stand still for a thousand workers and ten thousand scenes."""
    works = [random.Random(n).uniform(2, 30) for n in range(10_000)]
    offer = WorkerKind(
        backend="fake",
        performance=TRUE,
        encoder_slots=1,
        max_workers=1000,
        usd_per_second=Decimal("0.00003"),
    )
    plan = default_plan(works, [offer], max_tasks=1000, hour_usd=Decimal(1))
    assert plan.tasks == 1000
    bound = BOOT + sum(works) / 1000 + MOVE
    assert bound <= plan.seconds < 1.1 * bound + max(works)
    measured = replace(offer, performance=replace(TRUE, measured=frozenset({"startup", "encode"})))
    worth = default_plan(works, [measured], max_tasks=1000, hour_usd=TASK_HOUR)
    assert 1 < worth.tasks < 1000
    other = make_plan(Load.from_works(works), [replace(worth.groups[0], count=worth.tasks + 40)])
    assert worth.seconds - other.seconds <= 40 * BOOT
    quick = default_plan(works, [measured], max_tasks=1000, hour_usd=Decimal(1))
    assert worth.tasks < quick.tasks
