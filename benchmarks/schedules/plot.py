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

_RUNS = (("first run", -0.17, "tab:gray"), ("later run", 0.17, "tab:blue"))
"""Label, offset from the middle of the row, and colour of each kind of run."""
_ROW_INCHES, _OTHER_INCHES = 0.25, 1.0
"""Height of a row, and of everything else."""


def draw_ratios(results: Mapping[Scenario, Sequence[Pair]], title: str, to: Path) -> None:
    """Write a plot with the median and the worst ratio of each scenario, as SVG.

    Args:
        results: Runs of each scenario.
        title: Title of the plot.
        to: File to write.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    # Text stays text, and the same figures give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cloudburst", "font.size": 9}):
        height = _ROW_INCHES * len(results) + _OTHER_INCHES
        figure = Figure(figsize=(9, height), layout="constrained")
        axes = figure.subplots()
        for number, (label, offset, colour) in enumerate(_RUNS):
            ratios = [[pair[number].ratio for pair in pairs] for pairs in results.values()]
            at = [position + offset for position in range(len(ratios))]
            medians, worst = [median(row) for row in ratios], [max(row) for row in ratios]
            axes.hlines(at, medians, worst, color=colour, linewidth=1.5)
            axes.scatter(medians, at, color=colour, s=25, label=f"{label}, median", zorder=3)
            axes.scatter(worst, at, color=colour, s=25, marker="|", label=f"{label}, worst seed")
        for goal, text, side in ((MEDIAN_GOAL, "median", "right"), (WORST_GOAL, "worst", "left")):
            axes.axvline(goal, color="black", linewidth=0.7, linestyle="dashed", zorder=0)
            axes.annotate(
                f"goal, {text}: {goal}",
                (goal, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha=side,
                fontsize=8,
            )
        axes.set_yticks(
            range(len(results)), [f"{scenario.title}, {scenario.name}" for scenario in results]
        )
        axes.set_ylim(len(results) - 0.5, -0.5)
        axes.set_xlim(left=0.97)
        axes.set_xlabel("wall time / lower bound")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, fontsize=10)
        figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)
        figure.savefig(to, metadata={"Date": None})
