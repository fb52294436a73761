"""Lines from a client to its workers, in virtual time."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager

import anyio

from cloudburst.engine.uplink import Uplink

SLOW = 250_000
"""Bytes per second of a line of 2 Mbit/s."""
PACKET = 25_000
BLOCK = 256 * 1024
"""Bytes that are passed to the system at once."""
BUFFERED = 128 * 1024
"""Bytes that the system accepts before they are sent."""


class Line:
    """A line with a rate that all connections share fairly, one for each, and a round trip."""

    def __init__(self, rate, round_trip=0.15, *, connection_rate=math.inf, packet=PACKET):
        self.rate, self.round_trip, self.connection_rate = rate, round_trip, connection_rate
        self.packet = packet
        self._lock = anyio.Lock()

    async def send(self, size, sending):
        """Send a file, of which some bytes wait in buffers after they were passed to the system."""
        await anyio.sleep(self.round_trip)
        passed, arrived, changed = 0, 0, anyio.Event()

        async def pass_blocks():
            nonlocal passed, changed
            while passed < size:
                await sending.wait(passed)
                passed = min(size, passed + BLOCK)
                changed.set()
                while passed < size and passed - arrived > BUFFERED:
                    changed = anyio.Event()
                    await changed.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pass_blocks)
            while arrived < size:
                if arrived == passed:
                    changed = anyio.Event()
                    await changed.wait()
                packet, began = min(self.packet, passed - arrived), anyio.current_time()
                async with self._lock:
                    await anyio.sleep(packet / self.rate)
                await anyio.sleep_until(began + packet / self.connection_rate)
                arrived += packet
                changed.set()


@asynccontextmanager
async def open_uplink():
    uplink = Uplink()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uplink.watch)
        yield uplink
        tasks.cancel_scope.cancel()


async def send_all(uplink, line, files, started=None):
    """Send files of these names, sizes and times of need; return when each of them has arrived.

    The times at which they are started are added to ``started``.
    """
    began, arrived = anyio.current_time(), {}

    async def send(name, size, needed_in):
        async with uplink.place(size, needed_at=began + needed_in) as sending:
            if started is not None:
                started[name] = anyio.current_time()
            await line.send(size, sending)
            sending.arrived()
        arrived[name] = anyio.current_time() - began

    async with anyio.create_task_group() as tasks:
        for file in files:
            tasks.start_soon(send, *file)
            await anyio.lowlevel.checkpoint()
    return arrived
