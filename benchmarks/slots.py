"""Comparison of numbers of encoder slots of a worker.

    python benchmarks/slots.py [--cores 1 2] [--runs 3] [--patience 20] [--no-large]

Scenes are rendered by the queue of the service (`cloudburst.service.jobs`) and its render
processes, which are all pinned to one core, and then to two cores. Each run renders the same scenes
of the story, all queued at once, longest first: a quarter each with zoom and subtitles, zoom only,
subtitles only, and neither. The setups take turns, so that a period of slow cores affects all of
them, and the table has the median of each. A run begins when other processes have used almost
nothing of the cores for two seconds. It is valid only if they used less than `MAX_OTHER_LOAD` of
the cores. Runs are repeated until enough of them are valid, or for ``--patience`` minutes.

- CPU/scene: CPU seconds of all render processes, user and system, for one scene;
- busy: number of busy cores while every slot has a scene;
- scenes/min: busy cores divided by CPU seconds for a scene; its ratio to one slot for each core;
- wall: seconds for all scenes; tail: the last part of it, in which some slots have no scene;
- MB in all: largest memory of all render processes together (PSS, one sample per second); MB/slot:
  the same for each slot.

The second part counts the runnable threads of a single slot, 20 times a second, and computes the
number of busy cores for larger machines, as if slots were independent of each other. The third part
measures the memory of a render whose picture is a PNG of 100 megapixels, the most that the service
accepts. Exits with 1 if the number of slots that `encoder_slots` returns is slower than the best
one by `MAX_LOSS` or more, or if some size of task has too little memory for its slots.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import anyio
import numpy as np
from PIL import Image
from renders.processes import measured
from service_queue.monitors import CoreMonitor, MemoryMonitor, ThreadMonitor, await_quiet
from service_queue.rendering import Scene, make_job_folder, make_set, render_all

from cloudburst.models.tier import Tier, encoder_slots
from cloudburst.renderer.job import IMAGE

MAX_OTHER_LOAD = 0.06
"""Share of the cores that other processes may use during a valid run."""
MAX_LOSS = 0.03
"""Share of scenes per minute by which `encoder_slots` may be slower than the best number."""
PICTURE_SIDE = 10_000
"""Width and height of the largest picture in pixels: the service's limit is 100 megapixels."""
PICTURE_MODES = ("RGB", "RGBA", "I;16")
"""Modes of the largest PNG: three colours, with transparency, 16 bits of grey."""
SERVICE_MEMORY = 150
"""Memory that is reserved for the service itself, in megabytes; ``memory.py`` measures it."""


class Setup(NamedTuple):
    """Number of cores, and number of encoder slots on them."""

    cores: int
    slots: int

    def __str__(self) -> str:
        cores = f"{self.cores} cores" if self.cores > 1 else "1 core"
        slots = f"{self.slots} slots" if self.slots > 1 else "1 slot"
        return f"{cores}, {slots}"


def setups_on(cores: int) -> list[Setup]:
    """Return setups with half a slot to four slots for each core."""
    numbers = sorted({math.ceil(cores * part) for part in (0.5, 1, 1.5, 2, 3, 4)})
    return [Setup(cores, slots) for slots in numbers]


class Figures(NamedTuple):
    """Figures of one run, or their medians."""

    cpu: float
    """CPU seconds of all render processes for one scene."""
    busy: float
    """Number of busy cores while every slot had a scene."""
    wall: float
    """Seconds for all scenes."""
    tail: float
    """Seconds at the end, during which some slots had no scene."""
    peak: float
    """Largest memory of all render processes together, in megabytes."""
    others: float
    """Share of the cores that other processes used."""

    @property
    def scenes_per_minute(self) -> float:
        """Number of scenes per minute while every slot has a scene."""
        return 60 * self.busy / self.cpu


def cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def run(setup: Setup, scenes: Sequence[Scene], cores: Sequence[int], work: Path) -> Figures:
    """Render all scenes once, on the cores with these numbers."""
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        for index, scene in enumerate(scenes):
            make_job_folder(scene, folder / str(index))
        before = cpu_seconds(resource.RUSAGE_CHILDREN), cpu_seconds(resource.RUSAGE_SELF)
        memory = MemoryMonitor()
        memory.start()
        ends = anyio.run(render_all, folder, scenes, setup.slots, CoreMonitor(cores))
        peak = memory.end()
    children = cpu_seconds(resource.RUSAGE_CHILDREN) - before[0]
    own = cpu_seconds(resource.RUSAGE_SELF) - before[1]
    last, tail_start = ends[-1], ends[-min(setup.slots, len(ends))]
    return Figures(
        cpu=children / len(scenes),
        busy=tail_start.busy / tail_start.at,
        wall=last.at,
        tail=last.at - tail_start.at,
        peak=peak,
        others=(last.busy - children - own) / (last.at * len(cores)),
    )


