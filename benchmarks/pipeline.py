"""Overlap of uploads and downloads with encodes, on workers at the other end of a line.

    python benchmarks/pipeline.py [row...] [--scenes 20] [--rate 10]

The real client renders on processes of the real service with a fake render process. Proxies between
client and service have the delay and the rate of a line. The rows are:

overlap
    One worker with one encoder slot, 3 s for each encode. The files and the video of a scene have
    20 MB each, and each connection passes 10 MB per second in each direction. The encoder must be
    busy for 95 % of the time between the start of the first encode and the end of the last one.
far
    24 scenes of 1 s on one worker with two encoder slots, with a round trip of 150 ms: the slots
    must be busy for 92 % of that time.
thin
    12 scenes of 0.5 MB and 3 s on one worker, and then on up to four, with two encoder slots
    each. All of them share a line of 2 Mbit/s in each direction with a round trip of 150 ms. The
    first encode must begin within 6 s of the first ready worker, and four workers must not be
    slower than one.

The busy share is printed twice: from the client's events, and from the times of the render
processes, in which the time from the end of a process to the start of the next one is idle. The
proxies use no TLS and lose no packets. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
from fake_render.line import Line, far_away
from fake_render.worker import fake_workers, make_scenes, render_times

from cloudburst import Client, Limits, Report
from cloudburst.engine.report import covered_seconds
from cloudburst.events import Event, SceneEvent, WorkerReady

Span: TypeAlias = tuple[float, float]
"""Start and end of a phase, in seconds."""

OVERLAP_SECONDS, OVERLAP_BYTES = 3.0, 20_000_000
OVERLAP_GOAL = 0.95
"""Share of the time during which the encoder is busy, at least."""
ROUND_TRIP = 0.15
FAR_SCENES, FAR_GOAL = 24, 0.92
THIN_SCENES, THIN_BYTES, THIN_RATE = 12, 500_000, 250_000
THIN_START_GOAL = 6.0
"""Seconds from the first ready worker to the first encode, at most."""
NOISE = 1.02
"""Ratio of two wall times that differ only by chance, at most."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Scenes, workers and the line between them and the client."""

    scenes: int
    size: int
    """Size of each picture, in bytes."""
    video: int
    """Size of each video, in bytes."""
    seconds: float
    """Time of each encode."""
    line: Line
    workers: int = 1
    encoders: int = 1


@dataclass(frozen=True, kw_only=True)
class Result:
    """Report, events and times of one run."""

    setup: Setup
    report: Report
    uploads: dict[str, Span]
    encodes: dict[str, Span]
    downloads: dict[str, Span]
    first_ready: float
    """Time at which the first worker was ready."""
    renders: list[Span]
    """Times of the render processes."""

    @property
    def wall(self) -> float:
        """Seconds from the first ready worker to the last video."""
        return max(end for _, end in self.downloads.values()) - self.first_ready

    @property
    def first_encode(self) -> float:
        """Seconds from the first ready worker to the first encode."""
        return min(start for start, _ in self.encodes.values()) - self.first_ready

    def print_busy(self, goal: float) -> bool:
        """Print the shares of the time during which the slots encode; return if both are good."""
        slots = self.setup.encoders
        shares = busy_share(list(self.encodes.values()), slots), busy_share(self.renders, slots)
        by_events, by_processes = shares
        met = min(shares) >= goal
        print(f"encoder busy: {by_events:.2%} by events, {by_processes:.2%} by render processes")
        print(f"goal {goal:.0%}: {'met' if met else 'MISSED'}")
        return met


async def render(folder: Path, setup: Setup) -> tuple[Report, list[Event]]:
    scenes = await anyio.to_thread.run_sync(make_scenes, folder, setup.scenes, setup.size)
    backend = fake_workers(
        folder,
        seconds=setup.seconds,
        size=setup.video,
        workers=setup.workers,
        encoders=setup.encoders,
        wrap=partial(far_away, line=setup.line),
    )
    async with (
        Client(backend, limits=Limits(workers=setup.workers)) as client,
        client.stream(scenes, to=folder / "out") as run,
    ):
        events = [event async for event in run]
    return await run.report(), events


def run(setup: Setup) -> Result:
    """Render in a new folder, and return the times."""
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # keeps the measurements of the user unchanged
        folder = Path(name)
        report, events = anyio.run(render, folder, setup)
        renders = render_times(folder)
    report.raise_for_failures()
    uploads, encodes, downloads = phases(events)
    return Result(
        setup=setup,
        report=report,
        uploads=uploads,
        encodes=encodes,
        downloads=downloads,
        first_ready=min(event.at for event in events if isinstance(event, WorkerReady)),
        renders=renders,
    )


def phases(events: Sequence[Event]) -> tuple[dict[str, Span], dict[str, Span], dict[str, Span]]:
    """Return the spans of uploads, encodes and downloads, each by name of the scene."""
    times: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for event in events:
        if isinstance(event, SceneEvent):
            times[event.scene][event.type.removeprefix("scene.")] = event.at
    return (
        {name: (at["started"], at["uploaded"]) for name, at in times.items()},
        {name: (at["encoding"], at["encoded"]) for name, at in times.items()},
        {name: (at["encoded"], at["completed"]) for name, at in times.items()},
    )


