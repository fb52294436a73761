"""Placement of tasks: subnets, capacity provider and size, with fallbacks after failures.

A lack of capacity or memory and Spot interruptions change the placement of the next launches. A
launch whose execution role ECS cannot assume is retried for a while, because IAM takes some
seconds, at most about a minute, to make a new role known everywhere. The same is true of the
permissions of a role, until a first task has started.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import anyio

from cloudburst.aws.fargate.task_description import TaskDescription
from cloudburst.errors import (
    CapacityError,
    CloudburstError,
    ConfigurationError,
    LaunchError,
    Remedy,
)
from cloudburst.models.failures.api_errors import ROLE_NOT_READY_AT_LAUNCH
from cloudburst.models.failures.failure import Failure
from cloudburst.models.failures.stops import (
    ROLE_NOT_READY_AT_START,
    SPOT_INTERRUPTION,
    START_NOT_PERMITTED,
)
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskId, TaskState
from cloudburst.models.tier import Tier
from cloudburst.text import short_task

logger = logging.getLogger(__name__)

FALLBACKS = ("subnet", "on-demand", "size")
"""Values of ``Settings.fallbacks``, in the order in which the fallbacks are used."""
# Seconds after a change of placement until the preferred placement, usually the cheapest, is used
# again: AWS's own advice is to retry after 20 minutes
# (https://repost.aws/knowledge-center/eks-resolve-pending-fargate-pods, 2026-11).
FALLBACK_SECONDS = 1200.0
SPOT_INTERRUPTION_THRESHOLD = 2
"""Number of Spot interruptions within `FALLBACK_SECONDS` after which tasks are requested on demand.
A single interruption is usual; a second one means that Spot capacity is short."""
CAPACITY_PROVIDERS = ("FARGATE", "FARGATE_SPOT")
"""Capacity providers of Fargate, on demand and Spot."""

# Sizes of memory in GB that Fargate offers for each number of vCPU: "Task CPU and memory", ECS
# developer guide (2026-11).
MEMORY_GB_BY_VCPU: Mapping[int, tuple[int, ...]] = {
    1: tuple(range(2, 9)),
    2: tuple(range(4, 17)),
    4: tuple(range(8, 31)),
    8: tuple(range(16, 61, 4)),
    16: tuple(range(32, 121, 8)),
}

UsdPerSecond = Callable[[str, int, int], Decimal]
"""Function that returns the price of a task in USD per second, by capacity provider, vCPU and GB of
memory."""
# Seconds for which launches are retried after the first refusal of an execution role. Most new
# roles can be assumed after some seconds, few after a minute:
# https://github.com/DataDog/stratus-red-team/issues/358 (2026-11).
ROLE_TIMEOUT = 60.0
# Seconds without a refusal after which the next one counts as the first again: more than a task
# takes to be stopped because of its role. Otherwise a wrong role would be tried without end.
FORGET_REFUSALS_AFTER = 600.0
_ROLE_REFUSED = (
    f"the execution role could not be assumed for {ROLE_TIMEOUT:.0f} s: it does not exist, or does "
    "not trust ecs-tasks.amazonaws.com"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Placement of one task. The size may be larger than that of the task's tier."""

    option: int
    """Index of the placement option from which this placement was made."""
    subnets: tuple[str, ...]
    provider: str | None
    """Capacity provider; ``None`` to use the launch type FARGATE instead."""
    vcpu: int
    memory_gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementOption:
    """A placement option: subnets, capacity provider and size."""

    description: str
    """Description for log messages, in which it follows "the next tasks are requested"."""
    subnets: tuple[str, ...]
    on_demand: bool = False
    """True if the tasks are on demand although the settings ask for Spot."""
    size_steps: int = 0
    """Number of sizes by which the task is larger than its tier; 0 for the size of the tier."""


