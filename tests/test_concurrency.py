"""Errors that leave a task group, and calls that outlast a cancellation."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback

import anyio
import anyio.lowlevel
import pytest

from cloudburst.concurrency import (
    Steps,
    call_sync_or_async,
    collapse_single,
    finish_despite_cancel,
    opened_in_thread,
)
from cloudburst.testing import VirtualClockLoop

pytestmark = pytest.mark.anyio


async def test_a_lone_error_leaves_as_itself():
    with pytest.raises(KeyError), collapse_single():
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError()])])


def told(error):
    return "".join(traceback.format_exception(error))


def missing():
    raise FileNotFoundError("no disk")


async def in_groups(work):
    with collapse_single():
        async with anyio.create_task_group():
            with collapse_single():
                async with anyio.create_task_group():
                    work()


async def test_a_lone_error_has_one_traceback():
    with pytest.raises(FileNotFoundError) as caught:
        await in_groups(missing)
    assert told(caught.value).count("Traceback") == 1
    assert told(caught.value).endswith("FileNotFoundError: no disk\n")


@pytest.mark.parametrize("explicit", [True, False])
async def test_a_lone_error_keeps_its_own_cause_and_context(explicit):
    def work():
        try:
            missing()
        except OSError as exc:
            if explicit:
                raise KeyError("gone") from exc
            raise KeyError("gone")  # noqa: B904 - the context is what is tested

    with pytest.raises(KeyError) as caught:
        await in_groups(work)
    assert told(caught.value).count("Traceback") == 2
    assert isinstance(caught.value.__context__, FileNotFoundError)
    assert (caught.value.__cause__ is not None) is explicit


async def test_several_stay_together():
    with pytest.raises(ExceptionGroup, match="both"), collapse_single():
        raise ExceptionGroup("both", [KeyError(), ValueError()])


async def test_an_interrupt_leaves_asyncio_s_loop_only_once(anyio_backend_name):
    stays = anyio_backend_name == "asyncio"
    expected = BaseExceptionGroup if stays else KeyboardInterrupt
    with pytest.raises(expected), collapse_single():
        raise BaseExceptionGroup("", [KeyboardInterrupt()])


async def test_a_call_that_a_scope_cancels_is_finished_and_then_cancelled():
    calls, after = [], []

    async def call():
        await anyio.sleep(1)
        calls.append(1)

    with anyio.move_on_after(0.5) as scope:
        await finish_despite_cancel(call, seconds=10)
        await anyio.lowlevel.checkpoint()
        after.append(1)
    assert (calls, after) == ([1], [])
    assert scope.cancelled_caught


async def test_a_call_that_takes_too_long_is_cut_off():
    began, rest = anyio.current_time(), []

    async def call():
        await anyio.sleep(60)
        rest.append(1)

    with pytest.raises(TimeoutError):
        await finish_despite_cancel(call, seconds=5)
    assert anyio.current_time() - began == pytest.approx(5)
    assert not rest


async def test_the_result_or_the_error_of_the_call_is_returned():
    async def answer():
        return 1

    async def fail():
        raise KeyError

    assert await finish_despite_cancel(answer, seconds=5) == 1
    with pytest.raises(KeyError):
        await finish_despite_cancel(fail, seconds=5)


def cancel_one(task):
    task.cancel()


def cancel_all(_task):
    for each in asyncio.all_tasks() - {asyncio.current_task()}:
        each.cancel()


@pytest.mark.parametrize("cancel", [cancel_one, cancel_all])
@pytest.mark.parametrize(("seconds", "ends"), [(10.0, [2.0]), (1.5, [])])
def test_a_call_that_asyncio_cancels_many_times_is_made_once(cancel, seconds, ends):
    """A call of two seconds, which is done in time or not."""
    began, ended = [], []

    async def call():
        began.append(anyio.current_time())
        await anyio.sleep(2)
        ended.append(anyio.current_time())

    async def main():
        task = asyncio.ensure_future(finish_despite_cancel(call, seconds=seconds))
        for _ in range(50):
            await asyncio.sleep(0.02)
            cancel(task)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert anyio.current_time() == pytest.approx(min(seconds, 2.0))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())
    assert (began, ended) == (pytest.approx([0]), pytest.approx(ends))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_error_of_a_cancelled_call_gives_way_to_the_cancellation(caplog):
    async def fail():
        await anyio.sleep(0.01)
        raise KeyError

    task = asyncio.ensure_future(finish_despite_cancel(fail, seconds=5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gc.collect()
    assert not caplog.records


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_calls_that_a_scope_around_gather_cancels_are_made_once():
    """Such a scope cancels the calls in every turn of the event loop until they end."""
    began, ended, cancelled = [], [], []

    async def call():
        began.append(1)
        await anyio.sleep(0.1)
        ended.append(1)

    async def use():
        try:
            await finish_despite_cancel(call, seconds=10)
        finally:
            cancelled.append(asyncio.current_task().cancelling())

    uses = [asyncio.ensure_future(use()) for _ in range(8)]
    with anyio.move_on_after(0.02):
        await asyncio.gather(*uses)  # ends with the first of them
    await asyncio.wait(uses, timeout=5)
    assert len(began) == len(ended) == 8
    assert min(cancelled) > 20


async def test_steps_let_others_run_after_every_few_items():
    turns = []

    async def other():
        while True:
            await anyio.lowlevel.checkpoint()
            turns.append(None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        assert [item async for item in Steps(range(1000))] == list(range(1000))
        assert 8 <= len(turns) <= 11
        turns.clear()
        assert [item async for item in Steps(())] == []
        assert [item async for item in Steps("abc")] == ["a", "b", "c"]
        assert not turns
        tasks.cancel_scope.cancel()


async def test_functions_of_callers_may_be_coroutine_functions_or_not():
    threads = []

    def blocking(number):
        threads.append(threading.get_ident())
        return number + 1

    async def asynchronous(number):
        threads.append(threading.get_ident())
        return number + 2

    found = [await call_sync_or_async(each, 1) for each in (blocking, asynchronous)]
    own = threading.get_ident()
    assert (found, [thread == own for thread in threads]) == ([2, 3], [False, True])


class Opened:
    """Opens something in a thread, as slowly as a test wants, and counts what is open."""

    def __init__(self):
        self.may_open = threading.Event()
        self.opens = threading.Event()
        self.count = 0

    def open(self):
        self.opens.set()
        self.may_open.wait()
        self.count += 1
        return self

    def close(self):
        self.count -= 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2])
async def test_what_a_thread_opens_for_a_cancelled_task_is_closed(times):
    """As ``asyncio.timeout`` cancels: the thread goes on, and its result arrives too late."""
    thing = Opened()

    async def use():
        async with opened_in_thread(thing.open, Opened.close):
            raise AssertionError("the block of a cancelled task is run")

    task = asyncio.ensure_future(use())
    while not thing.opens.is_set():  # noqa: ASYNC110 - of a thread
        await asyncio.sleep(0.001)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    thing.may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert thing.count == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("rounds", range(8))
async def test_what_a_thread_has_opened_is_closed_despite_cancellations(rounds):
    """Cancelled within the block, and again while it is closed."""
    thing = Opened()
    thing.may_open.set()
    entered = asyncio.Event()

    async def use():
        async with opened_in_thread(thing.open, Opened.close) as opened:
            assert opened is thing
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.ensure_future(use())
    await entered.wait()
    assert thing.count == 1
    task.cancel()
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert thing.count == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_errors_of_opening_and_closing_in_a_thread_are_raised():
    thing = Opened()
    thing.may_open.set()

    def fail(*_):
        raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        async with opened_in_thread(fail, Opened.close):
            pass
    with pytest.raises(FileNotFoundError):
        async with opened_in_thread(thing.open, fail):
            pass