def measure(
    setups: Sequence[Setup], runs: int, patience: float, work: Path
) -> dict[Setup, Figures]:
    """Return the medians of the valid runs of each setup.

    Args:
        setups: Setups to measure.
        runs: Number of valid runs of each setup.
        patience: Minutes after which no further run is started.
        work: Folder for temporary files.
    """
    all_cores = sorted(os.sched_getaffinity(0))
    valid: defaultdict[Setup, list[Figures]] = defaultdict(list)
    invalid, until = 0, time.monotonic() + 60 * patience
    while time.monotonic() < until and any(len(valid[setup]) < runs for setup in setups):
        for setup in setups:
            if len(valid[setup]) >= runs or time.monotonic() > until:
                continue
            first = len(valid[setup]) % (len(all_cores) - setup.cores + 1)
            cores = all_cores[first : first + setup.cores]
            await_quiet(cores, MAX_OTHER_LOAD, until)
            figures = run(setup, make_set(max(8, 4 * setup.cores)), cores, work)
            if figures.others < MAX_OTHER_LOAD:
                valid[setup].append(figures)
            else:
                invalid += 1
            load = f"other processes used {figures.others:.0%} of the cores"
            print(f"{setup}: {figures.wall:.1f} s, {load}", file=sys.stderr, flush=True)
    os.sched_setaffinity(0, all_cores)
    number = sum(map(len, valid.values()))
    print(f"{number} valid runs; {invalid} runs with too much load from other processes")
    return {
        setup: Figures(*(median(values) for values in zip(*figures_of_runs, strict=True)))
        for setup, figures_of_runs in valid.items()
        if figures_of_runs
    }


def print_figures(found: Mapping[Setup, Figures]) -> None:
    print(
        f"\n{'':36} {'CPU/scene':>9} {'busy':>6} {'scenes/min':>10} {'ratio':>5} {'wall s':>7} "
        f"{'tail s':>7} {'MB in all':>9} {'MB/slot':>8}"
    )
    for setup, figures in found.items():
        reference = found.get(Setup(setup.cores, setup.cores))
        pace = figures.scenes_per_minute
        ratio = f"{pace / reference.scenes_per_minute:5.2f}" if reference else "?"
        print(
            f"{setup!s:36} {figures.cpu:7.2f} s {figures.busy:6.2f} {pace:10.1f} {ratio:>5} "
            f"{figures.wall:7.1f} {figures.tail:7.1f} {figures.peak:9.0f} "
            f"{figures.peak / setup.slots:8.0f}",
            flush=True,
        )