class PlacementPolicy:
    """Policy that chooses among the placement options that the settings allow.

    After a change to another option, the preferred option is used again after `FALLBACK_SECONDS`.
    """

    def __init__(
        self,
        settings: Settings,
        tier: Tier,
        usd_per_second: UsdPerSecond,
    ) -> None:
        if unknown := [name for name in settings.fallbacks if name not in FALLBACKS]:
            msg = f"fallbacks has {unknown[0]!r}; expected some of {', '.join(FALLBACKS)}"
            raise ConfigurationError(msg)
        self._tier = tier
        self._capacity = settings.capacity
        self._usd_per_second = usd_per_second
        self._options = tuple(_options(settings, tier))
        self._current = 0
        self._return_at = 0.0
        self._warned_at = dict[int, float]()
        self._interruptions = dict[TaskId, float]()

    @property
    def max_usd_per_second(self) -> Decimal:
        """Price of the most expensive task that an option requests, in USD per second."""
        return max(map(self._usd_of, self._options))

    @property
    def sizes(self) -> frozenset[tuple[float, float]]:
        """Sizes with which tasks may be requested, each as vCPU and GB of memory."""
        return frozenset(_size(self._tier, option.size_steps) for option in self._options)

    def next_placement(self, tier: Tier) -> Placement:
        """Return the placement of the next task of a tier."""
        if self._current and anyio.current_time() >= self._return_at:
            logger.info("the next tasks are requested with the preferred placement again")
            self._current = 0
        option = self._options[self._current]
        vcpu, memory_gb = _size(tier, option.size_steps)
        return Placement(
            option=self._current,
            subnets=option.subnets,
            provider=None if option.on_demand or self._capacity == "FARGATE" else self._capacity,
            vcpu=vcpu,
            memory_gb=memory_gb,
        )

    def report_no_capacity(self, option: int, reason: str) -> None:
        """Change to the next option, unless another option is already in use.

        The first option follows the last one, because it may have capacity again.
        """
        if option == self._current and len(self._options) > 1:
            self._use((option + 1) % len(self._options), reason)

    def report_out_of_memory(self, option: int, reason: str) -> None:
        """Change to an option with a larger size, unless the size has already been changed."""
        steps = self._options[option].size_steps
        if self._options[self._current].size_steps == steps:
            self._use_first(lambda other: other.size_steps > steps, reason)

    def report_spot_interruption(self, task: TaskId) -> None:
        """Count a Spot interruption; at `SPOT_INTERRUPTION_THRESHOLD`, change to on-demand tasks.

        Repeated reports about one task count once. Nothing changes if no option is on demand.
        """
        if task in self._interruptions:
            return
        now = anyio.current_time()
        recent = {t: at for t, at in self._interruptions.items() if at > now - FALLBACK_SECONDS}
        self._interruptions = recent | {task: now}
        count = len(self._interruptions)
        if count >= SPOT_INTERRUPTION_THRESHOLD and not self._options[self._current].on_demand:
            self._use_first(lambda other: other.on_demand, f"Spot interrupted {count} tasks")

    def _use_first(self, accepts: Callable[[PlacementOption], bool], reason: str) -> None:
        for index, option in enumerate(self._options):
            if accepts(option):
                self._use(index, reason)
                return

    def _use(self, index: int, reason: str) -> None:
        before, after = self._options[self._current], self._options[index]
        now = anyio.current_time()
        self._current, self._return_at = index, now + FALLBACK_SECONDS
        recently = self._warned_at.get(index, -FALLBACK_SECONDS) > now - FALLBACK_SECONDS
        if not index or recently:
            logger.debug("%s; the next tasks are requested %s", reason, after.description)
            return
        self._warned_at[index] = now
        usd, usd_before = self._usd_of(after) * 3600, self._usd_of(before) * 3600
        cost = (
            "at the same price"
            if usd == usd_before
            else f"for ${usd:.4f} an hour instead of ${usd_before:.4f}"
        )
        logger.warning("%s; the next tasks are requested %s, %s", reason, after.description, cost)

    def _usd_of(self, option: PlacementOption) -> Decimal:
        capacity = "FARGATE" if option.on_demand else self._capacity
        return self._usd_per_second(capacity, *_size(self._tier, option.size_steps))


def _options(settings: Settings, tier: Tier) -> Iterator[PlacementOption]:
    subnets, allowed = settings.subnets, settings.fallbacks
    yield PlacementOption(description="with the preferred placement", subnets=subnets)
    if "subnet" in allowed and len(subnets) > 1:
        for subnet in subnets:
            yield PlacementOption(description=f"in {subnet} only", subnets=(subnet,))
    leaves_spot = "on-demand" in allowed and settings.capacity == "FARGATE_SPOT"
    if leaves_spot:
        description = "on demand instead of Spot"
        yield PlacementOption(description=description, subnets=subnets, on_demand=True)
    if "size" in allowed:
        for step in range(1, len(_sizes(tier))):
            vcpu, memory_gb = _size(tier, step)
            yield PlacementOption(
                description=f"with {vcpu} vCPU and {memory_gb} GB",
                subnets=subnets,
                on_demand=leaves_spot,
                size_steps=step,
            )


def _size(tier: Tier, steps: int) -> tuple[int, int]:
    """Return vCPU and GB of memory of a task that is ``steps`` sizes larger than its tier."""
    sizes = _sizes(tier)
    return sizes[min(steps, len(sizes) - 1)]


