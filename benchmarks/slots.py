"""How many scenes a worker should encode at once.

    python benchmarks/slots.py [--cores 1 2] [--runs 3] [--patience 20] [--no-large]

The service's own queue (`cloudburst.service.jobs`) with the render children that it starts, in a
process that is pinned to one core and then to two; what it starts is pinned with it. Each run
renders the same set, all of it queued at once, longest first: pictures and sounds of the story, a
quarter each with zoom and subtitles, zoom alone, subtitles alone, neither. The ways take turns, so
that a slow minute falls on all of them, and each counts with its median. A run begins when the
cores have been quiet for two seconds, and counts only when other processes had less than `OTHERS`
of them; it is made again until so many have counted, or for ``--patience`` minutes.

- CPU: of all children, user and system, for one scene;
- busy: cores that were not idle while every slot had a scene;
- scenes a minute while the queue lasts: the one by the other; and its ratio to one slot a core;
- wall: of the whole set, and how much of that was the rest, in which some slots had no scene;
- memory: the most that all children held at once (PSS, one sample a second), and for one slot.

Then how many threads of a single slot could run, looked at twenty times a second, and how many
cores several such slots would keep busy if they were independent of each other: for the numbers of
cores that are not here. Then what a render holds whose picture is a PNG of 100 megapixels, the most
that the service takes. Exits with 1 when `encoder_slots` is slower than the best of the numbers
here by `SLOWER` or more, or when some size of task has too little memory for its slots.
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
from at_once.rendering import Scene, make_set, put, render_all
from at_once.watching import Cores, Threads, Watch, await_quiet
from PIL import Image
from renders.processes import measured

from cloudburst.models.tier import Tier, encoder_slots
from cloudburst.renderer.job import IMAGE

OTHERS = 0.06
"""Share of the cores that other processes may take during a run that counts."""
SLOWER = 0.03
"""What the number that we use may lose against the best one."""
SIDE = 10_000
"""Pixels: its square is the service's limit."""
LARGE = ("RGB", "RGBA", "I;16")
"""Modes of a PNG: three colours, with transparency, 16 bits of grey."""
SERVER = 150
"""Megabytes that are left for the service itself: `memory.py` says what it takes."""


class Way(NamedTuple):
    cores: int
    slots: int


def ways_on(cores: int) -> list[Way]:
    """From half a slot for each core to four."""
    numbers = sorted({math.ceil(cores * part) for part in (0.5, 1, 1.5, 2, 3, 4)})
    return [Way(cores, slots) for slots in numbers]


class Told(NamedTuple):
    cpu: float
    """Seconds, of all children, for one scene."""
    busy: float
    """Cores, while every slot had a scene."""
    wall: float
    rest: float
    peak: float
    """Megabytes of all children at once."""
    others: float
    """Share of the cores that was not ours."""

    @property
    def pace(self) -> float:
        """Scenes a minute."""
        return 60 * self.busy / self.cpu


def cpu_seconds(whose: int) -> float:
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


def told(way: Way, scenes: Sequence[Scene], numbers: Sequence[int], work: Path) -> Told:
    """One run, on the cores of these numbers."""
    os.sched_setaffinity(0, numbers)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        for place, scene in enumerate(scenes):
            put(scene, folder / str(place))
        before = cpu_seconds(resource.RUSAGE_CHILDREN), cpu_seconds(resource.RUSAGE_SELF)
        watch = Watch()
        watch.start()
        cores = Cores(numbers)
        ends = anyio.run(render_all, folder, scenes, way.slots, cores)
        peak = watch.end()
    ours = cpu_seconds(resource.RUSAGE_CHILDREN) - before[0]
    own = cpu_seconds(resource.RUSAGE_SELF) - before[1]
    last, full = ends[-1], ends[-min(way.slots, len(ends))]
    return Told(
        cpu=ours / len(scenes),
        busy=full.busy / full.at,
        wall=last.at,
        rest=last.at - full.at,
        peak=peak,
        others=(last.busy - ours - own) / (last.at * len(numbers)),
    )


def measure(ways: Sequence[Way], runs: int, patience: float, work: Path) -> dict[Way, Told]:
    """Return the median of each setup; runs with load from other processes do not count."""
    every = sorted(os.sched_getaffinity(0))
    found: defaultdict[Way, list[Told]] = defaultdict(list)
    dropped, until = 0, time.monotonic() + 60 * patience
    while time.monotonic() < until and any(len(found[way]) < runs for way in ways):
        for way in ways:
            if len(found[way]) >= runs or time.monotonic() > until:
                continue
            first = len(found[way]) % (len(every) - way.cores + 1)
            await_quiet(every[first : first + way.cores], OTHERS, until)
            scenes = make_set(max(8, 4 * way.cores))
            one = told(way, scenes, every[first : first + way.cores], work)
            if one.others < OTHERS:
                found[way].append(one)
            else:
                dropped += 1
            share = f"{one.others:.0%} of it others'"
            print(f"{name_of(way)}: {one.wall:.1f} s, {share}", file=sys.stderr, flush=True)
    os.sched_setaffinity(0, every)
    print(f"{sum(map(len, found.values()))} runs count, {dropped} do not: others worked too")
    return {
        way: Told(*(median(values) for values in zip(*all_, strict=True)))
        for way, all_ in found.items()
        if all_
    }


def name_of(way: Way) -> str:
    cores = f"{way.cores} cores" if way.cores > 1 else "1 core"
    slots = f"{way.slots} slots" if way.slots > 1 else "1 slot"
    return f"{cores}, {slots}"


