"""Plot of the wall times of all scenarios over their lower bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

from schedules.runs import Pair
from schedules.scenarios import Scenario
from schedules.table import MEDIAN_GOAL, WORST_GOAL

_RUNS = (("first run", -0.15, "tab:gray"), ("later run", 0.15, "tab:blue"))
"""Label, offset from the middle of the row, and colour of each kind of run."""


def draw_ratios(results: Mapping[Scenario, Sequence[Pair]], title: str, to: Path) -> None:
    """Write a plot with the median and the worst ratio of each scenario, as SVG.

    Args:
        results: Runs of each scenario.
        title: Title of the plot.
        to: File to write.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    # Text stays text, and the same figures give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cloudburst"}):
        figure = Figure(figsize=(9, 4), layout="constrained")
        axes = figure.subplots()
        for number, (label, offset, colour) in enumerate(_RUNS):
            ratios = [[pair[number].ratio for pair in pairs] for pairs in results.values()]
            at = [position + offset for position in range(len(ratios))]
            medians, worst = [median(row) for row in ratios], [max(row) for row in ratios]
            axes.vlines(at, medians, worst, color=colour, linewidth=1)
            axes.scatter(at, medians, color=colour, s=30, label=f"{label}, median")
            axes.scatter(at, worst, color=colour, s=30, marker="_", label=f"{label}, worst")
        for goal, text in ((MEDIAN_GOAL, "goal: median"), (WORST_GOAL, "goal: worst")):
            axes.axhline(goal, color="black", linewidth=0.7, linestyle="dashed")
            axes.annotate(
                f"{text} of later runs",
                (1, goal),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
            )
        axes.set_xticks(range(len(results)), [scenario.name for scenario in results])
        axes.set(title=title, ylabel="wall time / lower bound")
        axes.grid(axis="y", linewidth=0.3)
        figure.legend(loc="outside lower center", ncols=4, fontsize=8)
        figure.savefig(to, metadata={"Date": None})
