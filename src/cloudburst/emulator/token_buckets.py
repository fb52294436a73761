"""Token buckets that throttle API calls and launches of tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from cloudburst.emulator.config import Bucket


class TokenBuckets:
    """Token buckets that limit the rates of API calls and of launches."""

    def __init__(
        self, buckets: Iterable[Bucket], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        now = clock()
        self._levels = {bucket.name: (bucket.burst, now) for bucket in buckets}
        self._buckets = {bucket.name: bucket for bucket in buckets}

    def allows(self, operation: str) -> bool:
        """Take a token from each bucket of an operation, or none if one bucket is empty."""
        buckets = [one for one in self._buckets.values() if operation in one.operations]
        enough = all(self._level(bucket) >= 1 for bucket in buckets)
        return enough and all(self.try_take(bucket.name) for bucket in buckets)

    def try_take(self, name: str, amount: float = 1.0) -> bool:
        """Take tokens if a bucket has enough; one that is not configured has no limit."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return True
        level = self._level(bucket)
        enough = level >= amount
        self._levels[name] = (level - amount if enough else level, self._levels[name][1])
        return enough

    def _level(self, bucket: Bucket) -> float:
        level, at = self._levels[bucket.name]
        now = self._clock()
        level = min(bucket.burst, level + (now - at) * bucket.per_second)
        self._levels[bucket.name] = (level, now)
        return level
