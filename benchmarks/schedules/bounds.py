"""Lower bound of the wall time of a run, for a scheduler that knows everything in advance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_ROUNDING = 1e-9
"""Relative error of sums of seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundWorker:
    """Worker that takes part in a bound; it is launched when the run begins."""

    startup: float
    """Seconds from its launch until it is ready."""
    slots: int
    """Number of encoder slots."""
    transfer: float
    """Seconds of one upload or download."""
    slowness: float = 1.0
    """Seconds that an encode takes here, for each second of its usual time."""
    shared_from: float = math.inf
    """Shortest encode that idle slots share, in seconds of its usual time; infinite: none."""

    def shortest(self, encode: float) -> float:
        """Return the shortest time in which this worker encodes one scene, in seconds."""
        return self.slowness * encode / (self.slots if encode >= self.shared_from else 1)


def wall_bound(encodes: Sequence[float], workers: Sequence[BoundWorker]) -> float:
    """Return the seconds that no schedule on these workers can fall below.

    All slots are busy from the first upload to the last download, and the longest scene starts at
    once on the best worker. If all scenes take equally long and none is shared, a slot encodes
    whole scenes only.

    Args:
        encodes: Usual encode time of each scene, in seconds.
        workers: Workers of the run.
    """
    longest, total = max(encodes), sum(encodes)
    shared_from = min(worker.shared_from for worker in workers)
    whole = longest < shared_from and math.isclose(longest, min(encodes))

    def encoded_by(end: float) -> float:
        """Return the sum of the usual encode times of what can be encoded until then."""
        done = 0.0
        for worker in workers:
            busy = max(0.0, end - worker.startup - 2 * worker.transfer) / worker.slowness
            done += worker.slots * (
                math.floor(busy / longest + _ROUNDING) * longest if whole else busy
            )
        return done

    first = min(
        worker.startup + max(map(worker.shortest, encodes)) + 2 * worker.transfer
        for worker in workers
    )
    return max(first, _smallest(lambda end: encoded_by(end) >= total * (1 - _ROUNDING)))


def _smallest(fits: Callable[[float], bool]) -> float:
    """Return the smallest number that fits, if all larger numbers fit too."""
    low, high = 0.0, 1.0
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
