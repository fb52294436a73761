"""Number of files that are sent over the uplink at once, adapted to the measured rate."""

from __future__ import annotations

import math

MIN_FILES = 2
"""Smallest number of files that are sent at once: the second one uses the line while the first one
waits for an answer."""
MAX_FILES = 32
"""Largest number of files that are sent at once. Each of them needs about 1 MB of memory."""
MIN_GAIN = 1.2
"""Factor by which the rate must be higher for twice as many files to be worth it. If all files
share a full line, the factor is 1 and some percent of noise. If each connection has a rate of its
own, it is 2 until the line is nearly full."""
MAX_LOSS = 1.15
"""Factor by which the rate may be lower if fewer files are kept: more than the noise, and less than
the gain for which more files were kept."""
MEASURED_BYTES = 256 * 1024
"""Bytes for each file at once that a measurement takes, at least: one block."""
MEASURED_SECONDS = 0.05
"""Seconds that a measurement takes, at least, before and while more files are tried: the others
start late until then, or those that are needed first arrive late."""
WATCHED_SECONDS = 1.0
"""Seconds that any other measurement takes, at least, so that short fluctuations start no trial,
and the connections that are left have time to become faster if fewer files are tried."""
MEASUREMENTS_PER_TRIAL = 30
"""Measurements after which other numbers of files are tried, although the rate has not changed."""
MEASUREMENTS_PER_CHECK = 5
"""The same after more files were faster: connections may only have been slow in their first
seconds."""


class UploadConcurrency:
    """Number of files that are sent at once, found by hill climbing.

    Up to twice as many files are tried, and kept if the rate of all together rises; half as many
    are kept if it does not fall. On a line that all connections share, this leads to few files,
    which arrive early. If each connection has a rate of its own, it leads to as many as fill the
    line.
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
        """Add bytes of a file that have arrived now; this may change the limit.

        The rate of all files is computed from the mean rate of each, because the bytes of several
        files may arrive in bursts.

        Args:
            size: Number of bytes.
            since: Time at which earlier bytes of the file arrived, or at which it was started.
            now: Present time.
            sent: Number of files that are sent at once.
            files: Number of files that are sent or wait.
        """
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
        """Plan trials if the rate has changed twice in a row, or if there was none for long.

        If the rate falls, more files are not tried: paused files that send a block slow down the
        others for a moment.
        """
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
        """Return whether the number of files of a trial is to be kept."""
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
        """Start a trial if one is planned and possible."""
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
        """Return the larger number of files that is to be tried; 0 if there is none."""
        limit = min(2 * self.limit, files, MAX_FILES)
        return limit if self._try_more and limit > self.limit else 0

    def _change(self, limit: int, now: float) -> None:
        self._paused = limit < self.limit
        self.limit, self._unchanged_since = limit, now
