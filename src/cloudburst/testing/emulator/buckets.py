"""Throttling with token buckets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from cloudburst.testing.emulator.config import Bucket


class Throttle:
    """Counts calls against the buckets that they share."""

    def __init__(
        self, buckets: Iterable[Bucket], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        now = clock()
        self._levels = {bucket.name: (bucket.burst, now) for bucket in buckets}
        self._buckets = {bucket.name: bucket for bucket in buckets}
        self._of = {name: bucket for bucket in buckets for name in bucket.operations}

    def allows(self, operation: str) -> bool:
        """Whether a call may pass; it is counted if so."""
        bucket = self._of.get(operation)
        return bucket is None or self.takes(bucket.name)

    def takes(self, name: str, amount: float = 1.0) -> bool:
        """Whether a bucket has so much left; it is taken if so. An unknown one has everything."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return True
        level, at = self._levels[name]
        now = self._clock()
        level = min(bucket.burst, level + (now - at) * bucket.per_second)
        enough = level >= amount
        self._levels[name] = (level - amount if enough else level, now)
        return enough
