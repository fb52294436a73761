"""A report from the journal has the figures that the process itself reported."""

from __future__ import annotations

import anyio
import pytest

from cloudburst.engine.report import rebuild_report
from cloudburst.errors import CapacityError
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud, VirtualClockLoop
from support.harness import engine
from support.interrupted_runs import MemoryJournal, Plug
from support.journal_entries import Model, process

pytestmark = pytest.mark.anyio

TIMEOUTS = Timeouts(call=5, stop=60)
NOT_IN_THE_JOURNAL = {
    *("queued_seconds", "slot_wait_seconds", "started_at", "finished_at"),
    *("bytes_sent", "bytes_fetched", "bytes_received", "bytes_delivered", "post_mortem"),
}


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualClockLoop}


def billing(**facts) -> FakeCloud:
    usual = {
        "boot": 40,
        "pull_after": 8,
        "upload": 1,
        "encode": 20,
        "download": 2,
        "ends_after": 15,
    }
    return FakeCloud(rates=US_EAST_1_RATES, **(usual | facts))


def figures(value, path=""):
    """Each number and text of a report by its place, with times to the millisecond."""
    match value:
        case dict():
            kept = value.keys() - NOT_IN_THE_JOURNAL
            parts = [figures(value[key], f"{path}.{key}") for key in kept]
        case list() | tuple():
            parts = [figures(one, f"{path}[{place}]") for place, one in enumerate(value)]
        case float():
            return {path: round(value, 2)}
        case _:
            return {path: value}
    return {key: one for part in parts for key, one in part.items()}


def differences(report, other):
    ours, theirs = figures(report.model_dump()), figures(other.model_dump())
    both = ours.keys() | theirs.keys()
    return {
        key: (ours.get(key), theirs.get(key)) for key in both if ours.get(key) != theirs.get(key)
    }


async def both(*clouds, names="abcd", journal=None, earlier=None, cut=None, **settings):
    """The settled report of a run, and that from its journal."""
    journal = journal or MemoryJournal()
    async with engine(*clouds, timeouts=TIMEOUTS, **settings) as e:
        entry = process(journal.now(), run="run")
        scope = anyio.CancelScope()
        with scope:
            async with e.open(names, journal=journal, earlier=earlier, process=entry) as run:
                if cut is not None:
                    await anyio.sleep(cut)
                    scope.cancel()
                await run.until_done()
        report = await run.settled()
        await e.pool.supervisors.writers.done()
    return report, await rebuild_report("run", Model().write(*journal.entries).past)


CASES = {
    "complete": ([billing()], {}, Status.COMPLETE),
    "two encoders": ([billing(encoders=2)], {}, Status.COMPLETE),
    "free and billed": (
        [billing(), FakeCloud(name="local", encode=25)],
        {"limits": Limits(workers=3)},
        Status.COMPLETE,
    ),
    "a scene failed": ([billing(broken_scenes={"b"})], {}, Status.PARTIAL),
    "all failed": ([billing(broken_scenes=set("abcd"))], {}, Status.FAILED),
    "a worker was lost": (
        [billing(crashing_tasks={"fake-1": 70})],
        {"limits": Limits(workers=2)},
        Status.COMPLETE,
    ),
    "a worker stopped at each attempt": (
        [billing(crashing_scenes={"c": 5.0})],
        {},
        Status.PARTIAL,
    ),
    "no capacity": ([billing(refuse=[CapacityError("full")])], {}, Status.COMPLETE),
    "left early": (
        [billing()],
        {"cut": 75, "limits": Limits(workers=2)},
        Status.INTERRUPTED,
    ),
    "over budget": ([billing()], {"limits": Limits(max_usd="0.0001")}, Status.BUDGET),
}


@pytest.mark.few(4, spread=True)
@pytest.mark.parametrize("case", CASES)
async def test_figures_are_those_of_the_process(case):
    clouds, settings, status = CASES[case]
    report, rebuilt = await both(*clouds, **settings)
    assert report.status is status
    assert not differences(rebuilt, report)
    assert rebuilt.cost == report.cost
    assert [scene.usd for scene in rebuilt.scenes] == [scene.usd for scene in report.scenes]


async def test_resumed_run_has_the_bill_of_both_processes():
    cloud, journal = billing(), MemoryJournal()
    first, _ = await both(cloud, journal=journal, cut=75, limits=Limits(workers=2))
    assert first.status is Status.INTERRUPTED
    report, rebuilt = await both(cloud, journal=journal, earlier=journal.earlier())
    assert report.skipped
    assert not differences(rebuilt, report)


async def test_killed_run_has_what_was_done_and_a_bill_that_is_not_final():
    cloud, journal = billing(), MemoryJournal()
    plug = Plug(cloud, journal)
    async with engine(plug, timeouts=TIMEOUTS) as e:
        entry = process(journal.now(), run="run")
        async with e.open("abcdefgh", journal=plug, process=entry):
            await anyio.sleep(80)
            plug.pull()
            now = journal.now()
            past = Model().write(*journal.entries).past
            killed = await rebuild_report("run", past)
            running = await rebuild_report("run", past, now=now)
            plug.pulled = False
    assert (killed.status, running.status) == (Status.INTERRUPTED,) * 2
    assert 0 < len(killed.videos) < 8
    assert killed.cost.usd > 0
    assert not killed.cost.final
    assert all(worker.stopped_at is not None for worker in killed.workers)
    assert running.wall_seconds == pytest.approx(80)
    assert any(worker.stopped_at is None for worker in running.workers)
