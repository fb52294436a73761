"""Time and cost of twenty scenes on this machine, on Fargate, and on both at once (burst).

    python benchmarks/burst.py [--seeds 20]

All runs are in virtual time, with `cloudburst.testing.FakeCloud`. There is one local worker with
two cores, which is healthy after 1.5 s, and there are up to four tasks of 2 vCPU, which need 40 s
to start and encode two scenes at once. Idle slots share the scenes that the forecast expects to be
shared.

Speeds are those that plans assume. A second of work, which is a second of audio with
``motion_search`` (see `cloudburst.engine.forecast.scene_work.scene_work`), takes our render service
0.17 s of a core. A vCPU does 0.63 of the work of a core when all vCPUs are busy. The public image
takes 85 times as long as our service and encodes one scene at a time. An upload or download takes
1 s with a task, and 0.1 s with the local worker. A task is billed from 8 s after its launch to 15 s
after its stop, at list prices of us-east-1.

Each seed draws audio lengths from a log-normal distribution with sigma 1, and changes the time of
each encode by up to 10 %. All three setups have the measurements of an earlier run and the same
scaling rule. The table has mean seconds, USD and number of tasks for each median of the audio
lengths. The bound is the mean of the seconds that no schedule on the local worker and all tasks can
fall below, at any cost (`schedules.bounds`). Goals, for each seed: burst takes at most 1.02
times as long as the faster of the other two setups, and costs at most as much as Fargate only.
Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from cloud.virtual import log_normal, render_scenes, run_in_virtual_time, scene
from schedules.bounds import BoundWorker, wall_bound

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.scene_work import MIN_SHARED_WORK, scene_work
from cloudburst.models.limits import Limits
from cloudburst.models.performance import (
    NATIVE_CPU_SECONDS_PER_WORK,
    ONESTEP_PARALLEL,
    ONESTEP_SERIAL,
    SECONDS_PER_VCPU_SECOND,
    Sample,
)
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Report, Status
from cloudburst.testing import FakeCloud

SCENES, CORES, TASKS = 20, 2, 4
CORE_SECONDS, VCPU_FACTOR = NATIVE_CPU_SECONDS_PER_WORK, SECONDS_PER_VCPU_SECOND
PUBLIC_IMAGE_FACTOR = (ONESTEP_SERIAL + ONESTEP_PARALLEL) / NATIVE_CPU_SECONDS_PER_WORK
"""Seconds of a core for a second of work with our service; the factors by which a vCPU and the
public image take longer."""
TASK_STARTUP, LOCAL_STARTUP, PULL_START, TASK_END = 40.0, 1.5, 8.0, 15.0
"""Virtual seconds: start-up of a task and of the local worker; from the launch of a task to the
start of its bill; from its stop to the end of its bill."""
LOCAL_TRANSFER, TASK_TRANSFER = 0.1, 1.0
"""Virtual seconds of an upload or download."""
LIMITS = Limits(workers=TASKS)
MAX_SLOWDOWN = 1.02
"""Wall time of burst over that of the faster of the other two setups, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Scenes to render, and the speed of the tasks."""

    name: str
    median_seconds: float
    """Median of the distribution of audio lengths, in seconds."""
    task_seconds_per_work: float = CORE_SECONDS * VCPU_FACTOR
    """Seconds that an encode on a task takes for a second of work."""
    encoders: int = 2
    """Encoder slots of each task."""


WORKLOADS = (
    Workload(name="5 s", median_seconds=5.0),
    Workload(name="15 s", median_seconds=15.0),
    Workload(name="30 s", median_seconds=30.0),
    Workload(name="60 s", median_seconds=60.0),
    Workload(name="240 s", median_seconds=240.0),
    Workload(
        name="30 s, public image",
        median_seconds=30.0,
        task_seconds_per_work=CORE_SECONDS * VCPU_FACTOR * PUBLIC_IMAGE_FACTOR,
        encoders=1,
    ),
)


def local_cloud(works: Mapping[str, float]) -> FakeCloud:
    return FakeCloud(
        name="local",
        capacity=1,
        encoders=CORES,
        boot=LOCAL_STARTUP,
        upload=LOCAL_TRANSFER,
        encode=lambda name: CORE_SECONDS * works[name],
        shared_from=CORE_SECONDS * MIN_SHARED_WORK,
        download=LOCAL_TRANSFER,
    )


def remote_cloud(workload: Workload, works: Mapping[str, float]) -> FakeCloud:
    return FakeCloud(
        name="remote",
        encoders=workload.encoders,
        boot=TASK_STARTUP,
        pull_after=PULL_START,
        upload=TASK_TRANSFER,
        encode=lambda name: workload.task_seconds_per_work * works[name],
        shared_from=workload.task_seconds_per_work * MIN_SHARED_WORK,
        download=TASK_TRANSFER,
        stop_takes=0.2,
        ends_after=TASK_END,
        rates=US_EAST_1_RATES,
    )


def earlier_run(workload: Workload) -> Measurements:
    """Return the measurements of an earlier run."""
    measurements = Measurements()
    for kind, startup, seconds_per_work, transfer, stop in (
        ("local", LOCAL_STARTUP, CORE_SECONDS, 2 * LOCAL_TRANSFER, 0.0),
        (
            *("remote", TASK_STARTUP, workload.task_seconds_per_work),
            *(2 * TASK_TRANSFER, TASK_END),
        ),
    ):
        for work in range(1, 41):
            seconds = seconds_per_work * work * (0.9 if work % 2 else 1.1)
            measurements.add(Sample(kind=kind, measure="encode", seconds=seconds, work=work))
        measurements.add(Sample(kind=kind, measure="startup", seconds=startup))
        measurements.add(Sample(kind=kind, measure="transfer", seconds=transfer))
        measurements.add(Sample(kind=kind, measure="stop", seconds=stop))
    return measurements


def draw_lengths(workload: Workload, seed: int) -> dict[str, float]:
    """Return the audio length of each scene in seconds, by name of the scene."""
    lengths = log_normal(seed, SCENES, median=workload.median_seconds)
    return {f"s{n}": seconds for n, seconds in enumerate(lengths)}


def draw_works(workload: Workload, seed: int) -> dict[str, float]:
    """Return the work of each scene in seconds, by name of the scene."""
    rng = random.Random(~seed)
    return {
        name: scene_work(scene(name, seconds)) * rng.uniform(0.9, 1.1)
        for name, seconds in draw_lengths(workload, seed).items()
    }


def lower_bound(workload: Workload, seed: int) -> float:
    """Return the seconds that no run on the local worker and all tasks can fall below."""
    local = BoundWorker(
        startup=LOCAL_STARTUP,
        slots=CORES,
        transfer=LOCAL_TRANSFER,
        slowness=CORE_SECONDS,
        shared_from=MIN_SHARED_WORK,
    )
    task = BoundWorker(
        startup=TASK_STARTUP,
        slots=workload.encoders,
        transfer=TASK_TRANSFER,
        slowness=workload.task_seconds_per_work,
        shared_from=MIN_SHARED_WORK,
    )
    return wall_bound(list(draw_works(workload, seed).values()), [local, *[task] * TASKS])


async def run_setups(workload: Workload, seed: int) -> dict[str, Report]:
    """Render the scenes of one seed with each setup, and return the reports by setup."""
    audio_seconds, works = draw_lengths(workload, seed), draw_works(workload, seed)
    setups = {
        "local": [local_cloud(works)],
        "fargate": [remote_cloud(workload, works)],
        "burst": [local_cloud(works), remote_cloud(workload, works)],
    }
    return {
        setup: await render_scenes(
            clouds, audio_seconds, limits=LIMITS, measurements=earlier_run(workload)
        )
        for setup, clouds in setups.items()
    }


def usd(report: Report) -> Decimal:
    return report.cost.usd


def measure(workload: Workload, seeds: int) -> list[bool]:
    """Print the means of one workload, and return whether each goal is met."""
    reports = [run_in_virtual_time(partial(run_setups, workload, seed)) for seed in range(seeds)]
    assert all(r.status is Status.COMPLETE for setups in reports for r in setups.values())
    cells = list[str]()
    for setup in ("local", "fargate", "burst"):
        seconds = sum(setups[setup].wall_seconds for setups in reports) / seeds
        price = sum(usd(setups[setup]) for setups in reports) / seeds
        tasks = sum(w.cost is not None for setups in reports for w in setups[setup].workers) / seeds
        cells.append(f"{seconds:8.1f} s ${price:.4f} {tasks:4.1f}")
    bound = sum(lower_bound(workload, seed) for seed in range(seeds)) / seeds
    print(f"{workload.name:20} {'  '.join(cells)} {bound:8.1f} s", flush=True)
    slowdowns = [
        setups["burst"].wall_seconds
        / min(setups["local"].wall_seconds, setups["fargate"].wall_seconds)
        for setups in reports
    ]
    extra_usd = [usd(setups["burst"]) - usd(setups["fargate"]) for setups in reports]
    return [
        print_goal(
            f"burst takes at most {MAX_SLOWDOWN} times as long as the faster of the others: "
            f"{max(slowdowns):.3f} at worst",
            met=max(slowdowns) <= MAX_SLOWDOWN,
        ),
        print_goal(
            f"burst never costs more than Fargate only: {max(extra_usd):+.4f} USD at worst",
            met=max(extra_usd) <= 0,
        ),
    ]


def print_goal(text: str, *, met: bool) -> bool:
    """Print a goal and whether it is met, and return the latter."""
    print(f"  {'met   ' if met else 'MISSED'} {text}", flush=True)
    return met


def column_heads(names: Sequence[str]) -> str:
    return "  ".join(f"{name:>23}" for name in names)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs on this machine, on Fargate, and on both.")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    arguments = parser.parse_args()
    columns = ("local only", "Fargate only", "burst")
    print(f"{'median audio length':20} {column_heads(columns)} {'bound':>10}")
    met = [goal for workload in WORKLOADS for goal in measure(workload, arguments.seeds)]
    print("\ngoals: all met" if all(met) else f"\ngoals: {met.count(False)} MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