def overlap(span: Span, others: Sequence[Span]) -> float:
    """Return the seconds of a span that at least one of the other spans covers."""
    parts = [(max(start, span[0]), min(end, span[1])) for start, end in others]
    return covered_seconds([(start, end) for start, end in parts if start < end])


def busy_share(encodes: Sequence[Span], slots: int) -> float:
    """Return the share of the slots' time, from first start to last end, in which they encode.

    The events of an end and of the next start may arrive in any order, so that more encodes than
    slots seem to run for a moment.
    """
    changes = sorted([(start, 1) for start, _ in encodes] + [(end, -1) for _, end in encodes])
    running, busy = 0, 0.0
    for (time, change), (next_time, _) in itertools.pairwise(changes):
        running += change
        busy += min(running, slots) * (next_time - time)
    return busy / (slots * (changes[-1][0] - changes[0][0]))


def overlap_row(scenes: int, rate: float) -> bool:
    """Run the row ``overlap``; return whether its goal is met."""
    size, seconds = OVERLAP_BYTES, OVERLAP_SECONDS
    line = Line(rate=rate)
    result = run(Setup(scenes=scenes, size=size, video=size, seconds=seconds, line=line))
    spans = list(result.encodes.values())
    transfer = size / rate
    ideal = transfer + scenes * seconds + transfer
    without_overlap = scenes * (seconds + 2 * transfer)
    print(
        f"overlap: {scenes} scenes: upload of {size / 1e6:g} MB, encode of {seconds:g} s, "
        "download of the same size"
    )
    for name, transfers in (("uploads", result.uploads), ("downloads", result.downloads)):
        total = sum(end - start for start, end in transfers.values())
        hidden = sum(overlap(span, spans) for span in transfers.values())
        print(f"{name:9} {total:6.1f} s, {hidden:6.1f} s of them during an encode")
    print(
        f"wall time from the first ready worker {result.wall:.1f} s; ideal {ideal:.1f} s, "
        f"without overlap {without_overlap:.1f} s"
    )
    return result.print_busy(OVERLAP_GOAL)


def far_row() -> bool:
    """Run the row ``far``; return whether its goal is met."""
    line = Line(round_trip=ROUND_TRIP)
    result = run(
        Setup(scenes=FAR_SCENES, size=90_000, video=90_000, seconds=1.0, line=line, encoders=2)
    )
    print(f"far: {FAR_SCENES} scenes of 1 s on two slots, round trip {ROUND_TRIP * 1000:g} ms")
    print(f"wall time from the first ready worker {result.wall:.1f} s")
    return result.print_busy(FAR_GOAL)


def thin_row() -> bool:
    """Run the row ``thin``; return whether its goals are met."""
    print(
        f"thin: {THIN_SCENES} scenes of {THIN_BYTES / 1e6:g} MB and 3 s, "
        f"{8 * THIN_RATE / 1e6:g} Mbit/s, round trip {ROUND_TRIP * 1000:g} ms"
    )
    results = [_thin(workers) for workers in (1, 4)]
    for result in results:
        sent = sum(scene.bytes_sent for scene in result.report.scenes) / THIN_SCENES
        tasks = len({scene.task for scene in result.report.scenes})
        print(
            f"{tasks} of {result.setup.workers} workers: wall time {result.wall:5.1f} s from the "
            f"first ready worker, first encode after {result.first_encode:4.1f} s, "
            f"{sent / 1000:.0f} kB sent for each scene"
        )
    early = all(result.first_encode <= THIN_START_GOAL for result in results)
    one, four = (result.wall for result in results)
    print(f"goal {THIN_START_GOAL:g} s to the first encode: {'met' if early else 'MISSED'}")
    print(f"goal not slower than one worker: {'met' if four <= one * NOISE else 'MISSED'}")
    return early and four <= one * NOISE


def _thin(workers: int) -> Result:
    line = Line(rate=THIN_RATE, round_trip=ROUND_TRIP, shared=True, block=4096)
    return run(
        Setup(
            scenes=THIN_SCENES,
            size=THIN_BYTES,
            video=100_000,
            seconds=3.0,
            line=line,
            workers=workers,
            encoders=2,
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Overlap of transfers with encodes.")
    parser.add_argument("rows", nargs="*", metavar="row", help="overlap, far, thin; default: all")
    parser.add_argument("--scenes", type=int, default=20, help="of the row overlap")
    parser.add_argument("--rate", type=float, default=10, help="MB per second of the row overlap")
    arguments = parser.parse_args()
    rows: dict[str, Callable[[], bool]] = {
        "overlap": partial(overlap_row, arguments.scenes, arguments.rate * 1e6),
        "far": far_row,
        "thin": thin_row,
    }
    if unknown := set(arguments.rows) - set(rows):
        parser.error(f"unknown row: {', '.join(sorted(unknown))}")
    met = [rows[name]() for name in arguments.rows or rows]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
