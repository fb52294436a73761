"""Runs whose scenes come while others render, the known list, and one client for each scene."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from statistics import median
from typing import NamedTuple

import anyio
from cloud.virtual import (
    SourceError,
    log_normal,
    render_scenes,
    render_source,
    run_in_virtual_time,
    scene,
)

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.run import Run
from cloudburst.models.limits import Limits
from cloudburst.models.report import Report
from cloudburst.models.scene import CheckedScene
from schedules.table import print_goal
from schedules.task_model import TaskModel

SOURCES_ROW = "sources"
SCENES, MEDIAN_SECONDS, WORKERS = 30, 20.0, 4
"""Number of scenes, median of their audio lengths in seconds, and limit of the tasks."""
MAX_SEEDS = 3
"""Largest number of seeds, because each of them is 34 runs for each source."""
WALL_GOAL, BILL_GOAL, ALONE_GOAL = 1.1, 1.1, 1.005
"""Wall time over `Outcome.latest_end`, the bill over that of the list, and the bill over that of
one client for each scene, at most. Scenes that come rarely are rendered as by one client each."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a program does between its scenes."""

    name: str
    pause: float = 0.0
    """Seconds before each burst of scenes."""
    burst: int = 1
    """Number of scenes of a burst, which come at once."""
    stop: float = 0.0
    """Further seconds before the second half of the scenes."""
    needs: int = 0
    """How many scenes earlier the scene is whose video the next one needs; 0: it needs none."""
    raises: bool = False
    """True if an error ends the source after two thirds of the scenes."""
    faulty: bool = False
    """True if every third scene has a fault."""


SOURCES = (
    Source("instant"),
    Source("fast", pause=1),
    Source("slow 30", pause=30),
    Source("slow 60", pause=60),
    Source("slow 90", pause=90),
    Source("slow 120", pause=120),
    Source("slow 600", pause=600),
    Source("bursty", pause=300, burst=10),
    Source("stopping", pause=1, stop=1200),
    Source("needing 1", needs=1),
    Source("needing 4", needs=4),
    Source("faulty", pause=1, faulty=True),
    Source("failing", pause=1, raises=True),
)


class Outcome(NamedTuple):
    """Result of a source, beside those of other ways to render the scenes that came."""

    report: Report
    source_seconds: float
    """Seconds until the source ends, if it never waits until it is asked for a scene."""
    known: Report
    """Report of the list of these scenes."""
    alone: Sequence[Report]
    """Reports of clients that render one scene each."""

    @property
    def latest_end(self) -> float:
        """Later one of the end of the list, and that of the source with its last scene alone."""
        last = self.alone[-1].wall_seconds
        return max(self.known.wall_seconds, self.source_seconds + last)

    @property
    def wall_ratio(self) -> float:
        return self.report.wall_seconds / self.latest_end

    @property
    def bill_ratio(self) -> float:
        """Bill over that of the list."""
        return float(self.report.cost.usd / self.known.cost.usd)

    @property
    def bill_over_alone(self) -> float:
        """Bill over that of one client for each scene."""
        return float(self.report.cost.usd / sum(each.cost.usd for each in self.alone))

    @property
    def is_limited_by_source(self) -> bool:
        """True if the source takes longer than the list, so that tasks wait for scenes."""
        return self.source_seconds > self.known.wall_seconds


