"""Uplink of this machine: the order in which files are sent to workers, and the measured speed."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

import anyio

from cloudburst.ports.renderer import Sending

# Smallest number of files that are sent at once: the second one uses the line while the first one
# waits for an answer.
MIN_FILES = 2
# Largest number of files that are sent at once. Each of them needs about 1 MB of memory.
MAX_FILES = 32
# Factor by which the rate must be higher for twice as many files to be worth it. If all files
# share a full line, the factor is 1 and some percent of noise. If each connection has a rate of
# its own, it is 2 until the line is nearly full.
MIN_GAIN = 1.2
# Factor by which the rate may be lower if fewer files are kept: more than the noise, and less
# than the gain for which more files were kept.
MAX_LOSS = 1.15
# Bytes for each file at once that a measurement takes, at least: one block.
MEASURED_BYTES = 256 * 1024
# Seconds that a measurement takes, at least, before and while more files are tried: the others
# start late until then, or those that are needed first arrive late.
MEASURED_SECONDS = 0.05
# Seconds that any other measurement takes, at least, so that short fluctuations start no trial,
# and the connections that are left have time to become faster if fewer files are tried.
WATCHED_SECONDS = 1.0
# Measurements after which other numbers of files are tried, although the rate has not changed.
MEASUREMENTS_PER_TRIAL = 30
# The same after more files were faster: connections may only have been slow in their first
# seconds.
MEASUREMENTS_PER_CHECK = 5


class UploadConcurrency:
    """Number of files that are sent at once, found by hill climbing.

    Up to twice as many files are tried, and kept if the rate of all rises; half as many are kept if
    it does not fall. If connections share a line, this leads to few files, which arrive early; if
    each has a rate of its own, to as many as fill the line.
    """

    def __init__(self) -> None:
        self.limit = MIN_FILES
        """Number of files that may be sent at once."""
        self._rate = 0.0  # of the number that is kept
        self._has_changed = False  # whether the last measurement was different
        self._kept: int | None = None  # number before the present trial
        self._try_more, self._try_fewer = True, False
        self._next_trial = self._left = MEASUREMENTS_PER_TRIAL  # measurements until then
        self._enough = False
        self._paused = False  # whether files were paused, whose bytes in buffers are still sent
        self._unchanged_since = self._began = -math.inf
        self._bytes = self._seconds = 0.0

    @property
    def fills_line(self) -> bool:
        """True if more files at once were not faster, and fewer are not being tried."""
        return self._enough and (self._kept is None or self._kept < self.limit)

    def restart(self, now: float) -> None:
        """Begin a new measurement, because not all places were used until now."""
        self._unchanged_since = now
        self._begin(now)

    def add(self, size: int, *, since: float, now: float, sent: int, files: int) -> None:
        """Add bytes of a file that have arrived now; this may change the limit."""
        # The rate of all files is computed from the mean rate of each, because the bytes of
        # several files may arrive in bursts.
        if since < self._unchanged_since:
            return
        self._bytes += size
        self._seconds += (now - since) / sent
        more = self._more(files) if self._kept is None else self.limit > self._kept
        least = MEASURED_SECONDS if more else WATCHED_SECONDS
        if (
            now - self._began < least
            or self._bytes < self.limit * MEASURED_BYTES
            or not self._seconds  # everything arrived within the resolution of the clock
        ):
            return
        rate = self._bytes / self._seconds
        self._begin(now)
        if self._paused:
            self._paused = False
            return
        if self._kept is None:
            if more:
                self._rate = rate
            else:
                self._watch(rate)
        elif not self._is_better(rate, self._kept):
            self._change(self._kept, now)
            self._kept = None
            return
        self._try_next(files, now)

    def _begin(self, now: float) -> None:
        self._began, self._bytes, self._seconds = now, 0.0, 0.0

    def _watch(self, rate: float) -> None:
        """Plan trials if the rate has changed twice in a row, or if there was none for long."""
        # If the rate falls, more files are not tried: paused files that send a block slow the
        # others.
        self._left -= 1
        regular = self._left <= 0
        lower, higher = rate < self._rate / MIN_GAIN, rate > self._rate * MIN_GAIN
        if not regular and (higher or lower):
            if self.limit == MIN_FILES and lower:
                return
            if not self._has_changed:
                self._has_changed = True
                return
        self._try_more |= higher or regular
        self._try_fewer |= lower or regular
        self._rate, self._has_changed = rate, False

    def _is_better(self, rate: float, kept: int) -> bool:
        more = self.limit > kept
        change = MIN_GAIN ** math.log2(self.limit / kept) if more else 1 / MAX_LOSS
        if rate < self._rate * change:
            self._enough = self._enough or more
            return False
        self._enough = not more
        self._try_more, self._try_fewer = more, not more
        self._next_trial = MEASUREMENTS_PER_CHECK if more else MEASUREMENTS_PER_TRIAL
        self._rate, self._kept, self._left = rate, None, self._next_trial
        return True

    def _try_next(self, files: int, now: float) -> None:
        if self._try_fewer and self.limit > MIN_FILES:
            self._try_fewer, limit = False, max(self.limit // 2, MIN_FILES)
            self._next_trial = MEASUREMENTS_PER_TRIAL
        elif limit := self._more(files):
            self._try_more = False
        else:
            return
        self._kept, self._left = self.limit, self._next_trial
        self._change(limit, now)

    def _more(self, files: int) -> int:
        limit = min(2 * self.limit, files, MAX_FILES)
        return limit if self._try_more and limit > self.limit else 0

    def _change(self, limit: int, now: float) -> None:
        self._paused = limit < self.limit
        self.limit, self._unchanged_since = limit, now


# Bytes of a file that are assumed to be in buffers: what the system accepts ahead
# (`cloudburst.net.session`), and what is on its way. They have not arrived when they
# are passed to the system.
BUFFER_BYTES = 256 * 1024
# Bytes of further files that are always sent at once. A slow line of 2 Mbit/s takes a second.
MIN_WINDOW_BYTES = 256 * 1024
# Seconds in which the line sends the further files that are sent at once, at its measured speed.
# This is several round trips, so that many small files fill a fast line.
WINDOW_SECONDS = 1.0
# Seconds after which a paused file sends a block. Render services, and proxies, drop a request if
# nothing arrives for 60 s.
MAX_PAUSE = 45.0
# Seconds in addition to the expected time after which a file no longer counts as being sent.
STALL_SECONDS = 10.0
# Bytes that are sent until a file makes progress: a block, and what is in buffers before it.
STALL_BYTES = 2 * BUFFER_BYTES
# Multiple of the expected time of these bytes after which a file counts as stalled: other
# programs share the line.
STALL_FACTOR = 2.0
# Lowest speed that is assumed for that time: a worker that answers late makes the line look
# slower than it is, and stalled files must not keep their places because of it.
MIN_BYTES_PER_SECOND = 32_000.0
# Seconds between two checks for stalled files while other files wait.
STALL_CHECK_SECONDS = 2.0
# Seconds for which the line must have been full before its speed is known. In less time, buffers
# count too much.
MIN_FULL_SECONDS = 2.0
# Seconds of sending after which a measurement has half the weight of a new one.
HALF_LIFE_SECONDS = 20.0


@dataclass(eq=False, slots=True)
class _File:
    """File that waits for a place on the line, or has one: the `Sending` of its sender."""

    uplink: Uplink
    waiting: Callable[[], AbstractContextManager[None]]
    size: int
    left: int
    """Bytes that have not arrived, as far as is known."""
    rank: tuple[float, int]
    """Time at which the file is needed, and a number that no other file has."""
    measured_since: float = -math.inf
    """Time at which its last bytes arrived, or at which it was started."""
    stalls_at: float = math.inf
    admitted: anyio.Event = field(default_factory=anyio.Event)
    queued: bool = False
    over: bool = False

    async def wait(self, sent: int) -> None:
        """Note the progress of the file, and wait as long as it is paused."""
        if not self.uplink.may_send(self, sent):
            with self.waiting(), anyio.move_on_after(MAX_PAUSE):
                await self.admitted.wait()

    def arrived(self) -> None:
        """Note that the worker has received the whole file."""
        self.uplink.note_arrival(self)


class Uplink:
    """Line from this machine to all workers, on which only a few files are sent at once.

    If all were sent at once, they would share the line, and all encodes would begin late.

    The files that are needed first are sent first; if fewer may be sent, the last ones are paused.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[tuple[float, int], _File]] = []  # a heap
        self._order = count()
        self._sending: set[_File] = set()
        self._bytes_sending = 0
        self._has_waiting = anyio.Event()
        self._concurrency = UploadConcurrency()
        self._speed = LineSpeed()  # by whole files, so that bytes in buffers never count
        self._arrivals = LineSpeed()  # by blocks
        self._full_speed = LineSpeed()  # only while the line is full
        self._places_used = False  # True if as many files are sent as may be sent at once
        self._was_full = False  # True if the line was full since the last bytes arrived

    def measured_speed(self, *, known: float) -> float | None:
        """Return the speed of the line in bytes per second; ``None`` if it was not measured."""
        # A line that always had room may be faster than its files: its speed counts only if it is
        # higher than the known one. The line is full if files wait although more at once are not
        # faster.
        speed = self._arrivals.mean or 0.0
        if self._full_speed.seconds >= MIN_FULL_SECONDS:
            return max(speed, self._full_speed.mean or 0.0) or None
        return speed if speed > known else None

    @asynccontextmanager
    async def place(
        self,
        size: int,
        *,
        needed_at: float,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> AsyncGenerator[Sending]:
        """Wait until the line has a place for a file, which is sent in the ``with`` block."""
        file = _File(self, waiting, size, size, (needed_at, next(self._order)))
        try:
            with waiting():
                self._queue(file)
                await file.admitted.wait()
            yield file
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
                    self._was_full = self._places_used = False  # it has used a place for nothing
                self._admit()

    def may_send(self, file: _File, sent: int) -> bool:
        """Note bytes that were passed to the system; return whether the file keeps its place."""
        self._add(file, max(0, file.size - max(0, sent - BUFFER_BYTES)))
        if file in self._sending:
            if self._keeps_place(file):
                file.stalls_at = self._stall_time(file)
                return True
            self._release(file)
        if not file.queued:
            file.admitted = anyio.Event()
            self._queue(file)
        return file.admitted.is_set()

    def note_arrival(self, file: _File) -> None:
        """Note that a worker has received a whole file."""
        self._speed.add(file.size)
        self._add(file, 0)

    def _add(self, file: _File, left: int) -> None:
        size, now = file.left - left, anyio.current_time()
        if size <= 0:  # possibly an upload that began again
            return
        fills_buffers = file.left == file.size
        file.left = left
        self._arrivals.add(size)
        if file in self._sending:
            self._bytes_sending -= size
        sent = len(self._sending)
        if self._places_used and file in self._sending and not (fills_buffers and left):
            files = sent + len(self._waiting)
            self._concurrency.add(size, since=file.measured_since, now=now, sent=sent, files=files)
        file.measured_since = now
        if self._was_full:
            self._full_speed.add(size)
        else:
            self._full_speed.begin(now)
        self._admit()
        self._was_full = bool(self._waiting) and self._concurrency.fills_line

    def _queue(self, file: _File) -> None:
        heappush(self._waiting, (file.rank, file))
        file.queued = True
        self._admit()
        if file.queued:
            self._has_waiting.set()

    def _release(self, file: _File) -> None:
        if file in self._sending:
            self._sending.remove(file)
            self._bytes_sending -= file.left

    def _admit(self) -> None:
        """Give places to the files that are needed first, as long as there is room."""
        while self._waiting:
            file = self._waiting[0][-1]
            if not file.over:
                if not self._has_room(len(self._sending), self._bytes_sending + file.left):
                    break
                self._start(file)
            heappop(self._waiting)
            file.queued = False
        used = len(self._sending) >= self._concurrency.limit
        if used and not self._places_used:
            self._concurrency.restart(anyio.current_time())
        self._places_used = used
        if not self._waiting:
            self._was_full = False

    def _has_room(self, files: int, size: int) -> bool:
        window = max(MIN_WINDOW_BYTES, WINDOW_SECONDS * (self._speed.mean or 0.0))
        return files < self._concurrency.limit or size <= window

    def _keeps_place(self, file: _File) -> bool:
        if self._has_room(len(self._sending) - 1, self._bytes_sending):
            return True
        before = [each for each in self._sending if each.rank < file.rank]
        return self._has_room(len(before), file.left + sum(each.left for each in before))

    def _start(self, file: _File) -> None:
        if not self._sending:
            self._speed.begin(anyio.current_time())
            self._arrivals.begin(anyio.current_time())
            self._was_full = False
        # The first bytes of a file that was paused have been in buffers.
        file.measured_since = anyio.current_time() if file.left == file.size else -math.inf
        self._sending.add(file)
        self._bytes_sending += file.left
        file.stalls_at = self._stall_time(file)
        file.admitted.set()

    def _stall_time(self, file: _File) -> float:
        speed = max(self._speed.mean or 0.0, MIN_BYTES_PER_SECOND) / self._concurrency.limit
        expected = min(file.size, STALL_BYTES) / speed
        return anyio.current_time() + STALL_SECONDS + STALL_FACTOR * expected


class LineSpeed:
    """Speed of a line while files are sent. Newer measurements have more weight."""

    def __init__(self) -> None:
        self._measured_until = 0.0
        self._bytes = self.seconds = 0.0

    def begin(self, now: float) -> None:
        """Note that the line is used from now on, after it was not used."""
        self._measured_until = now

    def add(self, size: int) -> None:
        """Add bytes that have arrived now."""
        now = anyio.current_time()
        passed = now - self._measured_until
        self._measured_until = now
        weight = 0.5 ** (passed / HALF_LIFE_SECONDS)
        self.seconds = self.seconds * weight + passed
        self._bytes = self._bytes * weight + size

    @property
    def mean(self) -> float | None:
        """Bytes per second, also if the line had room for more; ``None`` before the first bytes."""
        return self._bytes / self.seconds if self.seconds else None
