"""Journal entries of a run, which no scene or worker waits for without need."""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from cloudburst.errors import CapacityError, ClosedError, KeyRefusedError, NoAnswerError
from cloudburst.models.journal_entries import (
    LaunchEntry,
    ResultEntry,
    SceneEntry,
    SceneFailureEntry,
    TaskEntry,
)
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Status
from cloudburst.testing import FakeCloud
from cloudburst.testing.fake import FakeRenderer
from support.harness import checked, engine
from support.interrupted_runs import MemoryJournal, Plug, life

pytestmark = pytest.mark.anyio


class Slow(MemoryJournal):
    """Each write takes seconds."""

    async def write(self, *entries):
        await anyio.sleep(3)
        await super().write(*entries)


class Strange(FakeRenderer):
    async def upload(self, scene, **more):
        await anyio.lowlevel.checkpoint()
        raise KeyRefusedError("it wants another key", task=self.task)


class Strangers(FakeCloud):
    """All of its workers want another key."""

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        yield Strange(self, address)


@pytest.mark.parametrize("kind", [MemoryJournal, Slow])
async def test_a_journal_changes_no_decision(kind):
    """After three refused keys in a row a backend is given up, whoever is being written about."""
    without = Strangers(boot=1)
    async with engine(without) as e:
        await e.render("ab")
    cloud, journal = Strangers(boot=1), kind()
    async with life(Plug(cloud, journal), [checked("a"), checked("b")]) as (_, run):
        report = await run.until_done()
    assert report.status is Status.FAILED
    assert all(isinstance(error, KeyRefusedError) for error in report.errors)
    assert len(cloud.launched) == len(without.launched) < 6
    kinds = {entry.scene: entry.error.kind for entry in journal.of(SceneFailureEntry)}
    assert kinds == {"a": "KeyRefusedError", "b": "KeyRefusedError"}


async def test_a_slow_journal_holds_up_no_worker_that_is_there():
    cloud, journal = FakeCloud(boot=1, encode=10, broken_scenes={"b"}), Slow()
    these = [checked(name) for name in "abcd"]
    limits = Limits(workers=1)
    async with life(Plug(cloud, journal), these, limits=limits) as (_, run):
        report = await run.until_done()
    assert [entry.scene for entry in report.scenes if entry.video is None] == ["b"]
    # The first entries, the launch, and a result each that the next encode does not wait for.
    assert report.wall_seconds < 3 + 3 + 1 + 3 * 10 + 3 * 3


async def test_hundreds_of_scenes_are_one_write():
    cloud, journal = FakeCloud(), MemoryJournal()
    these = [checked(f"s{number}") for number in range(300)]
    async with life(Plug(cloud, journal), these, limits=Limits(workers=1)) as (_, run):
        await anyio.lowlevel.checkpoint()
        while not journal.entries:
            await anyio.lowlevel.checkpoint()
        assert len(journal.of(SceneEntry)) == 300
        assert journal.writes == 1
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert len(journal.of(ResultEntry)) == 300
    assert len(journal.of(TaskEntry)) < 10


class Closed(MemoryJournal):
    """It is closed in the midst of the run."""

    async def write(self, *entries):
        if self.writes > 2:
            raise ClosedError("the journal was closed")
        await super().write(*entries)


async def test_a_journal_that_was_closed_ends_no_run():
    cloud, journal = FakeCloud(boot=1, encode=1), Closed()
    async with life(Plug(cloud, journal), [checked(name) for name in "abcd"]) as (_, run):
        report = await run.until_done()
    assert report.status is Status.COMPLETE
    assert not cloud.running
    assert not journal.of(ResultEntry)


async def test_a_launch_that_is_asked_for_after_its_run_is_written_down():
    """The run was left while there was no room; another one still wants its worker."""
    cloud = FakeCloud(boot=1, encode=10, refuse=[CapacityError("full")] * 3)
    first, second = MemoryJournal(), MemoryJournal()
    async with engine(cloud, limits=Limits(workers=1)) as e:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(e.render, [checked("b", 1)], "second", second)
            with anyio.move_on_after(0.3):
                await e.render([checked("a", 2)], "first", first)
        await e.pool.stop_all()
    [(token, task)] = cloud.launched.items()
    assert [entry.token for entry in first.of(LaunchEntry)][-1] == token
    assert {entry.task for entry in first.of(TaskEntry)} == {task}
    assert not second.of(LaunchEntry)


class Deaf(FakeCloud):
    """It answers no stop."""

    async def stop(self, task, *, reason):
        raise NoAnswerError("no")


async def test_a_stop_that_is_not_accepted_holds_up_nobody():
    """The run was cut off, so that its end does not wait for its workers."""
    cloud, journal = Deaf(rates=US_EAST_1_RATES, boot=1, encode=100), MemoryJournal()
    async with engine(cloud, timeouts=Timeouts(stop=5)) as e:
        with anyio.move_on_after(20):
            await e.render("a", journal=journal)
        with anyio.fail_after(10):
            await e.pool.stop_all()
    assert cloud.running
