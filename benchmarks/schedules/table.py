"""Table of the scenarios, and the goals that they must meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from schedules.runs import Outcome, Pair
from schedules.scenarios import Scenario

MEDIAN_GOAL, WORST_GOAL = 1.15, 1.6
"""Wall time of later runs over the bound, at most: the median and the worst seed."""
BILL_GOAL = 3.0
"""Bill of a later run over that of one usual task, at most."""
LARGE_GOAL = 1.10
"""Wall time and bill of a later run with many tasks over those of the bound, at most."""
LATER_GOAL = 1.05
"""Wall time of a later run over that of the first run of the same seed, at most."""
FIRST_GOAL = 1.02
"""Median wall time of first runs over the bound, relative to `EARLIER_FIRST_MEDIANS`, at most."""
EARLIER_FIRST_MEDIANS: Mapping[str, float] = {
    "A": 1.145,
    "A2": 1.218,
    "A3": 1.178,
    "S1": 1.016,
    "S2": 1.001,
    "S3": 1.001,
    "M0": 1.004,
    "B": 1.003,
    "B4": 1.001,
    "B5": 1.001,
    "B6": 1.002,
    "C": 1.003,
    "H": 1.004,
    "H2": 1.014,
}
"""Median wall time of first runs over the bound with twenty seeds, with the scheduler that compared
seconds instead of dollars (commit cb88553, 2026-11-26)."""

HEAD = (
    f"{'row':4} {'run':6} {'wall':>8} {'/ bound':>8} {'worst':>6} {'bill':>8} "
    f"{'/ one task':>10} {'worst':>6} {'tasks':>5} {'saved':>8} {'added':>9} {'$ / h':>6}"
)
"""Heads of the columns of `row_lines`."""


def row_lines(scenario: Scenario, pairs: Sequence[Pair]) -> list[str]:
    """Return the lines of one scenario: its title, the first runs and the later runs.

    Figures are medians of all seeds, except the worst ones. ``saved`` and ``added`` compare a run
    with the lower bound on one usual task; ``$ / h`` is the price of an hour that was saved.
    """
    first, later = ([pair[number] for pair in pairs] for number in range(2))
    wall = _middle(first, lambda outcome: outcome.one_task_wall)
    usd = _middle(first, lambda outcome: outcome.one_task_usd)
    limit = f"{scenario.workers} tasks at most; one task: {wall:.1f} s, ${usd:.4f}"
    return [
        f"{scenario.name:4} {scenario.title}, {limit}",
        _line("first", first),
        _line("later", later),
    ]


def _line(run: str, outcomes: Sequence[Outcome]) -> str:
    wall, ratio = _middle(outcomes, lambda o: o.wall), _middle(outcomes, lambda o: o.ratio)
    usd, bill_ratio = _middle(outcomes, lambda o: o.usd), _middle(outcomes, lambda o: o.bill_ratio)
    tasks = _middle(outcomes, lambda o: o.tasks)
    saved, added = _middle(outcomes, lambda o: o.saved), _middle(outcomes, lambda o: o.added)
    price = f"{added / saved * 3600:6.2f}" if saved >= 1 and added > 0 else f"{'-':>6}"
    return (
        f"{'':4} {run:6} {wall:6.1f} s {ratio:8.3f} {max(o.ratio for o in outcomes):6.2f} "
        f"${usd:7.4f} {bill_ratio:10.2f} {max(o.bill_ratio for o in outcomes):6.2f} "
        f"{tasks:5.1f} {saved:6.1f} s ${added:+8.4f} {price}"
    )


def _middle(outcomes: Sequence[Outcome], value: Callable[[Outcome], float]) -> float:
    """Return the median of a value of the outcomes."""
    return median(map(value, outcomes))


def check_goals(results: Mapping[Scenario, Sequence[Pair]]) -> bool:
    """Print whether each goal is met, with the rows that miss it; return whether all are met."""
    large = {
        each.name: [pair.later for pair in pairs]
        for each, pairs in results.items()
        if each.is_large
    }
    rows = {each.name: pairs for each, pairs in results.items() if each.has_goals}
    later = {name: [pair.later for pair in pairs] for name, pairs in rows.items()}
    over_first = {
        name: max(pair.later.wall / pair.first.wall for pair in pairs)
        for name, pairs in rows.items()
    }
    checks = (
        _check(
            f"later runs with many tasks: worst at most {LARGE_GOAL:.2f} times the bound",
            {name: max(o.ratio for o in outcomes) for name, outcomes in large.items()},
            LARGE_GOAL,
        ),
        _check(
            f"later runs with many tasks: at most {LARGE_GOAL:.2f} times the bill of the bound",
            {name: max(o.usd / o.bound_usd for o in outcomes) for name, outcomes in large.items()},
            LARGE_GOAL,
        ),
        _check(
            f"later runs: median at most {MEDIAN_GOAL} times the bound",
            {name: median(o.ratio for o in outcomes) for name, outcomes in later.items()},
            MEDIAN_GOAL,
        ),
        _check(
            f"later runs: worst at most {WORST_GOAL} times the bound",
            {name: max(o.ratio for o in outcomes) for name, outcomes in later.items()},
            WORST_GOAL,
        ),
        _check(
            f"later runs: bill at most {BILL_GOAL:g} times that of one task",
            {name: max(o.bill_ratio for o in outcomes) for name, outcomes in later.items()},
            BILL_GOAL,
        ),
        _check(
            f"later runs: at most {LATER_GOAL} times as long as the first run of the same seed",
            over_first,
            LATER_GOAL,
        ),
        _check(
            f"first runs: median at most {FIRST_GOAL} times that of the earlier scheduler",
            {
                name: median(pair.first.ratio for pair in pairs) / EARLIER_FIRST_MEDIANS[name]
                for name, pairs in rows.items()
            },
            FIRST_GOAL,
        ),
    )
    return all(checks)


def _check(text: str, values: Mapping[str, float], goal: float) -> bool:
    missed = [f"{name} {value:.2f}" for name, value in values.items() if value > goal]
    return print_goal(text + (f": {', '.join(missed)}" if missed else ""), met=not missed)


def print_goal(text: str, *, met: bool) -> bool:
    """Print the goal and whether it is met, and return the latter."""
    print(f"  {'met   ' if met else 'MISSED'} {text}", flush=True)
    return met
