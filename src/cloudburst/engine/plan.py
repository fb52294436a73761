"""What a run would take and cost, with these workers or with others. Pure.

A bill is foreseen as the ledger will count it: a task's from the start of its image pull until it
has stopped, a minute at least. Workers without a price are used for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from cloudburst.engine.forecast import Place
from cloudburst.engine.ledger import MINIMUM_SECONDS
from cloudburst.engine.outlook import Load, loaded
from cloudburst.engine.worth import sooner, unused
from cloudburst.models.pace import Pace
from cloudburst.models.report import Prediction
from cloudburst.models.tier import Tier

_EXACT = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Workers of one kind, of which there may be some."""

    backend: str
    """``local``, ``fargate``…"""
    tier: Tier | None = None
    """Their size, where there are sizes."""
    pace: Pace
    encoders: int
    """Scenes that one of them encodes at once."""
    most: int
    """So many there may be."""
    usd_per_second: Decimal = Decimal()
    """Of one; 0: nothing is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Workers of one kind that do work."""

    offer: Offer
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who works, and what that comes to."""

    crews: tuple[Crew, ...]
    """Those without a price first."""
    seconds: float
    """From the begin of the run until the last video is there."""
    usd: Decimal
    """What is to be expected."""
    usd_low: Decimal
    """When all goes well."""
    usd_high: Decimal
    """When all is slow."""

    @property
    def paid(self) -> Crew | None:
        """Those that cost something."""
        return next((crew for crew in self.crews if crew.offer.usd_per_second), None)

    @property
    def tasks(self) -> int:
        """How many of those there are."""
        return self.paid.number if self.paid else 0

    @property
    def prediction(self) -> Prediction:
        """The same for a report."""
        return Prediction(seconds=self.seconds, usd_low=self.usd_low, usd_high=self.usd_high)

    def fits(self, *, deadline: float | None, budget: Decimal | None) -> bool:
        """Whether it is expected to be done in time, and will not pass the budget if it is slow."""
        in_time = deadline is None or self.seconds <= deadline
        return in_time and (budget is None or self.usd_high <= budget)

    def better(self, other: Plan) -> bool:
        """Neither dearer nor slower, and one of both less."""
        mine, theirs = (self.usd, self.seconds), (other.usd, other.seconds)
        return mine != theirs and mine[0] <= theirs[0] and mine[1] <= theirs[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """Everything that can be done."""

    every: tuple[Plan, ...]
    """One at least."""

    @property
    def frontier(self) -> tuple[Plan, ...]:
        """The cheapest first: each further one is dearer, and faster."""
        best: list[Plan] = []
        for plan in sorted(self.every, key=lambda plan: (plan.usd, plan.seconds, plan.tasks)):
            if not best or plan.seconds < best[-1].seconds:
                best.append(plan)
        return tuple(best)

    def cheapest(self, *, deadline: float, budget: Decimal | None = None) -> Plan | None:
        """Of those that are done in time, within the budget if there is one."""
        return next((p for p in self._by_price() if p.fits(deadline=deadline, budget=budget)), None)

    def fastest(self, *, budget: Decimal | None = None) -> Plan | None:
        """Of those within the budget; the cheaper of two that are equally fast."""
        fitting = [plan for plan in self._by_price() if plan.fits(deadline=None, budget=budget)]
        return min(fitting, key=lambda plan: plan.seconds, default=None)

    def nearest(self, *, deadline: float | None, budget: Decimal | None) -> Plan:
        """Where none fits: the fastest one that the budget allows, else the cheapest of all."""
        in_budget = self.fastest(budget=budget)
        if in_budget is not None and deadline is not None:
            return in_budget
        return min(self.every, key=lambda plan: (plan.usd_high, plan.seconds))

    def _by_price(self) -> list[Plan]:
        return sorted(self.every, key=lambda plan: (plan.usd, plan.seconds, plan.tasks))


def plans(works: Iterable[float], offers: Iterable[Offer]) -> Plans:
    """Every number of tasks of every size, with all that costs nothing and without it.

    Args:
        works: Seconds of work of each scene: see `cloudburst.engine.figures.work`.
        offers: One at least.
    """
    load, offers = loaded(works), tuple(offers)
    free = tuple(_free(offers, load.scenes))
    found = [_foreseen(load, free)] if free else []
    for offer in offers:
        if not offer.usd_per_second:
            continue
        for others in dict.fromkeys([(), free]):
            found += _growing(load, others, offer)
    return Plans(every=tuple(found))


def _free(offers: Iterable[Offer], scenes: int) -> Iterator[Crew]:
    for offer in offers:
        if not offer.usd_per_second:
            yield Crew(offer=offer, number=_useful(offer, scenes))


def _growing(load: Load, others: tuple[Crew, ...], offer: Offer) -> Iterator[Plan]:
    """More and more tasks, until one more would find nothing to do, or too little to be faster."""
    last: Plan | None = None
    for number in range(1, _useful(offer, load.scenes) + 1):
        plan = _foreseen(load, (*others, Crew(offer=offer, number=number)))
        if plan.tasks < number:
            return
        if last is None or plan.seconds < last.seconds:
            last = plan
            yield plan


def _useful(offer: Offer, scenes: int) -> int:
    return max(1, min(offer.most, -(-scenes // offer.encoders)))


def usual(
    works: Iterable[float], offers: Iterable[Offer], *, most: int, deadline: float | None = None
) -> Plan:
    """What a run comes to by itself: who costs nothing, and as many tasks as are worth it.

    As `cloudburst.engine.worth` has it when a run begins. Tasks are those of the first offer with a
    price, ``most`` of them at most.
    """
    load, offers = loaded(works), tuple(offers)
    free = tuple(_free(offers, load.scenes))
    paid = next((offer for offer in offers if offer.usd_per_second), None)
    if paid is None:
        return _foreseen(load, free)
    most = min(most, _useful(paid, load.scenes))
    least = 0 if free else 1  # the first of all is always worth it
    low, high = least, most
    while low < high:  # the more there are, the less another one is worth
        number = (low + high + 1) // 2
        if _is_worth(load, free, paid, number, most=most, deadline=deadline):
            low = number
        else:
            high = number - 1
    return _foreseen(load, (*free, Crew(offer=paid, number=low)) if low else free)


def _is_worth(
    load: Load,
    free: Sequence[Crew],
    offer: Offer,
    number: int,
    *,
    most: int,
    deadline: float | None,
) -> bool:
    """Whether that many tasks are, and not one less."""
    pace = offer.pace
    if not pace.measured >= {"start", "encode"}:
        return True
    others = _places(free, [crew.offer.pace for crew in free])
    task = [Place(free=pace.start, pace=pace)] * offer.encoders
    before, then = (load.on([*others, *task * n]) for n in (number - 1, number))
    if then.seconds >= before.seconds:
        return False
    if before.seconds - then.seconds > unused(pace, max(then.ends[-len(task) :])):
        return True
    if deadline is not None and before.seconds > deadline:
        return True
    room = most - number + 1
    return bool(others) and sooner(load, task * (number - 1), task, room, before.seconds)


def foreseen(works: Iterable[float], crews: Sequence[Crew]) -> Plan:
    """What these workers come to. Who would find nothing to do is not counted, nor started."""
    return _foreseen(loaded(works), crews)


def _foreseen(load: Load, crews: Sequence[Crew]) -> Plan:
    usual = _simulated(load, crews, lambda pace: pace)
    best = _simulated(load, crews, lambda pace: pace.best)
    worst = _simulated(load, crews, lambda pace: pace.worst)
    return Plan(
        crews=tuple(
            Crew(offer=crew.offer, number=number)
            for crew, number in zip(crews, usual.busy, strict=True)
            if number
        ),
        seconds=usual.seconds,
        usd=usual.usd,
        usd_low=min(best.usd, usual.usd),
        usd_high=max(worst.usd, usual.usd),
    )


class _Simulated(NamedTuple):
    seconds: float
    usd: Decimal
    busy: tuple[int, ...]
    """Workers of each crew that get a scene."""


def _places(crews: Sequence[Crew], paces: Sequence[Pace]) -> list[Place]:
    return [
        Place(free=pace.start, pace=pace)
        for crew, pace in zip(crews, paces, strict=True)
        for _ in range(crew.number * crew.offer.encoders)
    ]


def _simulated(load: Load, crews: Sequence[Crew], at: Callable[[Pace], Pace]) -> _Simulated:
    paces = [at(crew.offer.pace) for crew in crews]
    found = load.on(_places(crews, paces))
    ends, usd, busy = iter(found.ends), Decimal(), list[int]()
    for crew, pace in zip(crews, paces, strict=True):
        last = [max(next(ends) for _ in range(crew.offer.encoders)) for _ in range(crew.number)]
        worked = [end for end in last if end > pace.start]
        busy.append(len(worked))
        for end in worked:
            billed = max(float(MINIMUM_SECONDS), end - pace.placing + pace.moving + pace.stop)
            usd += Decimal(str(round(billed, 3))) * crew.offer.usd_per_second
    return _Simulated(found.seconds, usd.quantize(_EXACT, ROUND_HALF_UP), tuple(busy))
