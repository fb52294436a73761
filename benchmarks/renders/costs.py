"""Costs of several programs that render the same scene in turn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple, Protocol

from renders import goals
from renders.frames import IdealSettings, count_frames
from renders.inputs import BASELINE, Inputs, Scenario
from renders.processes import MAX_OTHER_LOAD, Cost

HEADER = (
    f"{'':43} {'CPU s':>7} {'spread':>6} {'wall s':>7} {'PSS MB':>6} {'file MB':>7} {'frames':>6}"
    f" {'others':>6} {'CPU/ours':>8}"
)


class Program(Protocol):
    """Program that renders a scene in a new folder, as ``video.mp4``."""

    @property
    def name(self) -> str: ...

    @property
    def ideal_settings(self) -> IdealSettings: ...

    def run(self, scenario: Scenario, inputs: Inputs, folder: Path) -> Cost: ...


class Runs(NamedTuple):
    """Costs of some runs of one program on one scene."""

    costs: Sequence[Cost]
    frames: int
    """Frames of the video."""

    @property
    def cpu(self) -> float:
        return median(cost.cpu for cost in self.costs)

    @property
    def spread(self) -> float:
        """Highest CPU seconds over the lowest ones, minus 1."""
        seconds = [cost.cpu for cost in self.costs]
        return max(seconds) / min(seconds) - 1

    @property
    def wall(self) -> float:
        return median(cost.wall for cost in self.costs)

    @property
    def peak(self) -> float:
        return median(cost.peak for cost in self.costs)

    @property
    def size(self) -> float:
        return median(cost.size for cost in self.costs)

    @property
    def others(self) -> float:
        """Largest part of the cores that other processes used during a run."""
        return max(cost.others for cost in self.costs)


class Row(NamedTuple):
    """Runs of all programs on one scene; ours are the first."""

    scenario: Scenario
    seconds: int
    runs: dict[str, Runs]
    picture: str = ""

    @property
    def ours(self) -> Runs:
        return next(iter(self.runs.values()))

    def ratio(self, name: str) -> float:
        """Return the CPU seconds of a program over ours."""
        return self.runs[name].cpu / self.ours.cpu

    @property
    def title(self) -> str:
        return f"{self.picture} {self.scenario.name} {self.seconds} s".lstrip()

    def lines(self) -> Iterator[str]:
        for name, runs in self.runs.items():
            title = f"{self.title}, {name}"
            ratio = "" if runs is self.ours else f"{self.ratio(name):8.2f}"
            yield (
                f"{title:43} {runs.cpu:7.2f} {runs.spread:6.0%} {runs.wall:7.1f} {runs.peak:6.0f}"
                f" {runs.size:7.2f} {runs.frames:6d} {runs.others:6.0%} {ratio}"
            )


def warm_up(programs: Sequence[Program], inputs: Inputs, work: Path) -> None:
    """Run each program once, so that Python's bytecode and the files are in the cache."""
    for number, program in enumerate(programs):
        program.run(BASELINE, inputs, work / f"warm-{number}")


def take_turns(
    programs: Sequence[Program], scenario: Scenario, inputs: Inputs, rounds: int, work: Path
) -> Row:
    """Render a scene with each program in turn, this number of times.

    The videos of the last round stay in ``work``; `video_of` returns their paths.
    """
    costs: dict[str, list[Cost]] = {program.name: [] for program in programs}
    for _ in range(rounds):
        for number, program in enumerate(programs):
            folder = video_of(work, number, scenario, inputs.seconds).parent
            shutil.rmtree(folder, ignore_errors=True)
            costs[program.name].append(program.run(scenario, inputs, folder))
    frames = [
        count_frames(video_of(work, number, scenario, inputs.seconds))
        for number in range(len(programs))
    ]
    runs = {
        program.name: Runs(costs[program.name], count)
        for program, count in zip(programs, frames, strict=True)
    }
    return Row(scenario, inputs.seconds, runs)


def video_of(work: Path, number: int, scenario: Scenario, seconds: int) -> Path:
    """Return the path of the last video of the program with this number."""
    return work / f"{number}-{scenario.name}-{seconds}" / "video.mp4"


def judge_against(rows: Sequence[Row], other: str) -> Iterator[goals.Verdict]:
    """Yield the verdicts on our costs, compared with those of the other renderer."""
    sizes = {row.title: row.ours.size / row.runs[other].size for row in rows}
    for title, size in sizes.items():
        yield goals.at_most(f"{title}: size of ours over the other", size, goals.SIZE)
    for scenario, seconds in dict.fromkeys((row.scenario, row.seconds) for row in rows):
        same = [row for row in rows if (row.scenario, row.seconds) == (scenario, seconds)]
        where = f"mean of {len(same)} pictures, {scenario.name} {seconds} s"
        cheaper = mean(row.ratio(other) for row in same)
        goal = goals.AGAINST.get((scenario.name, seconds)) if scenario.effects else goals.STILL
        if goal is not None:
            yield goals.at_least(f"{where}: CPU of the other over ours", cheaper, goal)
        if scenario.effects:
            size = mean(sizes[row.title] for row in same)
            yield goals.at_most(f"{where}: size of ours over the other", size, goals.MEAN_SIZE)


def judge_public_image(rows: Sequence[Row], name: str) -> Iterator[goals.Verdict]:
    """Yield the verdicts on our costs, compared with those of the public image's code."""
    for row in rows:
        if goal := goals.PUBLIC_IMAGE.get((row.scenario.name, row.seconds)):
            where = f"{row.scenario.name} at {row.seconds} s"
            text = f"{where}: CPU of the public image over ours"
            yield goals.at_least(text, row.ratio(name), goal)


def judge_peak(rows: Sequence[Row]) -> goals.Verdict:
    """Return the verdict on our highest memory."""
    peak = max(row.ours.peak for row in rows)
    return goals.at_most("highest peak of a render (PSS), in MB", peak, goals.PEAK)


def invalid_rows(rows: Sequence[Row]) -> list[str]:
    """Return the titles of rows during which other processes used too much of the cores."""
    return [
        row.title for row in rows if max(runs.others for runs in row.runs.values()) > MAX_OTHER_LOAD
    ]