def runnable_threads(sets: int, work: Path) -> list[float]:
    """Return the shares of the time with 0, 1, 2… runnable threads of a slot, on two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    threads = ThreadMonitor()
    threads.start()
    for _ in range(sets):
        with tempfile.TemporaryDirectory(dir=work) as name:
            folder, scenes = Path(name), make_set(8)
            for index, scene in enumerate(scenes):
                make_job_folder(scene, folder / str(index))
            anyio.run(render_all, folder, scenes, 1, CoreMonitor([0]))
    return threads.end()


def busy_cores(shares: Sequence[float], cores: int, slots: int) -> float:
    """Return the expected number of busy cores with independent slots.

    ``shares`` are those of `runnable_threads` for one slot.
    """
    distribution = np.ones(1)
    for _ in range(slots):
        distribution = np.convolve(distribution, shares)
    return float(np.minimum(np.arange(distribution.size), cores) @ distribution)


def print_forecast(shares: Sequence[float], found: Mapping[Setup, Figures]) -> None:
    """Print the expected share of busy cores for several machines, and the measured one."""
    counts = ", ".join(f"{number}: {share:.1%}" for number, share in enumerate(shares))
    print(f"\nrunnable threads of one slot, by share of the time: {counts}")
    print("expected busy cores, with 0.5, 0.75, 1 and 1.5 slots for each core:")
    for cores in (1, 2, 4, 8, 16):
        cells = []
        for part in (0.5, 0.75, 1, 1.5):
            slots = math.ceil(cores * part)
            figures = found.get(Setup(cores, slots))
            measured_share = f" (measured {figures.busy / cores:.0%})" if figures else ""
            expected = busy_cores(shares, cores, slots) / cores
            cells.append(f"{slots:2} slots {expected:4.0%}{measured_share}")
        print(f"{cores:4} cores: " + ", ".join(cells))


def large_picture_memory(mode: str, work: Path) -> float:
    """Return the peak memory of a render with a picture of 100 megapixels, in megabytes."""
    (scene, *_) = make_set(1)
    grey = Image.linear_gradient("L").resize((PICTURE_SIDE, PICTURE_SIDE))
    if mode == "I;16":
        picture = Image.frombytes("I;16", (PICTURE_SIDE, PICTURE_SIDE), grey.tobytes() * 2)
    else:
        picture = Image.merge(mode, [grey] * len(mode))
    path = work / "large.png"
    picture.save(path, compress_level=1)
    folder = work / mode.replace(";", "")
    make_job_folder(Scene(scene.job, {**scene.files, IMAGE: path}), folder)
    command: list[str | Path] = [sys.executable, "-m", "cloudburst.renderer.render_process", folder]
    return measured(command, folder, folder / "video.mp4").peak


def judge_pace(found: Mapping[Setup, Figures], core_numbers: Sequence[int]) -> bool:
    """Return whether `encoder_slots` is fast enough for each number of cores."""
    met = True
    for cores in core_numbers:
        paces = {
            setup.slots: figures.scenes_per_minute
            for setup, figures in found.items()
            if setup.cores == cores
        }
        used = encoder_slots(cores)
        if used not in paces:
            print(f"{cores} vCPU, {used} slots: no valid run, because of other processes: MISSED")
            met = False
            continue
        best = max(paces, key=paces.__getitem__)
        loss = 1 - paces[used] / paces[best]
        good = loss < MAX_LOSS
        met = met and good
        print(
            f"{cores} vCPU, {used} slots: {loss:.1%} slower than the best number ({best}): "
            f"{'met' if good else 'MISSED'}"
        )
    return met


def judge_memory(usual: float, largest: float) -> bool:
    """Return whether all slots of each size of task can render the largest picture at once.

    Args:
        usual: Memory of a usual render, in megabytes.
        largest: Memory of a render of the largest picture, in megabytes.
    """
    met = True
    for tier in sorted(Tier, key=lambda tier: tier.vcpu):
        slots = encoder_slots(tier.vcpu)
        with_one = SERVICE_MEMORY + (slots - 1) * usual + largest
        with_all = SERVICE_MEMORY + slots * largest
        good = with_all < tier.memory_gb * 1024
        met = met and good
        print(
            f"{tier.vcpu} vCPU, {slots} slots, {tier.memory_gb * 1024} MB: {with_one:.0f} MB with "
            f"one large picture, {with_all:.0f} MB with {slots}: {'met' if good else 'MISSED'}"
        )
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="Numbers of encoder slots of a worker.")
    parser.add_argument("--runs", type=int, default=3, help="valid runs of each setup")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--patience", type=float, default=20, help="minutes for all runs")
    parser.add_argument("--no-large", action="store_true", help="skip the large pictures")
    arguments = parser.parse_args()
    if max(arguments.cores) > len(os.sched_getaffinity(0)):
        parser.error("--cores: this process may not use as many cores")
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        work = Path(name)
        setups = [setup for cores in arguments.cores for setup in setups_on(cores)]
        found = measure(setups, arguments.runs, arguments.patience, work)
        if not found:
            sys.exit("no valid run: other processes used the cores; repeat on an idle machine")
        print_figures(found)
        print_forecast(runnable_threads(arguments.runs, work), found)
        print()
        met = judge_pace(found, arguments.cores)
        if not arguments.no_large:
            peaks = {mode: large_picture_memory(mode, work) for mode in PICTURE_MODES}
            cells = ", ".join(f"{mode} {peak:.0f} MB" for mode, peak in peaks.items())
            print(f"\npicture of 100 megapixels: {cells}")
            usual = max(figures.peak / setup.slots for setup, figures in found.items())
            met = judge_memory(usual, max(peaks.values())) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
