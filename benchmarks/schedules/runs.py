"""Runs of a case: a first run without measurements, and a later run with those of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from cloud.virtual import render_scenes, run_in_virtual_time

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.models.limits import Limits
from cloudburst.models.report import Report, Status
from schedules.scenarios import Case, Scenario
from schedules.task_model import TaskModel

LARGE_SEEDS = 3
"""Number of seeds of a large scenario, whose runs take a minute each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of one run, beside its bounds."""

    wall: float
    """Wall time, in seconds."""
    bound: float
    """Lower bound of the wall time, in seconds."""
    usd: float
    """Bill, in USD."""
    bound_usd: float
    """Bill of a run with that wall time, in USD."""
    tasks: int
    """Number of tasks that were launched."""
    one_task_wall: float
    """Lower bound of the wall time on one usual task, in seconds."""
    one_task_usd: float
    """Bill of one usual task with that wall time, in USD."""

    @property
    def ratio(self) -> float:
        """Wall time over its lower bound."""
        return self.wall / self.bound

    @property
    def bill_ratio(self) -> float:
        """Bill over that of one usual task."""
        return self.usd / self.one_task_usd

    @property
    def saved(self) -> float:
        """Seconds by which the run was shorter than the lower bound on one usual task."""
        return self.one_task_wall - self.wall

    @property
    def added(self) -> float:
        """USD by which the bill was higher than that of one usual task."""
        return self.usd - self.one_task_usd


class Pair(NamedTuple):
    """First and later run of one seed."""

    first: Outcome
    later: Outcome


def run_case(case: Case, hour_usd: Decimal, *, later_startup: float = 1.0) -> Pair:
    """Run a case twice in virtual time, the second time with starts that are longer by a factor."""
    measurements = Measurements()
    render = partial(
        render_scenes,
        audio_seconds=case.audio_seconds,
        limits=Limits(workers=case.workers, hour_usd=hour_usd),
        measurements=measurements,
    )
    slower = replace(case, model=replace(case.model, startup=later_startup * case.model.startup))
    first, later = (
        _outcome(each, run_in_virtual_time(partial(render, [each.cloud()])))
        for each in (case, slower)
    )
    return Pair(first=first, later=later)


def run_scenario(
    scenario: Scenario, model: TaskModel, seeds: int, hour_usd: Decimal
) -> Sequence[Pair]:
    """Run a scenario with each seed; a large one with `LARGE_SEEDS` at most."""
    return [
        run_case(scenario.case(model, seed), hour_usd, later_startup=scenario.later_startup)
        for seed in range(min(seeds, LARGE_SEEDS) if scenario.is_large else seeds)
    ]


def _outcome(case: Case, report: Report) -> Outcome:
    assert report.status is Status.COMPLETE, report.errors
    assert report.cost.final, "a task is still billed"
    return Outcome(
        wall=report.wall_seconds,
        bound=case.wall_bound,
        usd=float(report.cost.usd),
        bound_usd=case.bound_usd,
        tasks=len(report.workers),
        one_task_wall=case.one_task_wall,
        one_task_usd=case.one_task_usd,
    )
