"""Scenarios: the scenes of a run, the limit of its tasks, and what is wrong with some tasks.

The letters are the names of the rows in the tables.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cloud.virtual import log_normal, scene

from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.forecast.simulation import billed_seconds
from cloudburst.testing import FakeCloud
from schedules.bounds import wall_bound
from schedules.task_model import TaskModel

SPOT_NOTICE_SECONDS = 120.0
"""Seconds from the announcement of a Spot interruption until the task ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults of tasks, by the number of the task in the order of launches, from 1."""

    slow: Mapping[int, float] = field(default_factory=dict[int, float])
    """Factors by which encodes take longer."""
    silent: frozenset[int] = frozenset()
    """Tasks that run but whose workers never become ready."""
    interrupted: Mapping[int, float] = field(default_factory=dict[int, float])
    """Seconds from the launch of a task to the announcement of its Spot interruption."""


Draw = Callable[[int], Sequence[float]]
"""Function that returns the audio lengths of the scenes, in seconds, for a seed."""
DrawFaults = Callable[[int], Faults]
"""Function that returns the faults of tasks for a seed."""


def no_faults(seed: int) -> Faults:  # noqa: ARG001
    """Return no faults."""
    return Faults()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Row of the tables."""

    name: str
    title: str
    """Short description."""
    audio_seconds: Draw
    workers: int = 4
    """Limit of the tasks."""
    faults: DrawFaults = no_faults
    later_startup: float = 1.0
    """Factor by which start-ups of the later run take longer than those of the first run."""
    has_goals: bool = True
    """True if the wall time over its bound and the bill have goals."""
    is_large: bool = False
    """True for many tasks: few seeds, and goals of its own."""

    def without_faults(self) -> Scenario:
        """Return the same scenario in which nothing is wrong with any task."""
        return replace(self, faults=no_faults)

    def case(self, model: TaskModel, seed: int, *, prefix: str = "s") -> Case:
        """Return the case that a seed draws; names of scenes begin with the prefix."""
        lengths = self.audio_seconds(seed)
        return Case(
            model=model,
            seed=seed,
            workers=self.workers,
            audio_seconds={f"{prefix}{n}": seconds for n, seconds in enumerate(lengths)},
            faults=self.faults(seed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Scenario with the values that one seed has drawn."""

    model: TaskModel
    seed: int
    workers: int
    audio_seconds: Mapping[str, float]
    """Audio length of each scene by name, in seconds."""
    faults: Faults

    @property
    def encodes(self) -> Mapping[str, float]:
        """Encode time of each scene on a usual task by name, in seconds."""
        return {
            name: self.model.seconds_per_work * scene_work(scene(name, seconds))
            for name, seconds in self.audio_seconds.items()
        }

    def cloud(self) -> FakeCloud:
        """Return a new cloud with the tasks of the case."""
        cloud, faults = self.model.cloud(self.encodes, seed=self.seed), self.faults
        cloud.slow_tasks.update({f"fake-{n}": factor for n, factor in faults.slow.items()})
        cloud.silent_tasks.update(f"fake-{n}" for n in faults.silent)
        cloud.interrupted_tasks.update(
            {f"fake-{n}": (notice, SPOT_NOTICE_SECONDS) for n, notice in faults.interrupted.items()}
        )
        return cloud

    @property
    def wall_bound(self) -> float:
        """Lower bound of the wall time on the tasks that are launched first, in seconds.

        Interruptions, and tasks that replace others, are left out.
        """
        tasks = [
            self.model.bound_worker(
                startup=self.model.startup_of(f"fake-{number}", seed=self.seed),
                slowness=self.faults.slow.get(number, 1.0),
            )
            for number in range(1, self.workers + 1)
            if number not in self.faults.silent
        ] or [self.model.bound_worker()] * self.workers
        return wall_bound(list(self.encodes.values()), tasks)

    @property
    def bound_usd(self) -> float:
        """Bill of all tasks, each until the bound of the wall time, in USD.

        Later launches, earlier stops and fewer tasks would miss the bound, unless one scene decides
        it.
        """
        seconds = self.wall_bound - self.model.transfer - self.model.placement + self.model.stop
        return float(self.model.usd_per_second) * self.workers * billed_seconds(seconds)

    @property
    def one_task_wall(self) -> float:
        """Lower bound of the wall time on one usual task, in seconds."""
        return wall_bound(list(self.encodes.values()), [self.model.bound_worker()])

    @property
    def one_task_usd(self) -> float:
        """Bill of one usual task with that wall time, in USD."""
        seconds = self.one_task_wall - self.model.placement + self.model.stop
        return float(self.model.usd_per_second) * billed_seconds(seconds)


def equal(number: int, seconds: float) -> Draw:
    """Return a function that draws scenes of the same length."""
    return lambda _seed: [seconds] * number


def varied(number: int, median: float) -> Draw:
    """Return a function that draws scenes from a log-normal distribution with sigma 1."""
    return lambda seed: log_normal(seed, number, median=median)


def first_slow(factor: float) -> DrawFaults:
    """Return a function that makes the first task slower by a factor."""
    return lambda _seed: Faults(slow={1: factor})


def first_silent(seed: int) -> Faults:  # noqa: ARG001
    """Return the fault that the first task never becomes ready."""
    return Faults(silent=frozenset({1}))


def one_silent_one_slow(workers: int, factor: float) -> DrawFaults:
    """Return a function that draws a task that never becomes ready, and a slow one."""

    def draw(seed: int) -> Faults:
        silent, slow = random.Random(f"{seed} faults").sample(range(1, workers + 1), 2)
        return Faults(silent=frozenset({silent}), slow={slow: factor})

    return draw


def interruptions(workers: int, number: int, *, within: float) -> DrawFaults:
    """Return a function that draws Spot interruptions of some tasks.

    Args:
        workers: Number of tasks from which the interrupted ones are drawn.
        number: Number of interruptions.
        within: Seconds from the launch within which they are announced.
    """

    def draw(seed: int) -> Faults:
        rng = random.Random(f"{seed} interruptions")
        tasks = rng.sample(range(1, workers + 1), number)
        return Faults(interrupted={task: rng.uniform(60, within) for task in tasks})

    return draw


SCENARIOS = (
    Scenario(
        name="A",
        title="30 of 20 s, one silent task, one 4 times slower",
        audio_seconds=varied(30, 20),
        workers=6,
        faults=one_silent_one_slow(6, 4.0),
    ),
    Scenario(
        name="A2",
        title="30 of 120 s, one silent task, one 4 times slower",
        audio_seconds=varied(30, 120),
        workers=6,
        faults=one_silent_one_slow(6, 4.0),
    ),
    Scenario(
        name="A3",
        title="30 of 120 s, first task 4 times slower",
        audio_seconds=varied(30, 120),
        workers=6,
        faults=first_slow(4.0),
    ),
    Scenario(
        name="S1",
        title="20 equal of 10 s, first task 2 times slower",
        audio_seconds=equal(20, 10),
        faults=first_slow(2.0),
    ),
    Scenario(
        name="S2",
        title="30 of 120 s, first task 2 times slower",
        audio_seconds=varied(30, 120),
        workers=6,
        faults=first_slow(2.0),
    ),
    Scenario(
        name="S3",
        title="30 of 120 s, first task 1.5 times slower",
        audio_seconds=varied(30, 120),
        workers=6,
        faults=first_slow(1.5),
    ),
    Scenario(
        name="M0",
        title="20 equal of 10 s, first task silent",
        audio_seconds=equal(20, 10),
        faults=first_silent,
    ),
    Scenario(
        name="M1",
        title="one of 10 s, first task silent",
        audio_seconds=equal(1, 10),
        faults=first_silent,
        has_goals=False,
    ),
    Scenario(
        name="M2",
        title="20 equal of 10 s, all tasks that are allowed at first silent",
        audio_seconds=equal(20, 10),
        workers=2,
        faults=lambda _seed: Faults(silent=frozenset({1, 2})),
        has_goals=False,
    ),
    Scenario(
        name="L",
        title="20 equal of 10 s, all starts of the later run 4 times longer",
        audio_seconds=equal(20, 10),
        later_startup=4.0,
        has_goals=False,
    ),
    Scenario(name="B", title="12 equal of 60 s", audio_seconds=equal(12, 60)),
    Scenario(name="B4", title="12 equal of 300 s", audio_seconds=equal(12, 300)),
    Scenario(name="B5", title="12 equal of 300 s", audio_seconds=equal(12, 300), workers=5),
    Scenario(name="B6", title="12 equal of 300 s", audio_seconds=equal(12, 300), workers=6),
    Scenario(name="C", title="200 equal of 1 s", audio_seconds=equal(200, 1)),
    Scenario(name="D", title="3 equal of 1200 s", audio_seconds=equal(3, 1200), has_goals=False),
    Scenario(
        name="F",
        title="60 of 120 s, 3 Spot interruptions",
        audio_seconds=varied(60, 120),
        workers=6,
        faults=interruptions(6, 3, within=500),
        has_goals=False,
    ),
    Scenario(
        name="F2",
        title="20 of 600 s, 3 Spot interruptions",
        audio_seconds=varied(20, 600),
        faults=interruptions(4, 3, within=1200),
        has_goals=False,
    ),
    Scenario(name="H", title="20 equal of 10 s", audio_seconds=equal(20, 10)),
    Scenario(name="H2", title="8 equal of 12 s", audio_seconds=equal(8, 12)),
    Scenario(
        name="N",
        title="2,000 equal of 10 s",
        audio_seconds=equal(2000, 10),
        workers=100,
        has_goals=False,
        is_large=True,
    ),
    Scenario(
        name="N2",
        title="10,000 equal of 10 s",
        audio_seconds=equal(10_000, 10),
        workers=500,
        has_goals=False,
        is_large=True,
    ),
)
