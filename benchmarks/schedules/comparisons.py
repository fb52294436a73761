"""Comparisons of two runs: with and without a task that never starts, and beside another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from statistics import median

from cloud.virtual import render_runs, render_scenes, run_in_virtual_time

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.models.limits import Limits
from cloudburst.models.report import Report, Status
from schedules.runs import run_scenario
from schedules.scenarios import Scenario, equal, varied
from schedules.table import print_goal
from schedules.task_model import TaskModel

SILENT_GOALS: Mapping[str, tuple[float, float]] = {"M0": (1.6, 1.6), "M1": (2.4, 2.9)}
"""Wall time over that without the fault, at most, by scenario: the median and the worst seed."""
BUDGET_ROW = "G"
BUDGETS = (1.0, 1.2, 1.35, 1.5, 2.0, 2.5)
"""Budgets in bills of one task."""
FAIR_ROW = "E"
FAIR_GOAL = 1.05
"""Wall time of a tiny run beside a huge one over that of the tiny run alone, at most."""
TINY = Scenario(name="tiny", title="one of 1 s", audio_seconds=equal(1, 1))
BUDGETED = Scenario(name="budgeted", title="20 equal of 10 s", audio_seconds=equal(20, 10))
HUGE = Scenario(name="huge", title="60 of 100 s", audio_seconds=varied(60, 100))


def measure_silent(scenario: Scenario, model: TaskModel, seeds: int, hour_usd: Decimal) -> bool:
    """Print how much longer runs take if a task never starts; return whether the goal is met."""
    faulty = run_scenario(scenario, model, seeds, hour_usd)
    usual = run_scenario(scenario.without_faults(), model, seeds, hour_usd)
    median_goal, worst_goal = SILENT_GOALS[scenario.name]

    def check(run: str, ratios: Sequence[float]) -> bool:
        middle, worst = median(ratios), max(ratios)
        return print_goal(
            f"{scenario.name}, {run} runs: {middle:.2f} times as long as without the fault, "
            f"{worst:.2f} at worst; at most {median_goal} and {worst_goal}",
            met=middle <= median_goal and worst <= worst_goal,
        )

    pairs = list(zip(faulty, usual, strict=True))
    first = check("first", [a.first.wall / b.first.wall for a, b in pairs])
    later = check("later", [a.later.wall / b.later.wall for a, b in pairs])
    return first and later


def measure_budgets(model: TaskModel, seeds: int, hour_usd: Decimal) -> bool:
    """Print the share of videos for each budget in a first run; return whether it only rises."""
    shares, worst = list[float](), 0.0
    for bills in BUDGETS:
        videos = 0
        for seed in range(seeds):
            case = BUDGETED.case(model, seed)
            most = Decimal(str(round(bills * case.one_task_usd, 6)))
            limits = Limits(workers=case.workers, hour_usd=hour_usd, max_usd=most)
            report = run_in_virtual_time(
                partial(render_scenes, [case.cloud()], case.audio_seconds, limits=limits)
            )
            videos += sum(scene.video is not None for scene in report.scenes)
            worst = max(worst, float(report.cost.usd / most))
        shares.append(videos / seeds / len(case.audio_seconds))
    text = ", ".join(f"{b:g}: {share:.0%}" for b, share in zip(BUDGETS, shares, strict=True))
    print(f"{BUDGET_ROW:4} {BUDGETED.title}, budget in bills of one task: {text}")
    met = shares == sorted(shares) and worst <= 1
    return print_goal(f"more budget, no fewer videos; bill at most {worst:.2f} of it", met=met)


def measure_fairness(model: TaskModel, seeds: int, hour_usd: Decimal) -> bool:
    """Print how long a tiny and a huge run take at the same time and alone.

    Return whether the goal is met.
    """
    tiny, huge = list[float](), list[float]()
    for seed in range(seeds):
        (tiny_alone,), (huge_alone,), (tiny_beside, huge_beside) = (
            _later_walls(scenarios, model, seed, hour_usd)
            for scenarios in ((TINY,), (HUGE,), (TINY, HUGE))
        )
        tiny.append(tiny_beside / tiny_alone)
        huge.append(huge_beside / huge_alone)
    print(
        f"{FAIR_ROW:4} {TINY.title}, {TINY.name}, beside {HUGE.title}, {HUGE.name}, later runs: "
        f"{median(tiny):.3f} and {median(huge):.3f} times as long as alone, "
        f"{max(tiny):.3f} and {max(huge):.3f} at worst"
    )
    return print_goal(
        f"the tiny run takes at most {FAIR_GOAL} times as long as alone",
        met=max(tiny) <= FAIR_GOAL,
    )


def _later_walls(
    scenarios: Sequence[Scenario], model: TaskModel, seed: int, hour_usd: Decimal
) -> list[float]:
    """Return the wall times of runs at the same time, with the measurements of the first time."""
    cases = [scenario.case(model, seed, prefix=scenario.name) for scenario in scenarios]
    encodes = {name: seconds for case in cases for name, seconds in case.encodes.items()}
    measurements, reports = Measurements(), list[Report]()
    for _ in range(2):
        render = partial(
            render_runs,
            [model.cloud(encodes, seed=seed)],
            [case.audio_seconds for case in cases],
            limits=Limits(workers=HUGE.workers, hour_usd=hour_usd),
            measurements=measurements,
        )
        reports = run_in_virtual_time(render)
    assert all(report.status is Status.COMPLETE for report in reports)
    return [report.wall_seconds for report in reports]
