"""Runs that arrive at random times at one client, as in a web app, with and without warm tasks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import anyio
from cloud.virtual import log_normal, open_pool, run_in_virtual_time, scene

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.engine.open_run import open_run
from cloudburst.engine.run import RunSpec
from cloudburst.models.limits import Limits
from cloudburst.models.report import Status
from cloudburst.models.task import seconds_billed
from schedules.table import print_goal
from schedules.task_model import TaskModel

ARRIVALS_ROW = "arrivals"
RUNS, MAX_SCENES, MEDIAN_SECONDS, WORKERS = 40, 30, 20.0, 4
"""Number of runs, largest number of scenes of each, median of the audio lengths, and limit of the
tasks."""
MEAN_GAPS = (30.0, 120.0, 600.0)
"""Mean seconds between two arrivals, which follow an exponential distribution."""
MAX_SEEDS = 3
"""Largest number of seeds, because each of them is 480 runs."""
MAX_LOSS = 1.1
"""Bill and value of the time with one warm task over those with none, at most."""
IDLE: Mapping[str, float | None] = {"0": 0.0, "60 s": 60.0, "300 s": 300.0, "one warm": None}
"""Compared values of ``Limits.idle``."""


class _Result(NamedTuple):
    seconds: float
    """Mean of the times from the arrival of a run to its last video."""
    usd: float
    launches: int

    def objective(self, hour_usd: Decimal) -> float:
        """Return the bill and the value of the waiting time together, in USD."""
        return self.usd + RUNS * self.seconds * float(hour_usd) / 3600


def measure_arrivals(model: TaskModel, seeds: int, hour_usd: Decimal) -> bool:
    """Print what warm tasks save and cost, and return whether one of them is worth its price."""
    print(f"{ARRIVALS_ROW}: {RUNS} runs of up to {MAX_SCENES} scenes, at most {WORKERS} tasks")
    met, seeds = True, min(seeds, MAX_SEEDS)
    for gap in MEAN_GAPS:
        sums = dict[str, float]()
        for name, idle in IDLE.items():
            limits = Limits(workers=WORKERS, idle=idle, hour_usd=hour_usd)
            results = [
                run_in_virtual_time(partial(_serve, model, seed, gap, limits))
                for seed in range(seeds)
            ]
            seconds, usd, launches = map(mean, zip(*results, strict=True))
            sums[name] = mean(result.objective(hour_usd) for result in results)
            print(
                f"  gap {gap:3.0f} s, idle {name:8}: {seconds:6.1f} s, ${usd:.3f}, "
                f"{launches:5.1f} launches; with the value of time ${sums[name]:.3f}",
                flush=True,
            )
        ratio = sums["one warm"] / sums["0"]
        met &= print_goal(
            f"gap {gap:.0f} s: bill and value of the time with one warm task are {ratio:.2f} times "
            f"those without, at most {MAX_LOSS}",
            met=ratio <= MAX_LOSS,
        )
    return met


async def _serve(model: TaskModel, seed: int, gap: float, limits: Limits) -> _Result:
    """Let runs arrive at one client, and return what they took and cost."""
    rng = random.Random(f"{seed} arrivals")
    runs = [
        {
            f"r{run}-{n}": seconds
            for n, seconds in enumerate(
                log_normal(1000 * seed + run, rng.randint(1, MAX_SCENES), median=MEDIAN_SECONDS)
            )
        }
        for run in range(RUNS)
    ]
    encodes = {
        name: model.seconds_per_work * scene_work(scene(name, seconds))
        for run in runs
        for name, seconds in run.items()
    }
    cloud, walls = model.cloud(encodes, seed=seed), list[float]()
    async with (
        open_pool([cloud], limits, Measurements()) as pool,
        anyio.create_task_group() as tasks,
    ):

        async def render(number: int, lengths: Mapping[str, float]) -> None:
            scenes = [scene(name, seconds) for name, seconds in lengths.items()]
            async with open_run(
                RunSpec(f"run-{number}", scenes, lambda name: Path(f"{name}.mp4")), pool
            ) as run:
                report = await run.until_done()
                assert report.status is Status.COMPLETE
                walls.append(report.wall_seconds)

        for number, lengths in enumerate(runs):
            tasks.start_soon(render, number, lengths)
            await anyio.sleep(rng.expovariate(1 / gap))
    await anyio.sleep(model.stop)
    statuses = [await cloud.describe(task) for task in cloud.launched.values()]
    usages = [status.usage for status in statuses if status.usage is not None]
    usd = sum(float(seconds_billed(usage) * usage.usd_per_second) for usage in usages)
    return _Result(mean(walls), usd, len(usages))
