"""How close a run comes to the best that any schedule could do, and what fixed shares would take.

    python benchmarks/schedule.py [--seeds 20] [--no-emulator]

Sixty scenes whose lengths are log-normal with sigma 1, in no order, on six tasks. No schedule can
be shorter than

    max(all encodes / tasks, longest encode) + start

In virtual time, with `cloudburst.testing.FakeCloud`: half of the scenes have less than 20 s of
sound, each encodes for as long as its sound, give or take a tenth that nobody knows before; a task
needs 40 s to start, and files a second each way. Ours runs twice, without and with the figures of
the first time. Fixed shares are ten scenes for each task, as they come, each task with the same
engine and a queue of its own.

Then three seeds on emulated Fargate: real processes that speak HTTP, the same lengths divided by
twenty, eight seconds of start. All that the client and the workers need besides is in the wall.

Goal: the median of ours is no more than 1.05 of the bound. Exits with 1 when it is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import anyio
from cloud.account import make_scenes, run_client
from cloud.virtual import in_virtual_time, log_normal, rendered

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.models.limits import Limits
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Report, Status
from cloudburst.testing import EmulatorConfig, FakeCloud

SCENES, TASKS = 60, 6
MIDDLE, START, MOVE = 20.0, 40.0, 1.0
"""Virtual seconds."""
GOAL = 1.05
SMALLER, EMULATED = 20.0, 3
"""The lengths on the emulator are so much shorter, and there are so many seeds."""
ACCOUNT = EmulatorConfig(
    provisioning=1.0, pending=4.0, moto=False, worker_environment={"STUB_BOOT_SECONDS": "3"}
)
ACCOUNT_START = 8.0
LIMITS = Limits(workers=TASKS)


def encodes(seed: int, sounds: Sequence[float]) -> dict[str, float]:
    """Seconds of each scene, by its name."""
    rng = random.Random(~seed)
    return {f"s{number}": sound * rng.uniform(0.9, 1.1) for number, sound in enumerate(sounds)}


def cloud(taken: dict[str, float]) -> FakeCloud:
    return FakeCloud(
        boot=START, upload=MOVE, encode=taken.__getitem__, download=MOVE, rates=US_EAST_1_RATES
    )


def bound(taken: Sequence[float], start: float) -> float:
    return max(sum(taken) / TASKS, *taken) + start


async def ours(taken: dict[str, float], sounds: Sequence[float]) -> tuple[Report, Report]:
    """Run once without measurements, and again with those of the first run."""
    named, measurements = dict(zip(taken, sounds, strict=True)), Measurements()
    first = await rendered([cloud(taken)], named, limits=LIMITS, measurements=measurements)
    return first, await rendered([cloud(taken)], named, limits=LIMITS, measurements=measurements)


async def shares(taken: dict[str, float], sounds: Sequence[float]) -> float:
    """Seconds until the slowest of the fixed shares is done."""
    named, ends = list(zip(taken, sounds, strict=True)), list[float]()
    size = SCENES // TASKS

    async def one(share: dict[str, float]) -> None:
        report = await rendered([cloud(taken)], share, limits=Limits(workers=1))
        ends.append(report.wall_seconds)

    async with anyio.create_task_group() as tasks:
        for begin in range(0, SCENES, size):
            tasks.start_soon(one, dict(named[begin : begin + size]))
    return max(ends)


def imagined(seeds: int) -> bool:
    """Whether the goal was met in virtual time."""
    ratios, first_ratios, fixed_ratios, tasks = [], [], [], []
    print(
        f"{'seed':>4} {'bound':>8} {'ours':>8} {'ratio':>6} {'tasks':>6} {'fixed':>8} {'ratio':>6}"
    )
    for seed in range(seeds):
        sounds = log_normal(seed, SCENES, middle=MIDDLE)
        taken = encodes(seed, sounds)
        least = bound(list(taken.values()), START)
        first, second = in_virtual_time(partial(ours, taken, sounds))
        fixed = in_virtual_time(partial(shares, taken, sounds))
        assert first.status is second.status is Status.COMPLETE
        ratios.append(second.wall_seconds / least)
        first_ratios.append(first.wall_seconds / least)
        fixed_ratios.append(fixed / least)
        tasks.append(len(second.workers))
        print(
            f"{seed:4} {least:8.1f} {second.wall_seconds:8.1f} {ratios[-1]:6.3f} {tasks[-1]:6}"
            f" {fixed:8.1f} {fixed_ratios[-1]:6.3f}",
            flush=True,
        )
    met = median(ratios) <= GOAL and median(first_ratios) <= GOAL
    print(f"  ours / bound: median {median(ratios):.3f}, worst {max(ratios):.3f}")
    print(f"  without figures: median {median(first_ratios):.3f}, worst {max(first_ratios):.3f}")
    print(
        f"  fixed shares / bound: median {median(fixed_ratios):.3f}, worst {max(fixed_ratios):.3f}"
    )
    return verdict(f"median of ours is {GOAL} of the bound at most, both times", met=met)


def emulated(folder: Path) -> bool:
    """Whether it was met on emulated Fargate."""
    ratios = list[float]()
    for seed in range(EMULATED):
        sounds = [sound / SMALLER for sound in log_normal(seed, SCENES, middle=MIDDLE)]
        place = folder / str(seed)
        place.mkdir()
        scenes = make_scenes(place / "scenes", sounds, image_bytes=100_000)
        ran = run_client(ACCOUNT, scenes, place / "ours", workers=TASKS, noted=True)
        least = bound(sounds, ACCOUNT_START)
        done = sum(size > 0 for size in ran.videos.values())
        assert done == SCENES, ran.figures["errors"]
        assert not ran.left_running
        ratios.append(ran.wall / least)
        print(
            f"{seed:4} {least:8.1f} {ran.wall:8.1f} {ratios[-1]:6.3f} {len(ran.tasks):6}",
            flush=True,
        )
    print(f"  ours / bound: median {median(ratios):.3f}")
    return verdict(f"median of ours is {GOAL} of the bound at most", met=median(ratios) <= GOAL)


def verdict(what: str, *, met: bool) -> bool:
    print(f"  {'met   ' if met else 'MISSED'} {what}", flush=True)
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="Ours against the best and against fixed shares.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--no-emulator", action="store_true")
    said = parser.parse_args()
    print(f"{SCENES} scenes on {TASKS} tasks in virtual time")
    met = [imagined(said.seeds)]
    if not said.no_emulator:
        print(f"\non emulated Fargate; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
            met.append(emulated(Path(name)))
    print("\ngoals: all met" if all(met) else "\ngoals: MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
