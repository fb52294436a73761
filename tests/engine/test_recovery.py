"""Runs that another process resumes: each scene once, no task left, every task on the bill."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

import anyio
import anyio.lowlevel
import pytest

from cloudburst.errors import (
    AccessDeniedError,
    NoAnswerError,
    PoisonedSceneError,
    WorkerStoppedError,
)
from cloudburst.events import (
    SceneCompleted,
    SceneFailed,
    WorkerFailed,
    WorkerLaunched,
    WorkerReady,
)
from cloudburst.models.journal_entries import (
    ErrorEntry,
    LaunchEntry,
    ResultEntry,
    SceneEntry,
    SceneFailureEntry,
    TaskEntry,
)
from cloudburst.models.limits import Backoff, Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud, VirtualClockLoop
from support.harness import checked, engine, known, working
from support.interrupted_runs import EPOCH, MemoryJournal, Plug, goes_on, killed, life

pytestmark = pytest.mark.anyio

AT_ONCE = Backoff(first=1e-9, cap=1e-9)
TIMEOUTS = Timeouts(call=5, stop=60)
TICKS = range(160)


def scenes(names="abcd"):
    return [checked(name) for name in names]


def billing(**facts) -> FakeCloud:
    facts = {"boot": 40, "pull_after": 8, "encode": 20, "ends_after": 15} | facts
    return FakeCloud(rates=US_EAST_1_RATES, **facts)


async def resumed(cloud, journal, these=None, **settings):
    """Events and settled report of a second life."""
    settings = {"timeouts": TIMEOUTS, "limits": Limits(workers=2)} | settings
    plug = Plug(cloud, journal)
    async with life(plug, these or scenes(), earlier=journal.earlier(), **settings) as (_, run):
        events = [event async for event in run]
        return events, await run.settled()


def hold(cloud, journal, events, report):
    """What must be so however the first life ended."""
    assert report.status is Status.COMPLETE
    assert not cloud.running
    done = Counter(event.scene for event in events if isinstance(event, SceneCompleted))
    assert done == Counter("abcd"), "each scene once"
    encoded = Counter(line.split()[1] for line in cloud.log if line.startswith("encoded"))
    assert set(encoded) == set("abcd")
    for event in events:
        if isinstance(event, SceneCompleted) and event.skipped:
            assert encoded[event.scene] == 1, "what was finished is not rendered again"
    told = Counter(worker.task for worker in report.workers if worker.task)
    assert told == Counter(cloud.launched.values()), "each task is told of once"
    assert [worker.possibly_running for worker in report.workers] == [False] * len(report.workers)
    if cloud.rates is not None:
        assert report.cost.final
        assert report.cost.billed_seconds == sum(
            worker.cost.billed_seconds for worker in report.workers
        )
    if journal is not None:
        assert journal.end.status is Status.COMPLETE
        assert {e.task for e in journal.of(TaskEntry)} == set(cloud.launched.values())


@pytest.mark.few(16, spread=True)
@pytest.mark.parametrize("ticks", TICKS)
async def test_killed_at_any_moment_it_goes_on(ticks):
    cloud, journal = FakeCloud(), MemoryJournal()
    settings = {"timeouts": TIMEOUTS, "limits": Limits(workers=2), "backoff": AT_ONCE}
    await killed(cloud, journal, scenes(), ticks=ticks, **settings)
    events, report = await resumed(cloud, journal, backoff=AT_ONCE)
    hold(cloud, journal, events, report)


@pytest.mark.few(8, spread=True)
@pytest.mark.parametrize("trouble", ["plain", "lost launches", "lost stops", "public image"])
@pytest.mark.parametrize("seconds", [0, 0.5, 7, 9, 30, 41, 45, 61, 70, 81, 82, 100])
async def test_the_bill_of_a_resumed_run_has_the_tasks_of_both_processes(seconds, trouble):
    cloud, journal = billing(), MemoryJournal()
    cloud.stalls = 2 if trouble == "lost launches" else 0
    cloud.lost_stops = 2 if trouble == "lost stops" else 0
    cloud.native = trouble != "public image"
    settings = {"timeouts": TIMEOUTS, "limits": Limits(workers=2)}
    await killed(cloud, journal, scenes(), seconds=seconds, **settings)
    events, report = await resumed(cloud, journal)
    hold(cloud, journal, events, report)


async def test_a_worker_that_answers_is_taken_over():
    cloud, journal = billing(), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=70, limits=Limits(workers=1))
    assert len(journal.of(ResultEntry)) == 1
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 1
    (worker,) = report.workers
    assert worker.launched_at < 0, "seconds since this life began"
    assert worker.ready_at < 0
    assert worker.scenes == 4
    assert report.cost.wasted < report.cost.encoding / 3, "one encode was cut, and the rest counts"
    kinds = [type(e) for e in events if isinstance(e, WorkerLaunched | WorkerReady)]
    assert kinds == [WorkerLaunched, WorkerReady]


async def test_encodes_of_the_killed_process_are_dropped():
    """The fake complains when more is encoded on a worker than it has slots for."""
    cloud, journal = FakeCloud(boot=1, encode=50), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=20, limits=Limits(workers=1))
    assert cloud.encoding == {"fake-1": 1}
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 1


async def test_a_worker_that_still_starts_is_waited_for():
    cloud, journal = FakeCloud(boot=60, encode=5), MemoryJournal()
    timeouts = Timeouts(call=5, stop=5)
    await killed(cloud, journal, scenes(), seconds=10, limits=Limits(workers=1), timeouts=timeouts)
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 1


async def test_a_worker_that_does_not_answer_at_once_is_replaced():
    cloud, journal = FakeCloud(boot=1, encode=50), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=20, limits=Limits(workers=1))
    cloud.silent_tasks.add("fake-1")
    began = anyio.current_time()
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert cloud.max_running == 1
    assert [e.task for e in events if isinstance(e, WorkerFailed)] == ["fake-1"]
    second = next(w for w in report.workers if w.task == "fake-2")
    assert second.launched_at < TIMEOUTS.call + 2, f"after {anyio.current_time() - began} s"
    assert report.status is Status.COMPLETE


async def test_more_workers_than_there_may_be_are_stopped():
    cloud, journal = FakeCloud(boot=1, encode=50), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=20, limits=Limits(workers=3))
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 3
    assert sorted(worker.scenes for worker in report.workers) == [0, 0, 4]
    assert not [e for e in events if isinstance(e, WorkerFailed)], "that is no failure"


async def test_more_workers_than_there_is_work_for_are_stopped():
    cloud, journal = FakeCloud(boot=1, encode=lambda s: 5 if s in "bcd" else 500), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=100, limits=Limits(workers=4))
    assert len(cloud.running) == 1, "the others were not needed any more"
    cloud.encode = 5
    events, report = await resumed(cloud, journal)
    hold(cloud, journal, events, report)
    skipped = [e.scene for e in events if isinstance(e, SceneCompleted) and e.skipped]
    assert skipped == ["b", "c", "d"]


async def test_when_all_is_done_what_is_left_is_stopped():
    cloud, journal = billing(), MemoryJournal()
    # Through with the last scene at 120, and killed while the worker is kept warm.
    limits = Limits(workers=1, idle=100)
    await killed(cloud, journal, scenes(), seconds=150, linger=100, limits=limits)
    assert len(journal.of(ResultEntry)) == 4
    assert cloud.running
    events, report = await resumed(cloud, journal)
    hold(cloud, journal, events, report)
    assert all(e.skipped for e in events if isinstance(e, SceneCompleted))


async def test_a_task_that_the_journal_does_not_know_is_found():
    cloud, journal = FakeCloud(boot=1, encode=5, stalls=1), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=1, limits=Limits(workers=1))
    assert journal.of(LaunchEntry)
    assert not journal.of(TaskEntry)
    assert list(cloud.running) == ["fake-1"]
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 1


@dataclass(eq=False, kw_only=True)
class Late(FakeCloud):
    """A task is listed so many seconds after its launch."""

    listed_after: float = 8.0

    async def find(self, run):
        now = anyio.current_time()
        return [
            one
            for one in await super().find(run)
            if now >= self._requests[one.task][1] + self.listed_after
        ]


async def test_a_task_that_is_listed_late_is_found():
    cloud, journal = Late(boot=1, encode=1, stalls=1), MemoryJournal()
    settings = {"limits": Limits(workers=1), "timeouts": Timeouts(call=0.5, stop=0.5)}
    await killed(cloud, journal, scenes(), seconds=0.2, **settings)
    assert list(cloud.running) == ["fake-1"]
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 2


async def test_a_task_that_is_known_need_not_be_listed():
    cloud, journal = Late(boot=1, encode=1, listed_after=1e9), MemoryJournal()
    settings = {"limits": Limits(workers=1), "timeouts": Timeouts(call=0.5, stop=0.5)}
    await killed(cloud, journal, scenes(), seconds=1.5, **settings)
    assert list(cloud.running) == ["fake-1"]
    assert journal.of(TaskEntry)
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 2


async def test_how_long_a_start_took_is_not_learned_from_a_gap():
    cloud, journal = FakeCloud(boot=60, encode=5), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=10, limits=Limits(workers=1))
    await anyio.sleep(1000)
    plug = Plug(cloud, journal)
    limits = Limits(workers=1)
    async with life(plug, scenes(), earlier=journal.earlier(), limits=limits) as (e, run):
        await run.until_done()
        samples = e.pool.scheduler.performances.take_samples()
    assert len(cloud.launched) == 1
    assert not [sample for sample in samples if sample.measure == "startup"]


BRIEFLY = {"limits": Limits(workers=1), "timeouts": Timeouts(call=0.5, stop=0.1)}
"""So that the next life begins at once."""


async def test_a_task_that_is_known_and_not_listed_is_stopped_on_the_way_out():
    cloud, journal = Late(boot=1, encode=20), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=3, **BRIEFLY)
    with anyio.move_on_after(2):
        await resumed(cloud, journal, limits=Limits(workers=1))
    assert len(cloud.launched) == 2
    assert not cloud.running


async def test_a_task_that_was_stopped_and_is_not_listed_has_its_bill():
    """Its stop was accepted, and its client died before it was seen to have ended."""
    cloud, journal = Late(boot=1, encode=20, rates=US_EAST_1_RATES, ends_after=3), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=0.5, **BRIEFLY)
    known = journal.of(TaskEntry)[-1]
    await cloud.stop(known.task, reason="done")
    await journal.write(replace(known, stopped_at=journal.now()))
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)


async def test_a_run_that_is_left_and_tidies_up_begins_no_scene():
    """Its neighbour goes on, and frees a worker meanwhile."""
    cloud, journal = Late(boot=1, encode=3, stop_takes=10), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=3, **BRIEFLY)
    reports = []

    async def beside(e):
        reports.append(await e.render([f"other {n}" for n in range(8)], "other"))

    async with (
        engine(cloud, timeouts=TIMEOUTS, limits=Limits(workers=1)) as e,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(beside, e)
        await anyio.sleep(1)
        with anyio.move_on_after(2):
            async with goes_on(e, Plug(cloud, journal), scenes(), journal.earlier()) as run:
                await run.until_done()
    assert reports[0].status is Status.COMPLETE
    assert not cloud.running


async def test_launches_requested_long_ago_are_not_waited_for():
    lost = [NoAnswerError("lost") for _ in range(100)]  # however soon it asks again
    cloud, journal = FakeCloud(boot=1, encode=1, refuse=lost), MemoryJournal()
    settings = {"limits": Limits(workers=1), "timeouts": Timeouts(call=0.5, stop=0.1)}
    await killed(cloud, journal, scenes(), seconds=0.01, **settings)
    assert not cloud.launched
    lost.clear()
    await anyio.sleep(60)
    _, report = await resumed(cloud, journal, limits=Limits(workers=1))
    assert report.wall_seconds < 10


class Blind(FakeCloud):
    """It may not list tasks."""

    async def find(self, run):
        raise AccessDeniedError("no")


async def test_where_tasks_cannot_be_listed_those_that_are_known_are_stopped():
    cloud, journal = Blind(boot=1, encode=5), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=4, limits=Limits(workers=2))
    assert len(cloud.running) == 2
    events, report = await resumed(cloud, journal)
    hold(cloud, journal, events, report)


async def test_a_task_that_nobody_remembers_is_billed_as_far_as_it_was_seen():
    cloud, journal = billing(), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=200, limits=Limits(workers=1))
    (task,) = cloud.launched.values()
    seen = [e for e in journal.of(TaskEntry) if e.usage is not None][-1].usage
    cloud.running.clear()
    cloud._requests.clear()  # hours later
    _, report = await resumed(cloud, journal, limits=Limits(workers=1))
    first = next(worker for worker in report.workers if worker.task == task)
    assert not first.cost.final
    assert not report.cost.final
    known = round(seen.last_seen_at - seen.pull_started_at, 3)  # bills ignore shorter times
    assert first.cost.billed_seconds >= known > 0
    assert not first.possibly_running


async def test_attempts_add_up_and_a_failure_is_tried_afresh():
    cloud, journal = FakeCloud(boot=1, encode=5, broken_scenes={"a"}), MemoryJournal()
    plug = Plug(cloud, journal)
    async with life(plug, scenes("ab")) as (_, run):
        report = await run.until_done()
    assert report.status is Status.PARTIAL
    (fault,) = journal.of(SceneFailureEntry)
    assert (fault.scene, fault.error.kind, fault.given_up) == ("a", "EncodeError", True)
    cloud.broken_scenes.clear()
    _, report = await resumed(cloud, journal, scenes("ab"))
    assert report.status is Status.COMPLETE
    assert [entry.attempts for entry in report.scenes] == [2 if fault.failures else 1, 1]


@pytest.mark.parametrize("given_up", [True, False])
async def test_a_scene_that_ended_two_workers_stays_set_aside(given_up):
    journal = MemoryJournal()
    error = PoisonedSceneError("twice", scene="a", tasks=["t1", "t2"])
    failure = SceneFailureEntry(
        scene="a",
        failures=2,
        worker_failures=0,
        worker_losses=2,
        error=ErrorEntry.of(error if given_up else WorkerStoppedError("lost")),
        given_up=given_up,
    )
    journal.entries.append(failure)
    events, report = await resumed(FakeCloud(), journal, scenes("ab"))
    assert report.status is Status.PARTIAL
    (failed,) = [e for e in events if isinstance(e, SceneFailed)]
    assert failed.kind == "PoisonedSceneError"
    assert not failed.retryable
    assert failed.message == "twice" if given_up else "earlier process" in failed.message
    assert report.errors[0].tasks == (("t1", "t2") if given_up else ())
    assert report.scenes[0].attempts == 2


async def test_workers_that_it_ended_in_each_life_count():
    cloud, journal = FakeCloud(boot=1, encode=100, crashing_scenes={"a": 20}), MemoryJournal()
    settings = {"limits": Limits(workers=1, attempts=5)}
    await killed(cloud, journal, scenes("a"), seconds=30, **settings)
    (fault,) = journal.of(SceneFailureEntry)
    assert (fault.worker_losses, fault.given_up) == (1, False)
    events, report = await resumed(cloud, journal, scenes("a"), **settings)
    assert report.status is Status.FAILED
    assert [e.kind for e in events if isinstance(e, SceneFailed)] == ["PoisonedSceneError"]
    assert journal.of(SceneFailureEntry)[-1].worker_losses == 2


async def test_skipped_scenes_are_told_in_full():
    cloud, journal = FakeCloud(boot=1, upload=2, encode=5, download=3), MemoryJournal()
    plug = Plug(cloud, journal)
    async with life(plug, scenes("a")) as (_, run):
        first = (await run.until_done()).scenes[0]
    _, report = await resumed(cloud, journal, scenes("a"))
    again = report.scenes[0]
    assert again.video == first.video
    assert (again.attempts, again.task) == (first.attempts, first.task)
    assert (again.upload_seconds, again.encode_seconds) == pytest.approx((2, 5))
    assert again.download_seconds == pytest.approx(3, abs=0.1)
    assert len(cloud.launched) == 1


@pytest.mark.few(12, spread=True)
@pytest.mark.parametrize("ticks", range(0, 100, 3))
async def test_cut_while_it_takes_over_it_leaves_nothing(ticks):
    cloud, journal = FakeCloud(boot=0, encode=50), MemoryJournal()
    await killed(cloud, journal, scenes(), seconds=20, limits=Limits(workers=3))
    assert len(cloud.running) == 3
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(resumed, cloud, journal)
        for _ in range(ticks + 8):  # the client is open by then
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not cloud.running


async def test_what_must_be_written_first_is_written_first():
    class Watching(FakeCloud):
        async def launch(self, request):
            tokens = {entry.token for entry in journal.of(LaunchEntry)}
            assert request.token in tokens, "before the call"
            assert len(journal.of(SceneEntry)) == 4
            return await super().launch(request)

    cloud, journal = Watching(boot=1, encode=5), MemoryJournal()
    async with life(Plug(cloud, journal), scenes()) as (_, run):
        async for event in run:
            if isinstance(event, SceneCompleted):
                assert event.scene in {e.video.scene for e in journal.of(ResultEntry)}
    assert journal.end.status is Status.COMPLETE


async def test_the_last_words_of_a_task_are_written_after_the_run():
    cloud, journal = billing(), MemoryJournal()
    async with life(Plug(cloud, journal), scenes("a")) as (e, run):
        await run.until_done()
        assert not [t for t in journal.of(TaskEntry) if t.settled]
        await run.settled()
        await e.pool.stop_all()
    assert [t.task for t in journal.of(TaskEntry) if t.settled] == ["fake-1"]
    assert journal.of(TaskEntry)[-1].launched_at == pytest.approx(EPOCH, abs=5)


async def test_a_look_at_a_task_is_not_an_entry():
    cloud, journal = billing(encode=1000), MemoryJournal()
    async with life(Plug(cloud, journal), scenes("a"), timeouts=Timeouts(scene=5000)) as (_, run):
        await run.until_done()
    assert 1000 / 30 < len(journal.of(TaskEntry)) < 1000 / 30 + 10


# anyio wraps the coroutine of a task: cancelled before its first step, that is never awaited.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("who", ["one", "all"])
@pytest.mark.parametrize("step", [12, pytest.param(6, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("anyio_backend", ["not used"])
def test_a_native_cancel_while_it_takes_over_leaves_nothing(who, times, step, anyio_backend):
    """asyncio's own ``Task.cancel()``, which no anyio shield holds back."""
    # Both values of each other parameter together have every sixth tick at least.
    for ticks in range(step // 2 * ((who == "one") ^ (times == 1)), 70, step):
        cloud, journal = FakeCloud(boot=0, encode=50), MemoryJournal()
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            runner.run(cut(cloud, journal, ticks, who, times))
        assert not cloud.running, f"cut after {ticks} ticks"


async def cut(cloud, journal, ticks, who, times):
    await killed(cloud, journal, scenes(), seconds=20, limits=Limits(workers=3))
    assert len(cloud.running) == 3
    task = asyncio.create_task(resumed(cloud, journal))
    for _ in range(ticks + 8):  # the client is open by then
        await asyncio.sleep(0)
    for _ in range(times):
        victims = {task} if who == "one" else asyncio.all_tasks() - {asyncio.current_task()}
        for victim in victims:
            victim.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


async def test_a_task_that_this_life_asks_for_is_not_taken_for_one_of_the_last():
    cloud, journal = FakeCloud(boot=1, encode=5, stalls=1), MemoryJournal()
    lost = LaunchEntry(token="lost", backend="fake", requested_at=journal.now())
    journal.entries.append(lost)
    events, report = await resumed(cloud, journal, limits=Limits(workers=1))
    hold(cloud, journal, events, report)
    assert len(cloud.launched) == 1
    assert sum(isinstance(event, WorkerLaunched) for event in events) == 1


async def test_a_client_that_goes_on_with_its_own_run_counts_each_task_once():
    """Seven lives, of 60 s each, that all leave the same scene to the next one."""
    cloud, journal = billing(broken_scenes={"a"}), MemoryJournal()
    limits = Limits(workers=1, attempts=1, max_usd=Decimal("0.016"))
    async with engine(cloud, timeouts=TIMEOUTS, limits=limits) as e:
        earlier = None
        for number in range(7):
            async with goes_on(e, journal, scenes("a"), earlier) as run:
                await run.until_done()
            report = await run.settled()
            assert report.status is Status.FAILED, f"no lack of money in life {number}"
            earlier = journal.earlier()
    assert report.cost.billed_seconds == 7 * 60


async def test_the_budget_knows_tasks_that_the_backend_has_forgotten():
    cloud, journal = billing(), MemoryJournal()
    limits = Limits(workers=1, max_usd=Decimal("0.006"))
    await killed(cloud, journal, scenes(), seconds=105, limits=limits, timeouts=Timeouts(stop=5))
    (last,) = journal.of(TaskEntry)[-1:]
    await cloud.stop(last.task, reason="cleanup")
    cloud._requests.clear()  # hours later
    _, report = await resumed(cloud, journal, scenes("abcdefghij"), limits=limits)
    assert report.status is Status.BUDGET
    assert len({worker.task for worker in report.workers}) == 2
    assert Decimal("0.004") < report.cost.usd <= limits.max_usd


@pytest.mark.parametrize("settled", [False, True])
async def test_a_client_that_goes_on_with_its_own_run_has_the_whole_bill(settled):
    """Also of the task that has not stopped yet when the next life begins."""
    cloud, journal = billing(), MemoryJournal()
    async with engine(cloud, timeouts=TIMEOUTS, limits=Limits(workers=1)) as e:
        async with goes_on(e, journal, scenes()) as run:
            async for event in run:
                if isinstance(event, SceneCompleted):
                    break
        if settled:
            await run.settled()
        async with goes_on(e, journal, scenes(), journal.earlier()) as run:
            events = [event async for event in run]
        report = await run.settled()
    hold(cloud, journal, events, report)
    assert [worker.scenes for worker in report.workers] == [1, 3]
    assert report.cost.billed_seconds == sum(cloud_seconds(cloud))


def cloud_seconds(cloud):
    """What is billed of each task."""
    for task, (_, created) in cloud._requests.items():
        yield max(60, math.ceil(round(cloud.ended[task] - created - cloud.pull_after, 3)))


async def test_workers_that_have_run_for_long_are_expected_at_once():
    """Nobody takes them for starts that are late by an hour, and starts others in their place."""
    cloud, journal = FakeCloud(boot=40, encode=50, rates=US_EAST_1_RATES), MemoryJournal()
    these = [working(name, 50) for name in "abcd"]
    settings = {"limits": Limits(workers=2), "timeouts": Timeouts(call=5, stop=0.1)}
    await killed(cloud, journal, these[:2], seconds=45, **settings)
    assert len(cloud.running) == 2
    await anyio.sleep(3600)
    settings = {"measurements": known(cloud), "limits": Limits(workers=4, hour_usd=Decimal("0.1"))}
    _, report = await resumed(cloud, journal, these, **settings)
    assert report.status is Status.COMPLETE
    assert len(cloud.launched) == 2
    assert [worker.scenes for worker in report.workers] == [2, 2]


async def test_a_clock_that_was_put_back_holds_up_nobody():
    """A launch was asked for in an hour, as it seems: it is not waited for until then."""
    cloud, journal = FakeCloud(boot=1, encode=1), MemoryJournal()
    lost = LaunchEntry(token="lost", backend="fake", requested_at=journal.now() + 3600)
    journal.entries.append(lost)
    _, report = await resumed(cloud, journal)
    assert report.status is Status.COMPLETE
    assert report.wall_seconds < 30
