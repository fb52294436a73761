"""Where the next task is asked for when there was no room for the last one: rung by rung."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import anyio

from cloudburst.adapters.aws.runtask import Place, Providers
from cloudburst.errors import ConfigurationError
from cloudburst.models.settings import Settings
from cloudburst.models.task import TaskId
from cloudburst.models.tier import Tier

logger = logging.getLogger(__name__)

KINDS = ("subnet", "on-demand", "size")
"""Words of the setting, in the order in which they are climbed."""
DOWN = 1200.0
"""Seconds after a climb until the first rung is tried again, which is mostly the cheapest: AWS's
own advice is to ask again after 20 minutes
(https://repost.aws/knowledge-center/eks-resolve-pending-fargate-pods, 2026-11)."""
TAKEN = 2
"""Spot tasks that are taken back within `DOWN` seconds before Spot is left: one of them is Spot's
daily life, and a second one means that capacity is short."""

GB: Mapping[int, tuple[int, ...]] = {
    1: tuple(range(2, 9)),
    2: tuple(range(4, 17)),
    4: tuple(range(8, 31)),
    8: tuple(range(16, 61, 4)),
    16: tuple(range(32, 121, 8)),
}
"""Memory that Fargate has for each vCPU: "Task CPU and memory", ECS developer guide (2026-11)."""

Price = Callable[[str, int, int], Decimal]
"""USD for a second of a task by its provider, vCPU and GB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One way to ask."""

    told: str
    """In words."""
    subnets: tuple[str, ...]
    on_demand: bool = False
    """Whatever the settings' capacity says."""
    larger: int = 0
    """Steps up in size."""


class Ladder:
    """The rungs that the settings allow, and on which of them we are."""

    def __init__(self, settings: Settings, tier: Tier, providers: Providers, price: Price) -> None:
        if unknown := [kind for kind in settings.ladder if kind not in KINDS]:
            msg = f"ladder has {unknown[0]!r}; expected some of {', '.join(KINDS)}"
            raise ConfigurationError(msg)
        self._tier = tier
        self._providers = providers
        self._price = price
        self._rungs = tuple(_rungs(settings, tier, providers))
        self._at = 0
        self._until = 0.0
        self._told = dict[int, float]()
        self._taken = dict[TaskId, float]()

    @property
    def most_usd_per_second(self) -> Decimal:
        """Of the dearest task that any rung asks for."""
        return max(map(self._usd, self._rungs))

    def place(self, tier: Tier) -> Place:
        """How to ask for the next task."""
        if self._at and anyio.current_time() >= self._until:
            logger.info("looking for room as at first again")
            self._at = 0
        rung = self._rungs[self._at]
        vcpu, memory_gb = _size(tier, rung.larger)
        return Place(
            rung=self._at,
            subnets=rung.subnets,
            provider=None if rung.on_demand else self._providers.next(),
            vcpu=vcpu,
            memory_gb=memory_gb,
        )

    def lacked(self, rung: int, why: str) -> None:
        """There was no room for a task that was asked for on this rung.

        Others may have found that out before; then the next rung is climbed already. After the
        last one comes the first: room comes back anywhere.
        """
        if rung == self._at and len(self._rungs) > 1:
            self._climb((rung + 1) % len(self._rungs), why)

    def too_small(self, rung: int, why: str) -> None:
        """A task that was asked for on this rung ended for want of memory."""
        larger = self._rungs[rung].larger
        if self._rungs[self._at].larger == larger:
            self._climb_to(lambda other: other.larger > larger, why)

    def taken(self, task: TaskId) -> None:
        """Spot takes a task back; more than once in a while, and Spot is left."""
        now = anyio.current_time()
        if task in self._taken:
            return
        self._taken = {t: at for t, at in self._taken.items() if at > now - DOWN} | {task: now}
        if len(self._taken) >= TAKEN and not self._rungs[self._at].on_demand:
            why = f"Spot took {len(self._taken)} tasks back"
            self._climb_to(lambda other: other.on_demand, why)

    def _climb_to(self, fits: Callable[[Rung], bool], why: str) -> None:
        for number, rung in enumerate(self._rungs):
            if fits(rung):
                self._climb(number, why)
                return

    def _climb(self, to: int, why: str) -> None:
        before, after = self._rungs[self._at], self._rungs[to]
        now = anyio.current_time()
        self._at, self._until = to, now + DOWN
        if not to or self._told.get(to, -DOWN) > now - DOWN:
            logger.debug("%s: %s", why, after.told)
            return
        self._told[to] = now
        usd, less = self._usd(after) * 3600, self._usd(before) * 3600
        difference = "at the same price" if usd == less else f"${usd:.4f} an hour, not ${less:.4f}"
        logger.warning("%s; the next tasks are asked for %s, %s", why, after.told, difference)

    def _usd(self, rung: Rung) -> Decimal:
        providers = ("FARGATE",) if rung.on_demand else tuple(self._providers.weights)
        vcpu, memory_gb = _size(self._tier, rung.larger)
        return max(self._price(provider, vcpu, memory_gb) for provider in providers)


def _rungs(settings: Settings, tier: Tier, providers: Providers) -> Iterator[Rung]:
    subnets, allowed = settings.subnets, settings.ladder
    yield Rung(told="as at first", subnets=subnets)
    if "subnet" in allowed and len(subnets) > 1:
        for subnet in subnets:
            yield Rung(told=f"in {subnet} alone", subnets=(subnet,))
    leaves_spot = "on-demand" in allowed and "FARGATE_SPOT" in providers.weights
    if leaves_spot:
        yield Rung(told="on demand in place of Spot", subnets=subnets, on_demand=True)
    if "size" in allowed:
        for step in range(1, len(_sizes(tier))):
            vcpu, memory_gb = _size(tier, step)
            told = f"with {vcpu} vCPU and {memory_gb} GB"
            yield Rung(told=told, subnets=subnets, on_demand=leaves_spot, larger=step)


def _size(tier: Tier, larger: int) -> tuple[int, int]:
    sizes = _sizes(tier)
    return sizes[min(larger, len(sizes) - 1)]


def _sizes(tier: Tier) -> list[tuple[int, int]]:
    """The tier's own; the next one in memory, which costs least; and the next one in vCPU."""
    sizes = [(tier.vcpu, tier.memory_gb)]
    if more := [gb for gb in GB[tier.vcpu] if gb > tier.memory_gb]:
        sizes.append((tier.vcpu, more[0]))
    if larger := [vcpu for vcpu in GB if vcpu > tier.vcpu]:
        vcpu = min(larger)
        sizes.append((vcpu, min(gb for gb in GB[vcpu] if gb >= tier.memory_gb)))
    return sizes
