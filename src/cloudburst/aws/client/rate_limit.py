"""Rate limiter for AWS's APIs: calls wait on this machine, so that AWS seldom throttles them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import anyio

from cloudburst.errors import ThrottledError

THROTTLE_PAUSE = 1.0
"""Seconds for which calls under a rate limit are paused after AWS has throttled one of them: other
clients in the same account and region use up the same limit."""
# Share of AWS's burst limit that this client uses. The rest is a margin, because calls that are
# sent one after another may arrive at AWS together.
USED_BURST = 0.9


class TokenBucket:
    """Token bucket that enforces one rate limit: each call takes a token.

    Calls are served in the order of their arrival.
    """

    def __init__(self, *, burst: float, per_second: float) -> None:
        self._per_second = per_second
        self._capacity = max(1.0, USED_BURST * burst)
        self._tokens = self._capacity
        self._refilled_at: float | None = None
        self._turn = anyio.Lock()
        self._waiting = 0

    async def acquire(self) -> None:
        """Wait until the bucket has a token, and take it."""
        self._waiting += 1
        try:
            async with self._turn:
                while (wait := self._seconds_until(1)) > 0:  # noqa: ASYNC110 - only time helps
                    await anyio.sleep(wait)
                self._tokens -= 1
        finally:
            self._waiting -= 1

    def queue_seconds(self) -> float:
        """Return the seconds that a new call would wait for a token behind all waiting calls."""
        return self._seconds_until(1 + self._waiting)

    def empty(self) -> None:
        """Allow no call for `THROTTLE_PAUSE` seconds, because AWS has throttled a call."""
        self._refill()
        self._tokens = min(self._tokens, -THROTTLE_PAUSE * self._per_second)

    def _seconds_until(self, tokens: float) -> float:
        self._refill()
        missing = tokens - self._tokens
        # Floats may be off by a millionth, which is too short for any clock to measure.
        return missing / self._per_second if missing > 1e-6 else 0.0

    def _refill(self) -> None:
        now = anyio.current_time()
        if self._refilled_at is not None:
            added = (now - self._refilled_at) * self._per_second
            self._tokens = min(self._capacity, self._tokens + added)
        self._refilled_at = now


class RateLimiter:
    """Rate limiter for the calls of this process in one account and region.

    Calls of other processes count against the same limits of AWS, but are unknown here. Only calls
    for each task, and those with the lowest limit, are limited. The limits of AWS are from "Request
    throttling for the Amazon ECS API", Amazon ECS API reference (2026-11).
    """

    def __init__(self) -> None:
        reads = TokenBucket(burst=100, per_second=20)
        run_and_stop = TokenBucket(burst=100, per_second=40)
        # RunTask for both capacity providers together: "AWS Fargate throttling quotas", Amazon ECS
        # developer guide (2026-11). The same page also limits launched tasks, to a burst of 100 and
        # then 20 a second for each provider. Each of our calls starts one task, so calls within the
        # first limit are within the second too. Launches never use up `run_and_stop`, which would
        # delay stops, because they are limited to half of its rate before.
        launches = TokenBucket(burst=20, per_second=20)
        self._buckets: Mapping[str, tuple[TokenBucket, ...]] = {
            "describe_tasks": (reads,),
            "list_tasks": (reads,),
            "register_task_definition": (TokenBucket(burst=20, per_second=1),),
            "run_task": (launches, run_and_stop),
            "stop_task": (run_and_stop,),
        }

    async def acquire(self, operation: str, *, max_wait: float = math.inf) -> None:
        """Wait until a call is within AWS's rate limits.

        Raises:
            ThrottledError: The call would have to wait longer than ``max_wait`` seconds. This error
                is raised at once.
        """
        buckets = self._buckets.get(operation, ())
        wait = max((bucket.queue_seconds() for bucket in buckets), default=0.0)
        if wait > max_wait:
            raise ThrottledError(
                f"{operation}: not sent, because other calls already wait {wait:.0f} s"
            )
        for bucket in buckets:
            await bucket.acquire()

    def record_throttling(self, operation: str) -> None:
        """Pause calls that share a limit with a call that AWS throttled."""
        for bucket in self._buckets.get(operation, ()):
            bucket.empty()


def capacity_of(parameters: Mapping[str, Any]) -> str:
    """Return the capacity provider or launch type of a RunTask; empty for other operations."""
    match parameters:
        case {"capacityProviderStrategy": [{"capacityProvider": str(provider)}, *_]}:
            return provider
        case _:
            return str(parameters.get("launchType", ""))
