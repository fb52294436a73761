"""How many files are sent at once, on lines of several kinds, in virtual time."""

from __future__ import annotations

import math

import anyio
import pytest

from cloudburst.engine.uplink import MAX_FILES, MAX_PAUSE, MIN_FILES, Uplink
from support.lines import SLOW, Line, open_uplink, send_all

pytestmark = pytest.mark.anyio

MB = 1_000_000


class CountingLine(Line):
    """A line that knows how many files are sent over it."""

    files = peak = 0

    async def send(self, size, sending):
        self.files += 1
        self.peak = max(self.peak, self.files)
        await super().send(size, sending)
        self.files -= 1


def files(number, size):
    return [(f"s{each}", size, each) for each in range(number)]


async def test_files_fill_a_line_on_which_each_connection_has_a_rate():
    line, limits = CountingLine(10 * MB, connection_rate=MB, packet=100_000), []

    async def look():
        await anyio.sleep(10)
        limits.append(uplink._concurrency.limit)

    async with open_uplink() as uplink, anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        arrived = await send_all(uplink, line, files(40, 5 * MB))
        assert limits == [16], "more bring nothing"
        assert max(arrived.values()) < 1.35 * 40 * 5 / 10, "two at once would take 100 s"
        assert uplink.measured_speed(known=math.inf) == pytest.approx(10 * MB, rel=0.2)


async def test_the_limit_of_connections_is_not_taken_for_the_speed_of_the_line():
    line = CountingLine(1000 * MB, connection_rate=MB, packet=100_000)
    async with open_uplink() as uplink, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, uplink, line, files(MAX_FILES + 8, 20 * MB))
        await anyio.sleep(7)
        assert line.files == MAX_FILES
        await anyio.sleep(10)
        assert uplink._waiting
        assert uplink.measured_speed(known=math.inf) is None
        tasks.cancel_scope.cancel()


async def test_bytes_from_before_the_places_were_used_do_not_count():
    uplink = Uplink()
    async with uplink.place(600_000, needed_at=0) as first:
        await anyio.sleep(10)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_all, uplink, Line(SLOW), files(4, MB))
            await anyio.sleep(0.1)
            first.arrived()
            assert uplink._concurrency.limit == MIN_FILES
            tasks.cancel_scope.cancel()


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [500_000, 20 * MB])
async def test_the_first_files_are_not_late_on_a_line_that_all_share(size):
    line = CountingLine(SLOW)
    async with open_uplink() as uplink:
        arrived = await send_all(uplink, line, files(12, size))
        assert arrived["s0"] < 2.4 * size / SLOW + 4
        assert max(arrived.values()) < 12 * size / SLOW + 3, "the line is never unused"
        order = sorted(arrived, key=arrived.__getitem__)
        assert set(order[:2]) == {"s0", "s1"}
        assert uplink.measured_speed(known=math.inf) == pytest.approx(SLOW, rel=0.2)
        assert uplink._concurrency.limit == MIN_FILES


async def test_fewer_files_are_sent_when_all_share_the_line():
    line = CountingLine(10 * MB, connection_rate=MB, packet=100_000)
    async with open_uplink() as uplink, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, uplink, line, files(100, 20 * MB))
        await anyio.sleep(20)
        assert uplink._concurrency.limit >= 8
        line.rate = MB  # and the limit of each connection is no longer reached
        await anyio.sleep(40)
        assert uplink._concurrency.limit == MIN_FILES
        assert len(uplink._sending) == MIN_FILES
        tasks.cancel_scope.cancel()


async def test_more_files_are_sent_when_the_line_becomes_faster_than_a_connection():
    line = CountingLine(MB, connection_rate=MB, packet=100_000)
    async with open_uplink() as uplink, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, uplink, line, files(100, 20 * MB))
        await anyio.sleep(20)
        assert uplink._concurrency.limit == MIN_FILES
        line.rate = 100 * MB
        await anyio.sleep(20)
        assert uplink._concurrency.limit >= 16
        tasks.cancel_scope.cancel()


async def test_connections_that_are_slow_at_first_do_not_keep_more_files_at_once():
    line = CountingLine(5 * MB, connection_rate=1.5 * MB, packet=50_000)
    async with open_uplink() as uplink, anyio.create_task_group() as tasks:
        tasks.start_soon(send_all, uplink, line, files(100, 20 * MB))
        await anyio.sleep(3)
        assert uplink._concurrency.limit == 2 * MIN_FILES
        line.connection_rate = math.inf
        await anyio.sleep(12)
        assert uplink._concurrency.limit == MIN_FILES
        tasks.cancel_scope.cancel()


async def test_a_paused_file_sends_a_block_before_its_request_is_dropped():
    uplink, waits = Uplink(), []
    async with uplink.place(20 * MB, needed_at=0), uplink.place(20 * MB, needed_at=0):
        uplink._concurrency.limit = 3
        async with uplink.place(20 * MB, needed_at=9) as last:
            uplink._concurrency.limit = 2
            for block in range(3):
                began = anyio.current_time()
                await last.wait(block * MB)
                waits.append(anyio.current_time() - began)
        assert waits == pytest.approx([MAX_PAUSE] * 3)


async def test_a_paused_file_goes_on_when_another_one_has_arrived():
    uplink = Uplink()
    async with uplink.place(20 * MB, needed_at=0), anyio.create_task_group() as tasks:
        uplink._concurrency.limit = 3

        async def arrive():
            async with uplink.place(20 * MB, needed_at=0) as sending:
                await anyio.sleep(5)
                sending.arrived()

        tasks.start_soon(arrive)
        await anyio.sleep(1)
        async with uplink.place(20 * MB, needed_at=9) as last:
            uplink._concurrency.limit = 2
            began = anyio.current_time()
            for block in range(3):
                await last.wait(block * MB)
            assert anyio.current_time() == pytest.approx(began + 4)
