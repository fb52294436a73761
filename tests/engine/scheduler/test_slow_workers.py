"""Tasks that encode more slowly than others, in virtual time. A start takes 40 s."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import anyio
import pytest

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.pool_state import (
    Assignment,
    AssignmentState,
    PoolWorker,
    ProgressSample,
    Ticket,
)
from cloudburst.engine.records import WorkerRecord
from cloudburst.engine.scheduler.performances import Performances
from cloudburst.engine.scheduler.speculation import Speculation
from cloudburst.events import SceneCopied, SceneEncoding, WorkerLaunched
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.performance import Performance, Sample
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.models.task import TaskSpec
from cloudburst.models.tier import Tier
from cloudburst.testing import FakeCloud
from support.harness import engine, known, working

pytestmark = pytest.mark.anyio


def cloud(works, **facts):
    facts = {"boot": 40.0, "upload": 1.0, "download": 1.0, "rates": US_EAST_1_RATES} | facts
    return FakeCloud(encode=lambda name: works[int(name[1:])], **facts)


async def render(one, works, **limits):
    limits = Limits(**limits)
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    timeouts = Timeouts(scene=None)
    async with engine(one, measurements=known(one), limits=limits, timeouts=timeouts) as e:
        async with e.open(scenes) as run:
            events = [event async for event in run]
        report = await run.settled()
    assert report.status is Status.COMPLETE
    assert not one.running
    assert not any(one.encoding.values())
    return events, report


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize(("hour_usd", "tasks"), [("1", 2), ("0", 1)])
async def test_a_task_is_started_for_a_copy_if_it_is_worth_its_price(hour_usd, tasks):
    """Alone on a task that is 4 times slower: 440 s, or a copy from 96 s on."""
    works = [100]
    one = cloud(works, slow_tasks={"fake-1": 4.0})
    events, report = await render(one, works, hour_usd=Decimal(hour_usd))
    assert len(one.launched) == tasks
    if tasks == 1:
        assert report.wall_seconds == pytest.approx(40 + 1 + 400 + 1, abs=1)
        return
    launches = [event.at for event in of(WorkerLaunched, events)]
    # The first progress is reported after 2 s, and 5 % more are done 20 s later.
    assert launches[1] == pytest.approx(41 + 24, abs=3)
    (copied,) = of(SceneCopied, events)
    assert copied.at == pytest.approx(launches[1] + 40, abs=1)
    assert report.wall_seconds == pytest.approx(launches[1] + 40 + 102, abs=2)
    assert report.scenes[0].task == "fake-2"


async def test_no_second_task_is_started_for_a_copy_that_the_first_one_cannot_take(monkeypatch):
    monkeypatch.setattr(Speculation, "_worker_for", lambda *_: None)
    works = [100]
    one = cloud(works, slow_tasks={"fake-1": 4.0})
    _, report = await render(one, works)
    assert len(one.launched) == 2
    assert report.scenes[0].task == "fake-1"


async def test_no_task_of_another_backend_is_started_for_a_copy():
    """A copy is compared with an attempt on a task of the same backend, and there is no room."""
    works = [100]
    one = cloud(works, capacity=1, slow_tasks={"fake-1": 4.0})
    other = cloud(works, name="other")
    timeouts = Timeouts(scene=None)
    async with engine(one, other, measurements=known(one, other), timeouts=timeouts) as e:
        report = await e.render([working("s0", 100)])
    assert report.status is Status.COMPLETE
    assert (len(one.launched), len(other.launched)) == (1, 0)


async def test_a_slow_task_that_is_nearly_done_gets_no_copy():
    """1.5 times slower: 191 s, and a copy would be done at 65 + 40 + 102 s."""
    works = [100]
    one = cloud(works, slow_tasks={"fake-1": 1.5})
    _, report = await render(one, works)
    assert len(one.launched) == 1
    assert report.wall_seconds == pytest.approx(192, abs=1)


async def test_the_old_calls_start_no_task_for_a_copy():
    class Eager(FakeCloud):
        @asynccontextmanager
        async def backend(self, timeouts, tier):
            async with super().backend(timeouts, tier) as backend:
                yield replace(backend, eager=True)

    works = [100, 60, 60]
    one = Eager(
        boot=40.0,
        encode=lambda name: works[int(name[1:])],
        rates=US_EAST_1_RATES,
        slow_tasks={"fake-1": 4.0},
    )
    events, _ = await render(one, works, workers=4)
    assert of(SceneCopied, events), "on a task that is there"
    assert len(one.launched) == 3


async def test_the_budget_and_the_limit_of_workers_hold_for_copies():
    for limits in ({"workers": 1}, {"max_usd": Decimal("0.0135")}):
        one = cloud([100], slow_tasks={"fake-1": 4.0})
        events, _ = await render(one, [100], **limits)
        assert not of(SceneCopied, events)
        assert len(one.launched) == 1


async def test_a_slow_task_gets_no_scene_that_others_finish_sooner():
    """Two tasks; one is 4 times slower, and its second scene would end at 521 s."""
    works = [60] * 8
    one = cloud(works, slow_tasks={"fake-1": 4.0})
    events, report = await render(one, works, workers=2, speculative_copies=False)
    assert [event.task for event in of(SceneEncoding, events)].count("fake-1") == 1
    # The fast task alone is done then; in place of the slow one, which has ended, another starts.
    assert report.wall_seconds <= 41 + 7 * 60 + 3


async def test_scenes_that_wait_on_a_slow_task_move():
    """A scene was sent ahead; its encode would begin after 240 s."""
    works = [60, 59, 58, 57]
    one = cloud(works, slow_tasks={"fake-1": 4.0})
    _, report = await render(one, works, workers=2, speculative_copies=False)
    assert [scene.task for scene in report.scenes].count("fake-1") == 1


async def test_the_longest_scene_on_a_slow_task_does_not_wait_for_the_end_of_the_queue():
    works = [200, *[50] * 12]
    one = cloud(works, slow_tasks={"fake-1": 4.0}, boot=lambda task: 39 + int(task[-1]))
    one_known = known(FakeCloud(boot=40.0, upload=1.0, download=1.0))
    scenes = [working(f"s{number}", seconds) for number, seconds in enumerate(works)]
    limits, timeouts = Limits(workers=3), Timeouts(scene=None)
    async with engine(one, measurements=one_known, limits=limits, timeouts=timeouts) as e:
        async with e.open(scenes) as run:
            events = [event async for event in run]
        report = await run.settled()
    (copied,) = (event for event in of(SceneCopied, events) if event.scene == "s0")
    last = max(event.at for event in of(SceneEncoding, events) if event.scene != "s0")
    assert copied.at < last - 100
    # Work of 800 s on two tasks.
    assert report.wall_seconds < 41 + 400 + 60


# Speeds, without a clock that moves.


def worker_with(*encodes: tuple[float, float, float]) -> PoolWorker:
    """A worker with encodes: work, progress since the first report, and seconds since then."""
    now = anyio.current_time()
    worker = PoolWorker(
        backend=SimpleNamespace(name="fake", kind="", performance=Performance()),
        number=0,
        spec=TaskSpec(),
        record=WorkerRecord(backend="fake", run="r"),
        expected_audio_seconds=1.0,
    )
    for work, share, seconds in encodes:
        ticket = Ticket(run="r", scene="s", language="english", audio_seconds=1.0, work=work)
        assignment = Assignment(
            ticket=ticket, worker=worker, connection=object(), on_phase_end=print
        )
        assignment.state = AssignmentState.ENCODING
        assignment.encoding_since = now - seconds - 50  # for example to measure the loudness
        assignment.first_progress = ProgressSample(0.01, now - seconds)
        assignment.last_progress = ProgressSample(0.01 + share, now)
        worker.assignments.append(assignment)
    return worker


def performances(encodes: int) -> Performances:
    """Performances after a number of encodes that have taken a second for each second of work."""
    sample = Sample(kind="fake", measure="encode", seconds=100.0, work=100.0)
    return Performances(Measurements([sample] * encodes))


@pytest.mark.parametrize(
    ("encodes", "finished", "slowness"),
    [
        ([], [], 1.0),
        ([], [(100.0, 100.0)], 1.0),
        ([], [(115.0, 100.0)], 1.0),
        ([], [(130.0, 100.0)], 1.25),
        ([], [(400.0, 100.0)] * 3, 1.25**6),
        ([], [(400.0, 100.0), *[(100.0, 100.0)] * 4], 1.0),
        ([(100.0, 0.1, 40.0)], [], 1.25**5),
        ([(100.0, 0.04, 16.0)], [], 1.0),
        ([(100.0, 0.5, 50.0)], [], 1.0),
        ([(100.0, 0.5, 20.0)], [], 1.0),
    ],
)
async def test_the_speed_of_a_worker(encodes, finished, slowness):
    worker = worker_with(*encodes)
    speeds = performances(encodes=3)
    speeds._finished[worker] = finished[-4:]
    speeds.update_worker(worker)
    assert worker.slowness == pytest.approx(slowness)
    speeds.forget(worker)
    worker.assignments.clear()
    speeds.update_worker(worker)
    assert worker.slowness == 1.0


async def test_the_speed_is_unknown_while_usual_times_are():
    worker = worker_with((100.0, 0.5, 400.0))
    performances(encodes=2).update_worker(worker)
    assert worker.slowness == 1.0


@pytest.mark.parametrize(
    ("encode", "slowness", "left"),
    [
        ((100.0, 0.24, 60.0), 1.0, 0.75 * 250),  # by its progress
        ((100.0, 0.02, 10.0), 1.0, 100.0 - 60.0),  # too little progress: by its work
        ((100.0, 0.02, 10.0), 3.0, 300.0 - 60.0),
        ((100.0, 0.02, 90.0), 1.0, 40.0),  # 40 s too late: as many seconds more
    ],
)
async def test_the_end_of_an_encode(encode, slowness, left):
    worker = worker_with(encode)
    worker.slowness = slowness
    end = performances(encodes=3).encode_end(worker.assignments[0])
    assert end - anyio.current_time() == pytest.approx(left, abs=0.01)


async def test_a_slow_worker_has_a_performance_of_its_own():
    async with FakeCloud().backend(Timeouts(), Tier.STANDARD) as backend:
        assert backend.performance.slowed(4.0).encode_seconds(10.0) == 40.0
