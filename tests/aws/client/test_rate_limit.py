"""Token buckets in virtual time."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudburst.aws.client.rate_limit import (
    THROTTLE_PAUSE,
    RateLimiter,
    TokenBucket,
)
from cloudburst.errors import ThrottledError
from cloudburst.testing import VirtualClockLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"loop_factory": VirtualClockLoop})


async def passes(limiter, operation, *, number):
    """When each of so many calls that come at once may go."""
    began, times = anyio.current_time(), []

    async def call():
        await limiter.acquire(operation)
        times.append(anyio.current_time() - began)

    async with anyio.create_task_group() as tasks:
        for _ in range(number):
            tasks.start_soon(call)
    return times


@pytest.mark.parametrize(
    ("operation", "number", "last"),
    [
        ("describe_tasks", 90, 0),
        ("describe_tasks", 150, 3),
        ("stop_task", 170, 2),
        ("describe_clusters", 1000, 0),
        ("run_task", 18, 0),
        ("run_task", 78, 3),  # 18 at once, and 20 each second
    ],
)
async def test_a_burst_and_then_the_rate(operation, number, last):
    times = await passes(RateLimiter(), operation, number=number)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(last, abs=0.001)


async def test_reads_share_one_allowance():
    limiter = RateLimiter()
    await passes(limiter, "describe_tasks", number=50)
    times = await passes(limiter, "list_tasks", number=60)
    assert times[-1] == pytest.approx(1, abs=0.001)


async def test_stops_never_wait_behind_launches():
    limiter = RateLimiter()
    async with anyio.create_task_group() as tasks:
        for _ in range(500):
            tasks.start_soon(limiter.acquire, "run_task")
        await anyio.sleep(1)
        stops = await passes(limiter, "stop_task", number=70)
        assert stops[-1] == 0
        tasks.cancel_scope.cancel()


async def test_a_wait_over_the_limit_is_refused_before_a_token_is_taken():
    limiter = RateLimiter()
    await passes(limiter, "run_task", number=98)
    before = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(limiter.acquire, "run_task")
        await anyio.lowlevel.checkpoint()
        with pytest.raises(ThrottledError, match="not sent"):
            await limiter.acquire("run_task", max_wait=2.0)
        assert anyio.current_time() == before
        await limiter.acquire("run_task", max_wait=4.0)
    assert anyio.current_time() - before == pytest.approx(51 / 20, abs=0.01)


async def test_a_throttle_is_a_pause_for_all_who_share():
    limiter = RateLimiter()
    limiter.record_throttling("describe_tasks")
    times = await passes(limiter, "list_tasks", number=21)
    assert times[0] == pytest.approx(THROTTLE_PAUSE + 1 / 20, abs=0.001)
    assert times[-1] == pytest.approx(THROTTLE_PAUSE + 21 / 20, abs=0.001)
    assert (await passes(limiter, "stop_task", number=1))[0] == 0


async def test_a_cancelled_waiter_takes_no_token_and_delays_no_other():
    limiter = RateLimiter()
    limiter.record_throttling("run_task")
    with anyio.move_on_after(0.5):
        await limiter.acquire("run_task")
    times = await passes(limiter, "run_task", number=1)
    assert times[0] == pytest.approx(THROTTLE_PAUSE - 0.5 + 1 / 20, abs=0.001)


@given(
    burst=st.integers(2, 50),
    per_second=st.floats(0.1, 100),
    arrivals=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_never_more_than_the_rate_and_never_idle(burst, per_second, arrivals):
    async def check():
        bucket = TokenBucket(burst=burst, per_second=per_second)
        times = []

        async def take(at):
            await anyio.sleep(at)
            await bucket.acquire()
            times.append(anyio.current_time())

        await bucket.acquire()  # the bucket's clock starts
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for at in arrivals:
                tasks.start_soon(take, at)
        for number, time in enumerate(times, start=2):
            assert number <= burst + per_second * (time - began) + 0.001
        slowest = max(arrivals) + (len(arrivals) + 1) / per_second
        assert times[-1] - began <= slowest + 0.001

    anyio.run(check, backend_options={"loop_factory": VirtualClockLoop})
