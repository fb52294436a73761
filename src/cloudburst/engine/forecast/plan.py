"""Plans: forecasts of the time and cost of a run with given workers."""

# Costs are computed as AWS bills them: each task from the start of its image pull until it has
# stopped, for one minute at least.

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import NamedTuple

from cloudburst.engine.forecast.scaling_rule import (
    Goal,
    NewWorker,
    further_workers,
    waiting_usd,
)
from cloudburst.engine.forecast.simulation import Load, SimulatedWorker, worker_usd
from cloudburst.models.performance import Case, Performance
from cloudburst.models.report import Prediction
from cloudburst.models.tier import Tier

_USD_DIGITS = Decimal("0.000001")
# Number of runs, of ten, that take at most the expected makespan: 18 of 88 simulated runs, whose
# encodes varied by a tenth and start-ups by a fifth; 78 took at most the worst case (2026-11).
RUNS_WITHIN_EXPECTED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKind:
    """Kind of worker that a run may use, with its performance and price."""

    backend: str
    """Name of the backend, such as ``local`` or ``fargate``."""
    tier: Tier | None = None
    """Size of the task of each worker; ``None`` for workers without a size."""
    performance: Performance
    """Expected performance of one worker."""
    encoder_slots: int
    """Number of scenes that one worker encodes at once."""
    max_workers: int
    """Largest number of workers of this kind in a plan."""
    usd_per_second: Decimal = Decimal()
    """Price of one worker, in USD per second; 0 if nothing is billed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """Workers of one kind that take part in a plan."""

    kind: WorkerKind
    """Kind of the workers in the group."""
    count: int
    """Number of workers in the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Plan of a run: a set of workers, and the time and cost of the run with them."""

    groups: tuple[WorkerGroup, ...]
    """Groups of the workers to start; those that cost nothing come first."""
    # Some eight of ten runs take a little longer, because the slowest of several start-ups
    # counts.
    seconds: float
    """Expected makespan: seconds from the start of the run until the last video is downloaded."""
    seconds_low: float
    """Makespan in the best case of start-up and encode times, which one run in ten reaches."""
    seconds_high: float
    """Makespan in the worst case of start-up and encode times, which nine runs in ten keep."""
    usd: Decimal
    """Expected bill, in USD."""
    usd_low: Decimal
    """Bill in USD in the best case of start-up and encode times."""
    usd_high: Decimal
    """Bill in USD in the worst case of start-up and encode times."""

    @property
    def paid_group(self) -> WorkerGroup | None:
        """Group of the workers that are billed; ``None`` if no worker is billed."""
        return next((group for group in self.groups if group.kind.usd_per_second), None)

    @property
    def tasks(self) -> int:
        """Number of workers that are billed."""
        return self.paid_group.count if self.paid_group else 0

    @property
    def prediction(self) -> Prediction:
        """Makespan and bill with their ranges, as the report of a run states them."""
        return Prediction(
            wall_seconds=self.seconds,
            seconds_low=self.seconds_low,
            seconds_high=self.seconds_high,
            usd_low=self.usd_low,
            usd_high=self.usd_high,
        )

    def meets(self, *, deadline: float | None, budget: Decimal | None) -> bool:
        """Return whether the plan meets a deadline as expected, and a budget in the worst case."""
        in_time = deadline is None or self.seconds <= deadline
        return in_time and (budget is None or self.usd_high <= budget)

    def runs_within(self, deadline: float) -> int:
        """Return in how many of ten runs the makespan is at most ``deadline`` seconds: 0 to 9."""
        if deadline < self.seconds_low:
            return 0
        points = (
            (self.seconds_low, 0),
            (self.seconds, RUNS_WITHIN_EXPECTED),
            (self.seconds_high, 9),
        )
        for (start, runs), (end, more) in pairwise(points):
            if deadline < end:
                return runs + int((more - runs) * (deadline - start) / (end - start))
        return 9


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSet:
    """Set of alternative plans for one run."""

    plans: tuple[Plan, ...]
    """Plans of the set, at least one."""

    @property
    def frontier(self) -> tuple[Plan, ...]:
        """Pareto-optimal plans, cheapest first: each further plan costs more and is faster."""
        best: list[Plan] = []
        for plan in self._by_price():
            if not best or plan.seconds < best[-1].seconds:
                best.append(plan)
        return tuple(best)

    def cheapest(self, *, deadline: float, budget: Decimal | None = None) -> Plan | None:
        """Return the cheapest plan within the budget that keeps the deadline in nine of ten runs.

        If there is none, return the one that keeps it most often; ``None`` if every plan is
        expected to miss the deadline or exceeds the budget.
        """
        fitting = [p for p in self._by_price() if p.meets(deadline=deadline, budget=budget)]
        return max(fitting, key=lambda plan: plan.runs_within(deadline), default=None)

    def fastest(self, *, budget: Decimal | None = None) -> Plan | None:
        """Return the fastest plan that meets the budget; ``None`` if none does."""
        fitting = [plan for plan in self._by_price() if plan.meets(deadline=None, budget=budget)]
        return min(fitting, key=lambda plan: plan.seconds, default=None)

    def next_step(self, plan: Plan) -> Plan | None:
        """Return the faster plan whose saved seconds cost least; ``None`` if none is faster."""
        faster = [each for each in self.frontier if each.seconds < plan.seconds]
        return min(
            faster,
            key=lambda each: (each.usd - plan.usd) / Decimal(plan.seconds - each.seconds),
            default=None,
        )

    def closest(self, *, deadline: float | None, budget: Decimal | None) -> Plan:
        """Return the plan that comes closest to a deadline and a budget that no plan meets."""
        in_budget = self.fastest(budget=budget)
        if in_budget is not None and deadline is not None:
            return in_budget
        return min(self.plans, key=lambda plan: (plan.usd_high, plan.seconds))

    def _by_price(self) -> list[Plan]:
        return sorted(self.plans, key=lambda plan: (plan.usd, plan.seconds, plan.tasks))


def enumerate_plans(
    works: Iterable[float], kinds: Iterable[WorkerKind], *, bytes_to_send: float = 0.0
) -> PlanSet:
    """Return the useful plans: billed tasks of one kind, workers that cost nothing, or both."""
    load, kinds = Load.from_works(works, bytes_to_send=bytes_to_send), tuple(kinds)
    free = _free_groups(kinds, load)
    found = [make_plan(load, free)] if free else []
    for kind in kinds:
        if not kind.usd_per_second:
            continue
        for others in dict.fromkeys([(), free]):
            found += _growing_plans(load, others, kind)
    return PlanSet(plans=tuple(found))


def _free_groups(kinds: Iterable[WorkerKind], load: Load) -> tuple[WorkerGroup, ...]:
    return tuple(
        WorkerGroup(kind=kind, count=_useful_workers(kind, load))
        for kind in kinds
        if not kind.usd_per_second
    )


def _growing_plans(load: Load, others: tuple[WorkerGroup, ...], kind: WorkerKind) -> Iterator[Plan]:
    """Yield plans with a growing number of tasks, as long as every task gets a scene."""
    last: Plan | None = None
    for count in range(1, _useful_workers(kind, load) + 1):
        groups = (*others, WorkerGroup(kind=kind, count=count))
        expected = _simulate(load, groups, "expected")
        if expected.has_idle_tasks:
            return
        plan = make_plan(load, groups, expected)
        if last is None or plan.seconds < last.seconds:
            last = plan
            yield plan


def _useful_workers(kind: WorkerKind, load: Load) -> int:
    return max(1, min(kind.max_workers, load.useful_workers(kind.encoder_slots)))


def default_plan(
    works: Iterable[float],
    kinds: Iterable[WorkerKind],
    *,
    max_tasks: int,
    hour_usd: Decimal,
    deadline: float | None = None,
    bytes_to_send: float = 0.0,
) -> Plan:
    """Return the plan by the scaling rule: all unbilled workers, and the best number of tasks."""
    load, kinds = Load.from_works(works, bytes_to_send=bytes_to_send), tuple(kinds)
    free = _free_groups(kinds, load)
    paid = next((kind for kind in kinds if kind.usd_per_second), None)
    if paid is None:
        return make_plan(load, free)
    latest = math.inf if deadline is None else deadline
    goal = Goal(hour_usd=waiting_usd(hour_usd, load), deadline=latest)
    room = min(max_tasks, paid.max_workers)
    tasks = further_workers(load, _workers(free), _new_worker(paid), room=room, goal=goal)
    return make_plan(load, (*free, WorkerGroup(kind=paid, count=tasks)) if tasks else free)


def make_plan(
    load: Load, groups: Sequence[WorkerGroup], expected: _SimulatedRun | None = None
) -> Plan:
    """Return the plan for a load of scenes on groups of workers."""
    expected = expected or _simulate(load, groups, "expected")
    best = _simulate(load, groups, "best")
    worst = _simulate(load, groups, "worst")
    return Plan(
        groups=tuple(groups),
        seconds=expected.seconds,
        seconds_low=min(best.seconds, expected.seconds),
        seconds_high=max(worst.seconds, expected.seconds),
        usd=expected.usd,
        usd_low=min(best.usd, expected.usd),
        usd_high=max(worst.usd, expected.usd),
    )


class _SimulatedRun(NamedTuple):
    seconds: float
    usd: Decimal
    has_idle_tasks: bool


def _workers(groups: Iterable[WorkerGroup], case: Case = "expected") -> list[SimulatedWorker]:
    return [
        worker for group in groups for worker in _new_worker(group.kind, case).started(group.count)
    ]


def _new_worker(kind: WorkerKind, case: Case = "expected") -> NewWorker:
    return NewWorker(kind.performance.in_case(case), kind.encoder_slots, float(kind.usd_per_second))


def _simulate(load: Load, groups: Sequence[WorkerGroup], case: Case) -> _SimulatedRun:
    workers = _workers(groups, case)
    schedule = load.schedule_on(workers)
    usd, idle = 0.0, False
    for worker, end in zip(workers, schedule.worker_ends, strict=True):
        last = schedule.makespan - worker.performance.transfer_seconds
        usd += worker_usd(worker, min(end, last))  # without scenes: until the run ends
        idle = idle or (worker.usd_per_second > 0 and end <= max(worker.free_in))
    return _SimulatedRun(schedule.makespan, Decimal(usd).quantize(_USD_DIGITS, ROUND_HALF_UP), idle)