def measure_sources(model: TaskModel, seeds: int, hour_usd: Decimal) -> bool:
    """Print how long sources take and what they cost, and return whether all goals are met."""
    print(
        f"{SOURCES_ROW}: {SCENES} of {MEDIAN_SECONDS:g} s, at most {WORKERS} tasks, later runs\n"
        f"  {'':10} {'wall':>8} {'/ end':>6} {'worst':>6} {'bill':>8} {'/ list':>6} {'worst':>6} "
        f"{'/ alone':>7} {'tasks':>5} {'list':>5}"
    )
    results = {
        source: [run_source(source, model, seed, hour_usd) for seed in range(min(seeds, MAX_SEEDS))]
        for source in SOURCES
    }
    for source, outcomes in results.items():
        middle = partial(_middle, outcomes)
        print(
            f"  {source.name:10} {middle(lambda o: o.report.wall_seconds):6.0f} s "
            f"{middle(lambda o: o.wall_ratio):6.2f} {max(o.wall_ratio for o in outcomes):6.2f} "
            f"${middle(lambda o: float(o.report.cost.usd)):7.4f} "
            f"{middle(lambda o: o.bill_ratio):6.2f} {max(o.bill_ratio for o in outcomes):6.2f} "
            f"{middle(lambda o: o.bill_over_alone):7.2f} "
            f"{middle(lambda o: len(o.report.workers)):5.0f} "
            f"{middle(lambda o: len(o.known.workers)):5.0f}",
            flush=True,
        )
    wall = max(_middle(outcomes, lambda o: o.wall_ratio) for outcomes in results.values())
    bill = max(
        _middle(outcomes, lambda o: o.bill_ratio)
        for outcomes in results.values()
        if not any(o.is_limited_by_source for o in outcomes)
    )
    alone = max(o.bill_over_alone for outcomes in results.values() for o in outcomes)
    checks = (
        print_goal(
            f"{wall:.2f} times the later end of the list, and of the source with its last scene; "
            f"at most {WALL_GOAL}",
            met=wall <= WALL_GOAL,
        ),
        print_goal(
            f"{bill:.2f} times the bill of the list if the source is faster; at most {BILL_GOAL}",
            met=bill <= BILL_GOAL,
        ),
        print_goal(
            f"{alone:.3f} times the bill of one client for each scene; at most {ALONE_GOAL}",
            met=alone <= ALONE_GOAL,
        ),
    )
    return all(checks)


def _middle(outcomes: Sequence[Outcome], value: Callable[[Outcome], float]) -> float:
    return median(map(value, outcomes))


def run_source(
    source: Source, model: TaskModel, seed: int, hour_usd: Decimal, *, number: int = SCENES
) -> Outcome:
    """Run a source of some scenes, and the comparisons, with measurements of an earlier run.

    All tasks start equally fast: otherwise their start-ups would differ between the runs.
    """
    model = replace(model, startup_spread=0.0)
    lengths = {f"s{n}": s for n, s in enumerate(log_normal(seed, number, median=MEDIAN_SECONDS))}
    encodes = {
        name: model.seconds_per_work * scene_work(scene(name, seconds))
        for name, seconds in lengths.items()
    }
    limits, measurements = Limits(workers=WORKERS, hour_usd=hour_usd), Measurements()
    given, source_seconds = dict[str, float](), 0.0

    async def scenes(run: Run) -> AsyncIterator[CheckedScene | None]:
        nonlocal source_seconds
        for position, (name, seconds) in enumerate(lengths.items()):
            pause = source.pause if position % source.burst == 0 else 0.0
            pause += source.stop if position == number // 2 else 0.0
            source_seconds += pause
            await anyio.sleep(pause)
            if source.needs and position >= source.needs:
                asked = anyio.current_time()
                await run.video(f"s{position - source.needs}")
                source_seconds += anyio.current_time() - asked
            if source.raises and position >= 2 * number / 3:
                raise SourceError
            if source.faulty and position % 3 == 2:
                yield None
            else:
                given[name] = seconds
                yield scene(name, seconds)

    def run(render: Callable[..., Awaitable[Report]]) -> Report:
        return run_in_virtual_time(
            partial(
                render,
                [model.cloud(encodes, seed=seed)],
                limits=limits,
                measurements=measurements,
            )
        )

    run(partial(render_scenes, audio_seconds=lengths))
    report = run(partial(render_source, source=scenes))
    return Outcome(
        report=report,
        source_seconds=source_seconds,
        known=run(partial(render_scenes, audio_seconds=given)),
        alone=[
            run(partial(render_scenes, audio_seconds={name: seconds}))
            for name, seconds in given.items()
        ],
    )