def _sizes(tier: Tier) -> list[tuple[int, int]]:
    # The first larger size has only more memory, which is the cheapest increase.
    sizes = [(tier.vcpu, tier.memory_gb)]
    if more := [gb for gb in MEMORY_GB_BY_VCPU[tier.vcpu] if gb > tier.memory_gb]:
        sizes.append((tier.vcpu, more[0]))
    if larger := [vcpu for vcpu in MEMORY_GB_BY_VCPU if vcpu > tier.vcpu]:
        vcpu = min(larger)
        sizes.append((vcpu, min(gb for gb in MEMORY_GB_BY_VCPU[vcpu] if gb >= tier.memory_gb)))
    return sizes


class RolePropagation:
    """Time limit for refusals of an execution role that may be too new to be known everywhere."""

    def __init__(self) -> None:
        self._first_refusal_at: float | None = None
        self._last_refusal_at = 0.0

    def succeed(self) -> None:
        """Forget earlier refusals, because ECS has assumed the role."""
        self._first_refusal_at = None

    def error_of(self, refusal: CapacityError) -> LaunchError:
        """Return the error to raise for a refused launch: a final error after the time limit.

        Refusals that are not about the role are returned unchanged.
        """
        # The only lack of capacity that the same request may overcome is that of a new role.
        if refusal.remedy is not Remedy.REPEAT_REQUEST or not self.record_refusal():
            return refusal
        return LaunchError(f"{refusal} ({_ROLE_REFUSED}: {ROLE_NOT_READY_AT_LAUNCH.action})")

    def failure_of(self, failure: Failure) -> Failure:
        """Return the failure row of a stopped task: a final failure after the time limit.

        Failures that are not about the role are returned unchanged.
        """
        if failure is not ROLE_NOT_READY_AT_START or not self.record_refusal():
            return failure
        return replace(failure, remedy=Remedy.FIX_SETUP, meaning=_ROLE_REFUSED)

    def record_refusal(self) -> bool:
        """Record a refusal at this moment, and return whether it is beyond the time limit."""
        now = anyio.current_time()
        # After a long time without a refusal, the role may have been created again.
        if self._first_refusal_at is None or now - self._last_refusal_at >= FORGET_REFUSALS_AFTER:
            self._first_refusal_at = now
        self._last_refusal_at = now
        return now - self._first_refusal_at >= ROLE_TIMEOUT


class LaunchFailures:
    """Reactions of one backend to failed launches and stopped tasks."""

    def __init__(self, policy: PlacementPolicy) -> None:
        self._policy = policy
        self._options: dict[TaskId, int] = {}
        self._role = RolePropagation()
        self._permissions = RolePropagation()
        self._any_started = False
        """True if the role of a task had all permissions to start the task."""

    def record_launch(self, task: TaskId, placement: Placement) -> None:
        """Remember with which placement option a task was started."""
        self._options[task] = placement.option

    def after_refusal(self, refusal: CloudburstError, placement: Placement) -> CloudburstError:
        """Adapt the placement of the next launch to a refusal, and return the error to raise."""
        if not isinstance(refusal, CapacityError):
            return refusal
        if refusal.remedy is Remedy.OTHER_SUBNET:
            self._policy.report_no_capacity(placement.option, str(refusal))
        return self._role.error_of(refusal)

    def after_description(self, task: TaskId, description: TaskDescription) -> Failure | None:
        """Adapt the next launch's placement to a task's stop, and return the failure row.

        The result is ``None`` before the stop begins.
        """
        failure = description.failure
        if failure is not None:
            self._change_placement(task, failure, description.state)
            if failure is START_NOT_PERMITTED:
                final = self._any_started or self._permissions.record_refusal()
                return failure if final else replace(failure, remedy=Remedy.REPEAT_REQUEST)
        elif description.state is TaskState.RUNNING:
            self._any_started = True
        if description.pull_started_at is not None and failure is not ROLE_NOT_READY_AT_START:
            self._role.succeed()
        return None if failure is None else self._role.failure_of(failure)

    def _change_placement(self, task: TaskId, failure: Failure, state: TaskState) -> None:
        reason = f"task {short_task(task)}: {failure.meaning}"
        option = self._options.pop(task, None) if state is TaskState.STOPPED else None
        if failure is SPOT_INTERRUPTION:
            self._policy.report_spot_interruption(task)
        elif option is None:
            return
        elif failure.remedy is Remedy.OTHER_SUBNET:
            self._policy.report_no_capacity(option, reason)
        elif failure.remedy is Remedy.OTHER_SIZE:
            self._policy.report_out_of_memory(option, reason)
