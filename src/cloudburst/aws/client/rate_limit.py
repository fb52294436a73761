"""Rate limiter for AWS's APIs: calls wait on this machine, so that AWS seldom throttles them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from cloudburst.errors import ThrottledError

THROTTLE_PAUSE = 1.0
"""Seconds for which calls under a rate limit are paused after AWS has throttled one of them: other
clients in the same account and region use up the same limit."""
USED_BURST = 0.9
"""Share of AWS's burst limit that this client uses. The rest is a margin, because calls that are
sent one after another may arrive at AWS together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Rate limit of AWS for one or more operations of an API."""

    name: str
    burst: float
    """Maximum number of calls at once, after a time without calls."""
    per_second: float
    """Number of calls per second that are possible after a burst."""


RUN_AND_STOP = RateLimit(name="RunTask and StopTask", burst=100, per_second=40)
READS = RateLimit(name="DescribeTasks and ListTasks", burst=100, per_second=20)
DEFINITIONS = RateLimit(name="RegisterTaskDefinition", burst=20, per_second=1)
TAG_WRITES = RateLimit(name="TagResource", burst=20, per_second=10)
TAG_READS = RateLimit(name="ListTagsForResource", burst=50, per_second=20)
"""Rate limit of ListTagsForResource. The source of this rate limit and of those above is "Request
throttling for the Amazon ECS API", Amazon ECS API reference (2026-11)."""
FARGATE_LAUNCHES = RateLimit(name="RunTask on Fargate", burst=20, per_second=20)
"""Rate limit of RunTask for both capacity providers together: "AWS Fargate throttling quotas",
Amazon ECS developer guide (2026-11). The same page also limits launched tasks, to a burst of 100
and then 20 a second for each provider. Each of our calls starts one task, so calls within the first
limit are within the second too."""

RESERVED_FOR_STOPS = 40.0
"""Number of calls within the limit `RUN_AND_STOP` that launches leave unused, so that stops never
wait for launches."""

_ECS_LIMITS: Mapping[str, RateLimit] = {
    "describe_tasks": READS,
    "list_tasks": READS,
    "list_tags_for_resource": TAG_READS,
    "register_task_definition": DEFINITIONS,
    "run_task": RUN_AND_STOP,
    "stop_task": RUN_AND_STOP,
    "tag_resource": TAG_WRITES,
    "untag_resource": TAG_WRITES,
}


class TokenBucket:
    """Token bucket that enforces one rate limit: each call takes a token.

    A call may require that a reserve of tokens is left for other calls. Calls with the same reserve
    are served in the order of their arrival.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._capacity = max(1.0, USED_BURST * limit.burst)
        self._tokens = self._capacity
        self._refilled_at: float | None = None
        self._turns = defaultdict[float, anyio.Lock](anyio.Lock)
        self._waiting = defaultdict[float, int](int)

    async def acquire(self, *, reserve: float = 0.0) -> None:
        """Wait until the bucket has a token in addition to ``reserve`` tokens, and take it."""
        self._waiting[reserve] += 1
        try:
            async with self._turns[reserve]:
                while (wait := self._seconds_until(1 + reserve)) > 0:  # noqa: ASYNC110 - only time helps
                    await anyio.sleep(wait)
                self._tokens -= 1
        finally:
            self._waiting[reserve] -= 1

    def queue_seconds(self, *, reserve: float = 0.0) -> float:
        """Return the seconds that a new call would wait for a token behind all waiting calls."""
        return self._seconds_until(1 + reserve + self._waiting[reserve])

    def empty(self) -> None:
        """Allow no call for `THROTTLE_PAUSE` seconds, because AWS has throttled a call."""
        self._refill()
        self._tokens = min(self._tokens, -THROTTLE_PAUSE * self._limit.per_second)

    def _seconds_until(self, tokens: float) -> float:
        self._refill()
        missing = tokens - self._tokens
        # Floats may be off by a millionth, which is too short for any clock to measure.
        return missing / self._limit.per_second if missing > 1e-6 else 0.0

    def _refill(self) -> None:
        now = anyio.current_time()
        if self._refilled_at is not None:
            added = (now - self._refilled_at) * self._limit.per_second
            self._tokens = min(self._capacity, self._tokens + added)
        self._refilled_at = now


class RateLimiter:
    """Rate limiter for the calls of this process in one account and region.

    Calls of other processes count against the same limits of AWS, but are unknown here.
    """

    def __init__(self) -> None:
        self._buckets: dict[RateLimit, TokenBucket] = {}

    async def acquire(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        max_wait: float = math.inf,
    ) -> None:
        """Wait until a call is within AWS's rate limits.

        Raises:
            ThrottledError: The call would have to wait longer than ``max_wait`` seconds. This error
                is raised at once.
        """
        buckets = tuple(self._buckets_of(service, operation, parameters))
        wait = max((bucket.queue_seconds(reserve=left) for bucket, left in buckets), default=0.0)
        if wait > max_wait:
            raise ThrottledError(
                f"{operation}: not sent, because other calls already wait {wait:.0f} s"
            )
        for bucket, left in buckets:
            await bucket.acquire(reserve=left)

    def record_throttling(
        self, service: str, operation: str, parameters: Mapping[str, Any]
    ) -> None:
        """Pause calls that share a limit with a call that AWS throttled."""
        for bucket, _ in self._buckets_of(service, operation, parameters):
            bucket.empty()

    def _buckets_of(
        self, service: str, operation: str, parameters: Mapping[str, Any]
    ) -> Iterable[tuple[TokenBucket, float]]:
        """Yield the token buckets of a call, each with the number of tokens to leave in it."""
        if service != "ecs":
            return
        launches = operation == "run_task"
        if launches and capacity_of(parameters).startswith("FARGATE"):
            yield self._bucket(FARGATE_LAUNCHES), 0.0
        if limit := _ECS_LIMITS.get(operation):
            yield self._bucket(limit), RESERVED_FOR_STOPS if launches else 0.0

    def _bucket(self, limit: RateLimit) -> TokenBucket:
        return self._buckets.setdefault(limit, TokenBucket(limit))


def capacity_of(parameters: Mapping[str, Any]) -> str:
    """Return the capacity provider or launch type of a RunTask; empty for other operations."""
    match parameters:
        case {"capacityProviderStrategy": [{"capacityProvider": str(provider)}, *_]}:
            return provider
        case _:
            return str(parameters.get("launchType", ""))
