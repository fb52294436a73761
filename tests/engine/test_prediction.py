"""What is expected of a run when it begins, against what comes of it, in virtual time."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

import anyio
import pytest
from harness import checked

from cloudburst.engine.figures import Figures, work
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.plan import Offer, foreseen, usual
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import open_run
from cloudburst.models.options import RenderOptions
from cloudburst.models.pace import Pace, Sample
from cloudburst.models.policy import READINESS, Limits, Timeouts
from cloudburst.models.prices import US_EAST_1
from cloudburst.models.task import TaskSpec
from cloudburst.testing import FakeCloud

pytestmark = pytest.mark.anyio

BOOT, STOP, MOVE, PULL = 40.0, 15.0, 2.0, 10.0
OPTIONS = RenderOptions()


@dataclass
class Place:
    """A fake cloud with figures of its own, and what a run of it comes to."""

    cloud: FakeCloud
    pace: Pace

    @asynccontextmanager
    async def opened(self):
        async with self.cloud.backend(Timeouts(), TaskSpec().tier) as backend:
            yield replace(backend, kind=self.cloud.name, pace=self.pace)


async def rendered(places, scenes, *, limits, figures=None):
    timeouts = Timeouts()
    with unwrapped():
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
                backoff=READINESS,
                figures=figures or Figures(),
            )
            async with open_run(
                "run",
                scenes,
                pool,
                to={scene.scene.name: scene.scene.image for scene in scenes},
                options=OPTIONS,
                timeouts=timeouts,
                limits=limits,
            ) as run:
                first = run.report.predicted
                assert first is not None
                report = await run.until_done()
                report = await run.settled()
            pool.close()
            tasks.cancel_scope.cancel()
    assert report.predicted == first
    report.raise_for_failures()
    return report


def cloud(scenes, ratio: float = 1.0, **more) -> FakeCloud:
    works = {scene.scene.name: ratio * work(scene, OPTIONS) for scene in scenes}
    facts = {
        "boot": BOOT,
        "pull_after": PULL,
        "upload": MOVE / 2,
        "download": MOVE / 2,
        "encode": works.__getitem__,
        "ends_after": STOP,
        "rates": US_EAST_1,
    }
    return FakeCloud(**facts | more)


TRUE = Pace(start=BOOT, ratio=1.0, moving=MOVE, stop=STOP, placing=PULL)


def mixed(number: int, seed: int = 0):
    rng = random.Random(seed)
    return [checked(f"s{n}", round(rng.lognormvariate(3, 0.7), 1)) for n in range(number)]


@pytest.mark.parametrize("workers", [1, 3, 5])
@pytest.mark.parametrize("encoders", [1, 2])
async def test_a_run_comes_to_what_was_predicted(workers, encoders):
    scenes = mixed(17, seed=workers)
    place = Place(cloud(scenes, encoders=encoders), TRUE)
    report = await rendered([place], scenes, limits=Limits(workers=workers))
    # Scenes that wait on a worker for the one before them do not always go where is room first.
    assert report.seconds == pytest.approx(report.predicted.seconds, rel=0.1)
    assert report.predicted.usd_low <= report.predicted.usd_high
    assert float(report.cost.usd) == pytest.approx(float(report.predicted.usd_high), rel=0.1)


async def test_this_machine_costs_nothing():
    scenes = mixed(9)
    place = Place(cloud(scenes, rates=None, boot=1.0), Pace(start=1.0, moving=MOVE))
    report = await rendered([place], scenes, limits=Limits(workers=2))
    assert report.predicted.usd_high == 0
    assert report.seconds == pytest.approx(report.predicted.seconds, rel=0.05)


@pytest.mark.parametrize("length", [5.0, 30.0, 120.0])
async def test_as_many_tasks_are_predicted_as_are_started(length):
    """With figures that are measured, few scenes are worth few tasks."""
    scenes = [checked(f"s{n}", length) for n in range(12)]
    place = Place(cloud(scenes), TRUE)
    known = [
        Sample(kind="fake", measure="start", seconds=BOOT),
        *[Sample(kind="fake", measure="encode", seconds=x, sound=x) for x in (5.0, 50.0, 150.0)]
        * 9,
        Sample(kind="fake", measure="move", seconds=MOVE),
        Sample(kind="fake", measure="stop", seconds=STOP),
    ]
    limits = Limits(workers=6)
    report = await rendered([place], scenes, limits=limits, figures=Figures(known))
    assert report.seconds == pytest.approx(report.predicted.seconds, rel=0.06)
    offer = Offer(
        backend="fake",
        pace=Figures(known).pace(type("Here", (), {"kind": "fake", "pace": TRUE})()),
        encoders=1,
        most=6,
        usd_per_second=US_EAST_1.of(TaskSpec().tier, public_ipv4=False),
    )
    plan = usual([work(scene, OPTIONS) for scene in scenes], [offer], most=6)
    billed = [worker for worker in report.workers if worker.cost]
    assert plan.tasks == len(billed)
    assert plan.tasks == {5.0: 2, 30.0: 3, 120.0: 4}[length]  # 5 would be no sooner than 4


async def test_a_deadline_is_foreseen_too():
    scenes = [checked(f"s{n}", 5.0) for n in range(12)]
    known = [
        Sample(kind="fake", measure="start", seconds=BOOT),
        *[Sample(kind="fake", measure="encode", seconds=x, sound=x) for x in (5.0, 50.0, 150.0)]
        * 9,
    ]
    reports = [
        await rendered(
            [Place(cloud(scenes), TRUE)],
            scenes,
            limits=Limits(workers=6, deadline=deadline),
            figures=Figures(known),
        )
        for deadline in (None, 85.0)
    ]
    alone, hurried = reports
    assert hurried.predicted.seconds <= 85.0 < alone.predicted.seconds
    assert hurried.seconds == pytest.approx(hurried.predicted.seconds, rel=0.06)
    assert alone.seconds == pytest.approx(alone.predicted.seconds, rel=0.06)


async def test_a_fleet_is_foreseen_in_no_time():
    """The loop must not stand still for a thousand workers and ten thousand scenes."""
    works = [random.Random(n).uniform(2, 30) for n in range(10_000)]
    offer = Offer(
        backend="fake", pace=TRUE, encoders=1, most=1000, usd_per_second=Decimal("0.00003")
    )
    plan = usual(works, [offer], most=1000)
    assert plan.tasks == 1000
    bound = BOOT + sum(works) / 1000 + MOVE
    assert bound <= plan.seconds < 1.1 * bound + max(works)
    measured = replace(offer, pace=replace(TRUE, measured=frozenset({"start", "encode"})))
    worth = usual(works, [measured], most=1000)
    assert 1 < worth.tasks < 1000
    one_more = foreseen(works, [replace(worth.crews[0], number=worth.tasks + 1)])
    assert worth.seconds - one_more.seconds <= BOOT
