"""Runs that are cancelled at every checkpoint, in every way: nothing is left running."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from cloudburst.errors import CapacityError
from cloudburst.models.limits import Backoff, Limits, Timeouts
from cloudburst.testing import FakeCloud, VirtualClockLoop
from support.harness import engine
from support.interrupted_runs import MemoryJournal

pytestmark = [pytest.mark.anyio, pytest.mark.chaos]

AT_ONCE = Backoff(first=1e-9, cap=1e-9)
TICKS = range(130)
"""Checkpoints at which a run is cancelled: each sixth in the gate."""


def clouds():
    """Accounts whose launches and stops meet each trouble that has a remedy."""
    return {
        "plain": FakeCloud(),
        "lost launch": FakeCloud(stalls=1),
        "lost stop": FakeCloud(lost_stops=1),
        "slow stop": FakeCloud(stop_takes=3),
        "no room at first": FakeCloud(refuse=[CapacityError("full")]),
    }


async def user(cloud):
    timeouts = Timeouts(call=2, stop=60)
    limits = Limits(workers=2)
    async with engine(cloud, timeouts=timeouts, limits=limits, backoff=AT_ONCE) as eng:
        await eng.render(["a", "b", "c", "d"])


@pytest.mark.few(100, spread=True)
@pytest.mark.parametrize("trouble", clouds())
@pytest.mark.parametrize("ticks", TICKS)
async def test_scope_cancel(ticks, trouble):
    cloud = clouds()[trouble]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(user, cloud)
        for _ in range(ticks):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not cloud.running


# anyio wraps the coroutine of a task: cancelled before its first step, that is never awaited.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("trouble", clouds())
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("who", ["one", "all"])
@pytest.mark.parametrize("step", [12, pytest.param(1, marks=pytest.mark.nightly)])
def test_native_cancel(who, times, trouble, step):
    """asyncio's own ``Task.cancel()``, which no anyio shield holds back."""
    # Both values of each other parameter together have each sixth checkpoint at least.
    for ticks in TICKS[step // 2 * ((who == "one") ^ (times == 1)) :: step]:
        cloud = clouds()[trouble]
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            runner.run(cut(cloud, ticks, who, times))
        assert not cloud.running, f"cut after {ticks} ticks"


async def cut(cloud, ticks, who, times):
    task = asyncio.create_task(user(cloud))
    for _ in range(ticks):
        await asyncio.sleep(0)
    for _ in range(times):
        victims = {task} if who == "one" else asyncio.all_tasks() - {asyncio.current_task()}
        for victim in victims:
            victim.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


def test_the_loop_s_own_end_leaves_nothing():
    """``asyncio.run`` cancels what is left when the main coroutine returns."""
    cloud = FakeCloud(encode=100)

    async def main():
        asyncio.create_task(user(cloud))  # noqa: RUF006 - left alone on purpose
        await asyncio.sleep(50)
        assert cloud.running

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())
    assert not cloud.running


async def user_of_a_source(cloud, ended):
    async def source():
        try:
            for name in "abcd":
                await anyio.lowlevel.checkpoint()
                yield name
        finally:
            ended.append("source")

    limits = Limits(workers=2, queued_scenes=1)
    async with engine(cloud, timeouts=Timeouts(call=2, stop=60), limits=limits) as eng:
        async with eng.open_source(source(), "a", journal=MemoryJournal()) as run:
            await run.until_done()
        async with eng.open_source(None, "b") as run:
            for name in "abc":
                await run.submit(name)
            await run.video("b")


# A generator that has yielded is closed; one that was never asked is not.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("native", [False, True], ids=["scope", "native"])
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_run_with_a_source_is_cancelled_anywhere(native, step):
    async def cut_source(ticks):
        task = asyncio.create_task(user_of_a_source(cloud, ended))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        return task.cancelled()

    async def cancel_source(ticks):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(user_of_a_source, cloud, ended)
                for _ in range(ticks):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        return scope.cancelled_caught

    for ticks in range(0, 300, step):
        cloud, ended = FakeCloud(), []
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            cut = runner.run((cut_source if native else cancel_source)(ticks))
        assert not cloud.running, f"cut after {ticks} ticks"
        assert len(ended) <= 1
        if not cut:
            break
    assert ended == ["source"], "the last cut came after the end"
