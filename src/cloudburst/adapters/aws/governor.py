"""How often AWS may be asked. Pure arithmetic on anyio's clock, and one function that waits."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from cloudburst.errors import ThrottledError

PAUSE = 1.0
"""Seconds for which nothing is asked after AWS has said that it was too much: others in the same
account and region draw on the same allowance."""
MARGIN = 0.9
"""Part of a burst that is used: calls that leave one after another arrive in bunches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """An allowance that calls share."""

    name: str
    burst: float
    """Calls at once."""
    per_second: float
    """Calls that come back each second."""


RUN_AND_STOP = Rate(name="RunTask and StopTask", burst=100, per_second=40)
READS = Rate(name="DescribeTasks and ListTasks", burst=100, per_second=20)
DEFINITIONS = Rate(name="RegisterTaskDefinition", burst=20, per_second=1)
TAG_WRITES = Rate(name="TagResource", burst=20, per_second=10)
TAG_READS = Rate(name="ListTagsForResource", burst=50, per_second=20)
"""The rates above: "Request throttling for the Amazon ECS API", Amazon ECS API reference
(2026-11). The rate of launches: "AWS Fargate throttling quotas", Amazon ECS developer guide
(2026-11), where tasks on demand and Spot count apart."""
LAUNCHES = {
    provider: Rate(name=f"launches on {provider}", burst=100, per_second=20)
    for provider in ("FARGATE", "FARGATE_SPOT")
}

LEFT_BY_LAUNCHES = 40.0
"""Calls of `RUN_AND_STOP` that launches leave, so that a stop never waits behind them."""

_ECS: Mapping[str, Rate] = {
    "describe_tasks": READS,
    "list_tasks": READS,
    "list_tags_for_resource": TAG_READS,
    "register_task_definition": DEFINITIONS,
    "run_task": RUN_AND_STOP,
    "stop_task": RUN_AND_STOP,
    "tag_resource": TAG_WRITES,
    "untag_resource": TAG_WRITES,
}


class Bucket:
    """A token bucket. Who waits with the same reserve is served in turn."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._most = max(1.0, MARGIN * rate.burst)
        self._level = self._most
        self._at: float | None = None
        self._turns = defaultdict[float, anyio.Lock](anyio.Lock)
        self._waiting = defaultdict[float, int](int)

    async def take(self, *, leave: float = 0.0) -> None:
        """Wait until there is a token beyond ``leave`` others, and take it."""
        self._waiting[leave] += 1
        try:
            async with self._turns[leave]:
                while (wait := self._wait(1 + leave)) > 0:  # noqa: ASYNC110 - time is all it needs
                    await anyio.sleep(wait)
                self._level -= 1
        finally:
            self._waiting[leave] -= 1

    def queue(self, *, leave: float = 0.0) -> float:
        """Seconds that a token would have to be waited for, behind all who wait for one now."""
        return self._wait(1 + leave + self._waiting[leave])

    def throttled(self) -> None:
        """AWS has said that it was too much."""
        self._refill()
        self._level = min(self._level, -PAUSE * self._rate.per_second)

    def _wait(self, wanted: float) -> float:
        self._refill()
        missing = wanted - self._level
        # By a millionth floats may be off, and no clock could tell the time that it takes.
        return missing / self._rate.per_second if missing > 1e-6 else 0.0

    def _refill(self) -> None:
        now = anyio.current_time()
        if self._at is not None:
            back = (now - self._at) * self._rate.per_second
            self._level = min(self._most, self._level + back)
        self._at = now


class Governor:
    """All allowances of one account and region, as far as one process can know."""

    def __init__(self) -> None:
        self._buckets: dict[Rate, Bucket] = {}

    async def admit(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        patience: float = math.inf,
    ) -> None:
        """Wait until AWS should have room for a call.

        Raises `ThrottledError` at once when that would take longer than ``patience`` seconds.
        """
        buckets = tuple(self._of(service, operation, parameters))
        wait = max((bucket.queue(leave=leave) for bucket, leave in buckets), default=0.0)
        if wait > patience:
            raise ThrottledError(f"{operation}: not asked, for others wait {wait:.0f} s already")
        for bucket, leave in buckets:
            await bucket.take(leave=leave)

    def throttled(self, service: str, operation: str, parameters: Mapping[str, Any]) -> None:
        """AWS had none."""
        for bucket, _ in self._of(service, operation, parameters):
            bucket.throttled()

    def _of(
        self, service: str, operation: str, parameters: Mapping[str, Any]
    ) -> Iterable[tuple[Bucket, float]]:
        """The buckets of a call, and what it leaves in each."""
        if service != "ecs":
            return
        launches = operation == "run_task"
        if launches and (rate := LAUNCHES.get(_provider(parameters))):
            yield self._bucket(rate), 0.0
        if rate := _ECS.get(operation):
            yield self._bucket(rate), LEFT_BY_LAUNCHES if launches else 0.0

    def _bucket(self, rate: Rate) -> Bucket:
        return self._buckets.setdefault(rate, Bucket(rate))


def _provider(parameters: Mapping[str, Any]) -> str:
    match parameters:
        case {"capacityProviderStrategy": [{"capacityProvider": str(provider)}, *_]}:
            return provider
        case _:
            return str(parameters.get("launchType", ""))
