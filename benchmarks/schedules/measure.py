"""Measurement of all scenarios or some of them, with one or more task models."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from pathlib import Path

from schedules.arrivals import ARRIVALS_ROW, measure_arrivals
from schedules.comparisons import (
    BUDGET_ROW,
    FAIR_ROW,
    SILENT_GOALS,
    measure_budgets,
    measure_fairness,
    measure_silent,
)
from schedules.loop import LOOP_ROW, measure_loop
from schedules.runs import Pair, run_scenario
from schedules.scenarios import SCENARIOS, Scenario
from schedules.sources import SOURCES_ROW, measure_sources
from schedules.table import HEAD, check_goals, row_lines
from schedules.task_model import TaskModel

ROW_NAMES = (
    *(scenario.name for scenario in SCENARIOS),
    *(BUDGET_ROW, FAIR_ROW, ARRIVALS_ROW, SOURCES_ROW, LOOP_ROW),
)
"""Names of all rows."""


def measure_rows(
    names: Collection[str],
    model: TaskModel,
    seeds: int,
    hour_usd: Decimal,
    *,
    plots: Path | None = None,
) -> bool:
    """Print the named rows and the goals, and return whether all goals are met.

    Args:
        names: Names of the rows.
        model: Task model.
        seeds: Number of seeds.
        hour_usd: Value of an hour of waiting, in USD.
        plots: Folder to which a plot of the rows is written; ``None``: no plot.
    """
    print(f"\ntask model {model.name}: {model.seconds_per_work:.3f} s for a second of work\n{HEAD}")
    results = dict[Scenario, Sequence[Pair]]()
    for scenario in SCENARIOS:
        if scenario.name in names:
            results[scenario] = run_scenario(scenario, model, seeds, hour_usd)
            print("\n".join(row_lines(scenario, results[scenario])), flush=True)
    if plots is not None and results:
        from schedules.plot import draw_ratios  # noqa: PLC0415 - only plots need matplotlib

        title = (
            f"{seeds} seeds in virtual time; {model.seconds_per_work:.2f} s for a second of work"
        )
        draw_ratios(results, title, plots / f"schedule-{model.name}.svg")
    met = [check_goals(results)] if results and model.has_goals else []
    met += [
        measure_silent(scenario, model, seeds, hour_usd)
        for scenario in results
        if scenario.name in SILENT_GOALS
    ]
    if BUDGET_ROW in names:
        met.append(measure_budgets(model, seeds, hour_usd))
    if FAIR_ROW in names:
        met.append(measure_fairness(model, seeds, hour_usd))
    if ARRIVALS_ROW in names:
        met.append(measure_arrivals(model, seeds, hour_usd))
    if SOURCES_ROW in names:
        met.append(measure_sources(model, seeds, hour_usd))
    if LOOP_ROW in names and model.has_goals:
        met.append(measure_loop(model, hour_usd))
    return all(met)
