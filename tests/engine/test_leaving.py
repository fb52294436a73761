"""Leaving a client: it waits until stops are accepted, not until tasks are seen to have stopped."""

from __future__ import annotations

import anyio
import pytest

from cloudburst.models.journal_entries import TaskEntry
from cloudburst.models.limits import Limits
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.testing import FakeCloud
from support.harness import checked, engine
from support.interrupted_runs import MemoryJournal, Plug, life

pytestmark = pytest.mark.anyio


def billed(**facts):
    return FakeCloud(rates=US_EAST_1_RATES, boot=5, encode=10, ends_after=20, **facts)


@pytest.mark.parametrize("idle", [0, 1000])
async def test_no_wait_for_the_end_of_tasks_whose_stop_is_accepted(idle):
    """A warm task is only now stopped: the wait is for the answer to its stop."""
    cloud, journal = billed(stop_takes=2), MemoryJournal()
    async with engine(cloud, limits=Limits(workers=2, idle=idle)) as e:
        report = await e.render("ab", journal=journal)
        began = anyio.current_time()
        await e.pool.stop_all()
        assert anyio.current_time() - began == pytest.approx(2 if idle else 0, abs=0.5)
        assert not cloud.running
        again = await report.settled()
        assert anyio.current_time() - began < 3
    assert not again.cost.final
    last = {entry.task: entry for entry in journal.of(TaskEntry)}
    assert len(last) == 2
    for entry in last.values():
        assert not entry.settled
        assert entry.stopped_at is not None
        assert entry.usage.pull_started_at is not None


async def test_a_wait_for_the_final_bill_ends_when_the_client_is_left():
    cloud, journal = billed(), MemoryJournal()
    bills = []

    async def wait(report):
        bills.append((await report.settled()).cost)

    async with engine(cloud) as e:
        report = await e.render("a", journal=journal)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, report)
            await anyio.sleep(3)
            await e.pool.stop_all()
            began = anyio.current_time()
        assert anyio.current_time() == began
    assert [cost.final for cost in bills] == [False]


async def test_the_next_process_completes_the_bill():
    cloud, journal = billed(), MemoryJournal()
    async with life(Plug(cloud, journal), [checked("a")]) as (e, run):
        first = await run.until_done()
        await e.pool.stop_all()
    await anyio.sleep(30)
    earlier = journal.earlier()
    async with life(Plug(cloud, journal), [checked("a")], earlier=earlier) as (_, run):
        second = await run.until_done()
    assert not first.cost.final
    assert second.cost.final
    assert second.cost.usd >= first.cost.usd
    assert len(cloud.launched) == 1


async def test_settled_waits_for_a_task_whose_stop_is_not_accepted_yet():
    cloud = billed(stop_takes=3)
    async with engine(cloud, limits=Limits(idle=1000)) as e, e.open("a") as run:
        await run.until_done()
        e.pool.close()
        assert (await run.settled()).cost.final


async def test_the_page_about_a_failed_task_is_still_written():
    cloud, journal = billed(crashing_tasks={"fake-1": 8.0}, post_mortem_takes=3.0), MemoryJournal()
    async with engine(cloud, limits=Limits(workers=1)) as e:
        async with e.open("a", journal=journal) as run:
            async for event in run:
                if event.type == "worker.failed":
                    began = anyio.current_time()
                    break
        await e.pool.stop_all()
        assert anyio.current_time() - began == pytest.approx(3, abs=1)
        (failed, *_) = (await run.report()).workers
    assert failed.post_mortem is not None
