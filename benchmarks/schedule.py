"""Comparison of our scheduler with lower bounds, and with fixed shares of scenes for each task.

    python benchmarks/schedule.py [--seeds 20] [--rows A,A2] [--model bursts]

**Rows.** Scenarios with unequal start-up times, slow tasks, tasks that never start and interrupted
ones, in virtual time (`schedules.scenarios`, `schedules.task_model`). Each seed makes a first run,
without measurements, and a later run, with those of the first. The bound is that of a scheduler
that knows everything (`schedules.bounds`). The goals are in `schedules.table` and
`schedules.comparisons`; they are for twenty seeds and the model ``bursts``. Options: ``--rows``
measures these rows and nothing else; ``--model`` selects one of the two task models; ``--hour-usd``
sets the value of an hour of waiting; ``--plot`` writes plots of the rows to docs/images.

The row ``sources`` has runs whose scenes come while others render (`schedules.sources`). The
row ``loop`` measures how long runs with many tasks hold the event loop (`schedules.loop`).

**Sixty scenes.** Sixty scenes, whose lengths are log-normal with sigma 1 and in random order, are
rendered on six tasks. No schedule is shorter than the bound

    max(all encodes / tasks, longest encode) + start-up

Its first part is in virtual time, with `cloudburst.testing.FakeCloud`. The median of the audio
lengths is 20 s. An encode takes as long as the audio, plus or minus 10 % that cannot be predicted.
A task needs 40 s to start; an upload or download takes 1 s. Ours runs twice: without measurements,
and with those of the first run. With fixed shares, each task gets ten scenes in order of arrival
and has a queue of its own with the same engine.

Its second part has three seeds on emulated Fargate, with real processes that communicate by HTTP.
Lengths are divided by twenty, and start-up takes 8 s. The wall time includes all other work of the
client and the workers.

The goal is a median of at most 1.05 times the bound.

Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median

import anyio
from cloud.account import make_scenes, run_client
from cloud.virtual import log_normal, render_scenes, run_in_virtual_time
from schedules.measure import ROW_NAMES, measure_rows
from schedules.table import print_goal
from schedules.task_model import MODELS

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.models.limits import Limits
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Report, Status
from cloudburst.testing import EmulatorConfig, FakeCloud

SCENES, TASKS = 60, 6
MEDIAN_SECONDS, STARTUP, TRANSFER = 20.0, 40.0, 1.0
"""Median of the audio lengths, start-up of a task, and time of an upload or download, in virtual
seconds."""
GOAL = 1.05
"""Median wall time over the bound, at most."""
EMULATOR_DIVISOR, EMULATOR_SEEDS = 20.0, 3
"""Divisor of the audio lengths on the emulator, and number of seeds there."""
ACCOUNT = EmulatorConfig(
    provisioning=1.0, pending=4.0, moto=False, worker_environment={"STUB_BOOT_SECONDS": "3"}
)
ACCOUNT_STARTUP = 8.0
"""Start-up of a task on the emulator, in seconds."""
LIMITS = Limits(workers=TASKS)
PLOTS = Path(__file__).parent.parent / "docs" / "images"


def draw_encodes(seed: int, audio_seconds: Sequence[float]) -> dict[str, float]:
    """Return the encode time of each scene in seconds, by name of the scene."""
    rng = random.Random(~seed)
    return {f"s{n}": seconds * rng.uniform(0.9, 1.1) for n, seconds in enumerate(audio_seconds)}


def fake_cloud(encodes: dict[str, float]) -> FakeCloud:
    return FakeCloud(
        boot=STARTUP,
        upload=TRANSFER,
        encode=encodes.__getitem__,
        download=TRANSFER,
        rates=US_EAST_1_RATES,
    )


def lower_bound(encodes: Sequence[float], startup: float) -> float:
    return max(sum(encodes) / TASKS, *encodes) + startup


async def run_ours(
    encodes: dict[str, float], audio_seconds: Sequence[float]
) -> tuple[Report, Report]:
    """Run once without measurements, and again with those of the first run."""
    scenes, measurements = dict(zip(encodes, audio_seconds, strict=True)), Measurements()
    render = partial(render_scenes, limits=LIMITS, measurements=measurements)
    first = await render([fake_cloud(encodes)], scenes)
    return first, await render([fake_cloud(encodes)], scenes)


async def run_fixed_shares(encodes: dict[str, float], audio_seconds: Sequence[float]) -> float:
    """Return the seconds until all fixed shares are rendered."""
    scenes, ends = list(zip(encodes, audio_seconds, strict=True)), list[float]()
    size = SCENES // TASKS

    async def run_share(share: dict[str, float]) -> None:
        report = await render_scenes([fake_cloud(encodes)], share, limits=Limits(workers=1))
        ends.append(report.wall_seconds)

    async with anyio.create_task_group() as tasks:
        for begin in range(0, SCENES, size):
            tasks.start_soon(run_share, dict(scenes[begin : begin + size]))
    return max(ends)


def measure_virtual(seeds: int) -> bool:
    """Measure in virtual time, and return whether the goal is met."""
    ratios, first_ratios, fixed_ratios, tasks = [], [], [], []
    print(
        f"{'seed':>4} {'bound s':>8} {'ours s':>8} {'ratio':>6} {'tasks':>6} "
        f"{'fixed s':>8} {'ratio':>6}"
    )
    for seed in range(seeds):
        audio_seconds = log_normal(seed, SCENES, median=MEDIAN_SECONDS)
        encodes = draw_encodes(seed, audio_seconds)
        bound = lower_bound(list(encodes.values()), STARTUP)
        first, second = run_in_virtual_time(partial(run_ours, encodes, audio_seconds))
        fixed = run_in_virtual_time(partial(run_fixed_shares, encodes, audio_seconds))
        assert first.status is second.status is Status.COMPLETE
        ratios.append(second.wall_seconds / bound)
        first_ratios.append(first.wall_seconds / bound)
        fixed_ratios.append(fixed / bound)
        tasks.append(len(second.workers))
        print(
            f"{seed:4} {bound:8.1f} {second.wall_seconds:8.1f} {ratios[-1]:6.3f} {tasks[-1]:6}"
            f" {fixed:8.1f} {fixed_ratios[-1]:6.3f}",
            flush=True,
        )
    met = median(ratios) <= GOAL and median(first_ratios) <= GOAL
    for title, values in (
        ("ours / bound, with measurements", ratios),
        ("ours / bound, first run", first_ratios),
        ("fixed shares / bound", fixed_ratios),
    ):
        print(f"  {title}: median {median(values):.3f}, worst {max(values):.3f}")
    return print_goal(f"median of ours is at most {GOAL} times the bound in both runs", met=met)


def measure_emulated(folder: Path) -> bool:
    """Measure on emulated Fargate, and return whether the goal is met."""
    ratios = list[float]()
    for seed in range(EMULATOR_SEEDS):
        lengths = log_normal(seed, SCENES, median=MEDIAN_SECONDS)
        audio_seconds = [seconds / EMULATOR_DIVISOR for seconds in lengths]
        seed_folder = folder / str(seed)
        seed_folder.mkdir()
        scenes = make_scenes(seed_folder / "scenes", audio_seconds, image_bytes=100_000)
        run = run_client(ACCOUNT, scenes, seed_folder / "ours", workers=TASKS, record_events=True)
        bound = lower_bound(audio_seconds, ACCOUNT_STARTUP)
        videos = sum(size > 0 for size in run.videos.values())
        assert videos == SCENES, run.figures["errors"]
        assert not run.left_running
        ratios.append(run.wall / bound)
        print(
            f"{seed:4} {bound:8.1f} {run.wall:8.1f} {ratios[-1]:6.3f} {len(run.tasks):6}",
            flush=True,
        )
    print(f"  ours / bound: median {median(ratios):.3f}")
    met = median(ratios) <= GOAL
    return print_goal(f"median of ours is at most {GOAL} times the bound", met=met)


def _row_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names).difference(ROW_NAMES):
        msg = f"no row {', '.join(sorted(unknown))}; there are {', '.join(ROW_NAMES)}"
        raise argparse.ArgumentTypeError(msg)
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description="Our scheduler, lower bounds, and fixed shares.")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--rows", type=_row_names, help="only these rows, such as A,A2")
    parser.add_argument("--model", choices=MODELS, help="only this task model")
    parser.add_argument(
        "--hour-usd",
        type=Decimal,
        default=LIMITS.hour_usd,
        help="value of an hour of waiting, in USD",
    )
    parser.add_argument("--plot", action="store_true", help=f"write plots to {PLOTS}")
    parser.add_argument("--no-emulator", action="store_true")
    arguments = parser.parse_args()
    models = [MODELS[arguments.model]] if arguments.model else list(MODELS.values())
    met = [
        measure_rows(
            arguments.rows or ROW_NAMES,
            model,
            arguments.seeds,
            arguments.hour_usd,
            plots=PLOTS if arguments.plot else None,
        )
        for model in models
    ]
    if not arguments.rows:
        print(f"\n{SCENES} scenes on {TASKS} tasks in virtual time")
        met.append(measure_virtual(arguments.seeds))
    if not arguments.rows and not arguments.no_emulator:
        print(f"\non emulated Fargate; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
            met.append(measure_emulated(Path(name)))
    print("\ngoals: all met" if all(met) else "\ngoals: MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