def show(found: Mapping[Way, Told]) -> None:
    print(f"\n{'':36} CPU/scene   busy  scenes/min  ratio    wall    rest  MB in all  a slot")
    for way, one in found.items():
        reference = found.get(Way(way.cores, way.cores))
        ratio = f"{one.pace / reference.pace:5.2f}" if reference else "    ?"
        print(
            f"{name_of(way):36} {one.cpu:7.2f} s {one.busy:6.2f} {one.pace:9.1f}   {ratio} "
            f"{one.wall:7.1f} {one.rest:7.1f} {one.peak:9.0f} {one.peak / way.slots:8.0f}",
            flush=True,
        )


def demand(sets: int, work: Path) -> list[float]:
    """Return the shares of the time with 0, 1, 2… runnable threads of a slot, on two cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    threads = Threads()
    threads.start()
    for _ in range(sets):
        with tempfile.TemporaryDirectory(dir=work) as name:
            folder, scenes = Path(name), make_set(8)
            for place, scene in enumerate(scenes):
                put(scene, folder / str(place))
            anyio.run(render_all, folder, scenes, 1, Cores([0]))
    return threads.end()


def busy_cores(shares: Sequence[float], cores: int, slots: int) -> float:
    """Of so many cores, with slots that want theirs at random moments."""
    at_once = np.ones(1)
    for _ in range(slots):
        at_once = np.convolve(at_once, shares)
    return float(np.minimum(np.arange(at_once.size), cores) @ at_once)


def show_demand(shares: Sequence[float], found: Mapping[Way, Told]) -> None:
    words = ", ".join(f"{share:.1%} {number}" for number, share in enumerate(shares))
    print(f"\nthreads of one slot that could run: {words}")
    print("busy cores that follow, for 0.5, 0.75, 1 and 1.5 slots a core:")
    for cores in (1, 2, 4, 8, 16):
        cells = []
        for part in (0.5, 0.75, 1, 1.5):
            slots = math.ceil(cores * part)
            seen = found.get(Way(cores, slots))
            more = f" (seen {seen.busy / cores:.0%})" if seen else ""
            cells.append(f"{slots:2} {busy_cores(shares, cores, slots) / cores:4.0%}{more}")
        print(f"{cores:4} cores: " + ", ".join(cells))


def large(mode: str, work: Path) -> float:
    """Megabytes that a render with a picture of 100 megapixels holds at most."""
    (scene, *_) = make_set(1)
    grey = Image.linear_gradient("L").resize((SIDE, SIDE))
    if mode == "I;16":
        picture = Image.frombytes("I;16", (SIDE, SIDE), grey.tobytes() * 2)
    else:
        picture = Image.merge(mode, [grey] * len(mode))
    path = work / "large.png"
    picture.save(path, compress_level=1)
    folder = work / mode.replace(";", "")
    put(Scene(scene.job, {**scene.files, IMAGE: path}), folder)
    command: list[str | Path] = [sys.executable, "-m", "cloudburst.renderer.render_process", folder]
    return measured(command, folder, folder / "video.mp4").peak


def judge_pace(found: Mapping[Way, Told], every: Sequence[int]) -> bool:
    met = True
    for cores in every:
        paces = {way.slots: one.pace for way, one in found.items() if way.cores == cores}
        used = encoder_slots(cores)
        if used not in paces:
            print(f"{cores} vCPU, {used} slots: not measured, others worked all the time")
            met = False
            continue
        best = max(paces, key=paces.__getitem__)
        lost = 1 - paces[used] / paces[best]
        good = lost < SLOWER
        met = met and good
        print(
            f"{cores} vCPU, {used} slots: {lost:.1%} slower than the best ({best}): "
            f"{'met' if good else 'MISSED'}"
        )
    return met


def judge_memory(usual: float, largest: float) -> bool:
    """Whether every slot of every size could hold the largest picture at once."""
    met = True
    for tier in sorted(Tier, key=lambda tier: tier.vcpu):
        slots = encoder_slots(tier.vcpu)
        one = SERVER + (slots - 1) * usual + largest
        most = SERVER + slots * largest
        good = most < tier.memory_gb * 1024
        met = met and good
        print(
            f"{tier.vcpu} vCPU, {slots} slots, {tier.memory_gb * 1024} MB: {one:.0f} MB with one "
            f"large picture, {most:.0f} MB with {slots}: {'met' if good else 'MISSED'}"
        )
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="How many scenes a worker should encode at once.")
    parser.add_argument("--runs", type=int, default=3, help="of each way")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--patience", type=float, default=20, help="minutes for all runs")
    parser.add_argument("--no-large", action="store_true", help="leave the large pictures out")
    said = parser.parse_args()
    if max(said.cores) > len(os.sched_getaffinity(0)):
        parser.error("this process may not use so many cores")
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        work = Path(name)
        ways = [way for cores in said.cores for way in ways_on(cores)]
        found = measure(ways, said.runs, said.patience, work)
        if not found:
            sys.exit("others worked all the time: no run counts")
        show(found)
        show_demand(demand(said.runs, work), found)
        print()
        met = judge_pace(found, said.cores)
        if not said.no_large:
            peaks = {mode: large(mode, work) for mode in LARGE}
            print("\n100 megapixels: " + ", ".join(f"{m} {p:.0f} MB" for m, p in peaks.items()))
            usual = max(one.peak / way.slots for way, one in found.items())
            met = judge_memory(usual, max(peaks.values())) and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
