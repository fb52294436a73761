"""Uplink of this machine: the order in which files are sent to workers, and the measured speed."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count

import anyio

from cloudburst.ports import OnSent

MAX_LARGE_FILES = 2
"""Number of files of any size that are sent at once. One connection fills most lines, and the
second one uses the line while the first waits for an answer. With more, all files arrive late."""
MIN_WINDOW_BYTES = 256 * 1024
"""Bytes of further files that are always sent at once. A slow line of 2 Mbit/s takes a second."""
WINDOW_SECONDS = 1.0
"""Seconds in which the line sends the further files that are sent at once, at its measured speed.
This is several round trips, so that many small files fill a fast line."""
STALL_SECONDS = 10.0
"""Seconds in addition to the expected time after which a file no longer counts as being sent."""
STALL_FACTOR = 4.0
"""Multiple of the time that a file takes alone after which it counts as stalled: other files, and
other programs, share the line."""
MIN_BYTES_PER_SECOND = 32_000.0
"""Lowest speed that is assumed for that time: a worker that answers late makes the line look slower
than it is, and stalled files must not keep their places because of it."""
STALL_CHECK_SECONDS = 2.0
"""Seconds between two checks for stalled files while other files wait."""
MIN_FULL_SECONDS = 2.0
"""Seconds for which files must have waited for the line before its speed is known. In less time,
files that were sent partly before, and buffers, count too much."""
HALF_LIFE_SECONDS = 20.0
"""Seconds of sending after which a measurement has half the weight of a new one."""


class _File:
    def __init__(self, size: int) -> None:
        self.size = size
        self.stalls_at = math.inf
        self.admitted = anyio.Event()
        self.over = False


class Uplink:
    """Line from this machine to all workers, on which only a few files are sent at once.

    The files that are needed first are sent first. If all were sent at once, they would share the
    line, and all encodes would begin late.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, _File]] = []  # a heap
        self._order = count()
        self._sending: set[_File] = set()
        self._bytes_sending = 0
        self._has_waiting = anyio.Event()
        self._speed = LineSpeed()
        self._full_speed = LineSpeed()  # only while files wait
        self._was_full = False  # True if files have waited since the last file arrived

    def measured_speed(self, *, known: float) -> float | None:
        """Return the speed of the line in bytes per second; ``None`` if it was not measured.

        A line that always had room may be faster than the files that were sent over it. Its speed
        counts only if it is higher than the known one.

        Args:
            known: Speed that was measured earlier, in bytes per second; infinite if there is none.
        """
        speed = self._speed.mean or 0.0
        if self._full_speed.seconds >= MIN_FULL_SECONDS:
            return max(speed, self._full_speed.mean or 0.0) or None
        return speed if speed > known else None

    @asynccontextmanager
    async def place(self, size: int, *, needed_at: float) -> AsyncGenerator[OnSent]:
        """Wait until the line has a place for a file, which is sent in the ``with`` block.

        Yields a function to be called with the number of bytes that have arrived.

        Args:
            size: Size of the file, in bytes.
            needed_at: Time on anyio's clock at which the file is needed. Of the files that wait,
                the one that is needed first is sent first.
        """
        file = _File(size)
        heappush(self._waiting, (needed_at, next(self._order), file))
        self._admit()
        if not file.admitted.is_set():
            self._has_waiting.set()
        try:
            await file.admitted.wait()
            yield self._note_sent
        finally:
            file.over = True
            self._release(file)
            self._admit()

    async def watch(self) -> None:
        """Take the places of stalled files away, until the task is cancelled."""
        while True:
            await self._has_waiting.wait()
            self._has_waiting = anyio.Event()
            while self._waiting:
                await anyio.sleep(STALL_CHECK_SECONDS)
                now = anyio.current_time()
                for file in [each for each in self._sending if each.stalls_at <= now]:
                    self._release(file)
                self._admit()

    def _note_sent(self, size: int) -> None:
        self._speed.add(size)
        if self._was_full:
            self._full_speed.add(size)
        else:
            self._full_speed.begin(anyio.current_time())
        self._was_full = bool(self._waiting)

    def _release(self, file: _File) -> None:
        if file in self._sending:
            self._sending.remove(file)
            self._bytes_sending -= file.size

    def _admit(self) -> None:
        """Give places to the files that are needed first, as long as there is room."""
        while self._waiting:
            file = self._waiting[0][-1]
            if not file.over:
                if not self._has_room(file.size):
                    return
                self._start(file)
            heappop(self._waiting)

    def _has_room(self, size: int) -> bool:
        if len(self._sending) < MAX_LARGE_FILES:
            return True
        window = max(MIN_WINDOW_BYTES, WINDOW_SECONDS * (self._speed.mean or 0.0))
        return self._bytes_sending + size <= window

    def _start(self, file: _File) -> None:
        now = anyio.current_time()
        if not self._sending:
            self._speed.begin(now)
            self._was_full = False  # nothing was sent, or the files have stalled at their workers
        speed = max(self._speed.mean or 0.0, MIN_BYTES_PER_SECOND)
        file.stalls_at = now + STALL_SECONDS + STALL_FACTOR * file.size / speed
        self._sending.add(file)
        self._bytes_sending += file.size
        file.admitted.set()


class LineSpeed:
    """Speed of a line while files are sent. Newer measurements have more weight."""

    def __init__(self) -> None:
        self._measured_until = 0.0
        self._bytes = self._seconds = 0.0

    def begin(self, now: float) -> None:
        """Note that the line is used from now on, after it was not used."""
        self._measured_until = now

    def add(self, size: int) -> None:
        """Add a file of ``size`` bytes that has arrived now."""
        now = anyio.current_time()
        passed = now - self._measured_until
        self._measured_until = now
        weight = 0.5 ** (passed / HALF_LIFE_SECONDS)
        self._seconds = self._seconds * weight + passed
        self._bytes = self._bytes * weight + size

    @property
    def seconds(self) -> float:
        """Seconds of the measurement. Older ones have less weight."""
        return self._seconds

    @property
    def mean(self) -> float | None:
        """Bytes per second, also if the line had room for more; ``None`` before the first file."""
        return self._bytes / self._seconds if self._seconds else None
