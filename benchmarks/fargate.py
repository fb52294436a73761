"""Our client and the old one on the same emulated Fargate: five scenes of an account's life.

    python benchmarks/fargate.py [--quick] [--no-old]

Eight scenes on four tasks, which speak onestep. Each client is a process of its own, and has an
account of its own with the same settings; the old one is ``cloudburst-fargate`` from PyPI, driven
through its ``execute_parallel_batches``. Measured are, for both:

wall
    Until the call returns: files are there, StopTask was accepted. Ours has a client to open
    first, which counts; to load AWS's libraries does not, for either.
process
    From the start of the client's process to its end: with everything.
idle
    From the moment when a worker is ready until it is asked for its first video; the 95th
    percentile, which is the worst of four.
stop
    From the last byte of a task's last video until StopTask is called; the worst of four.
calls
    To AWS until the call returns. Ours goes on looking at its tasks until they have stopped, so
    that the bill is exact; those are told, and do not count.
memory
    The peak of the client's process (``VmHWM``).

The ideal wall on four tasks is

    provisioning + pending + boot + min over shares of max over tasks of T(share)

where T is the best order of three stages, each of which does one scene at a time: upload,
generate, download. With equal scenes that is ``u + g + d + (k - 1) * max(u, g, d)`` for k of them;
u and d are bytes over the rate of a connection. Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path

from cloud.account import OURS, Ran, make_scenes, run_client
from old_client.environment import DRIVE, PACKAGE, old_python

from cloudburst.testing import EmulatorConfig

TASKS = 4
SMALL, LARGE = 100_000, 20_000_000
IDLE_GOAL, STOP_GOAL, MEMORY_GOAL = 0.5, 0.2, 100.0
"""Seconds, seconds, megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Seconds and bytes."""

    name: str
    provisioning: float = 1.0
    pending: float = 5.0
    boot: float = 3.0
    generate: tuple[float, ...] = (2.0,) * 8
    """Of each scene; its sound is as long."""
    size: int = SMALL
    """Of a picture and of a video."""
    rate: float | None = None
    """Bytes a second of each connection, in each direction."""

    @property
    def config(self) -> EmulatorConfig:
        rate = str(self.rate or 0)
        return EmulatorConfig(
            provisioning=self.provisioning,
            pending=self.pending,
            moto=False,
            worker_environment={
                "STUB_BOOT_SECONDS": str(self.boot),
                "STUB_VIDEO_BYTES": str(self.size),
                "STUB_READ_BYTES_PER_SECOND": rate,
                "STUB_WRITE_BYTES_PER_SECOND": rate,
            },
        )

    @property
    def ideal(self) -> float:
        """Seconds; see the top of this file."""
        up = 0.0 if self.rate is None else self.size * 4 / 3 / self.rate  # base64
        down = 0.0 if self.rate is None else self.size / self.rate
        start = self.provisioning + self.pending + self.boot
        return start + best_schedule(self.generate, up, down)

    @property
    def goal(self) -> float:
        """Seconds of our wall."""
        return 1.04 * self.ideal + 0.5


SCENARIOS = (
    Scenario(name="3 s boot, 2 s each"),
    Scenario(name="8 s boot", boot=8.0),
    Scenario(
        name="37 s start, 6 s boot, 10 s each",
        provisioning=12.0,
        pending=25.0,
        boot=6.0,
        generate=(10.0,) * 8,
    ),
    Scenario(name="20 MB in and out at 10 MB/s", size=LARGE, rate=10e6),
    Scenario(name="two of 8 s among eight", generate=(8.0, 8.0, *(2.0,) * 6)),
)


def best_schedule(generate: Sequence[float], up: float, down: float) -> float:
    """Seconds from ready tasks to the last byte, by trying every way to share."""

    @cache
    def on_one(share: tuple[float, ...]) -> float:
        return min((_finish(order, up, down) for order in set(permutations(share))), default=0.0)

    return min(
        max(map(on_one, shares)) for shares in _shares(tuple(sorted(generate, reverse=True)))
    )


def _shares(scenes: tuple[float, ...]) -> Iterator[tuple[tuple[float, ...], ...]]:
    """Every way to give scenes to tasks that are alike."""
    ways: set[tuple[tuple[float, ...], ...]] = {((),) * TASKS}
    for long in scenes:
        ways = {
            tuple(sorted((*way[:task], (*way[task], long), *way[task + 1 :])))
            for way in ways
            for task in range(TASKS)
        }
    yield from ways


def _finish(order: Sequence[float], up: float, down: float) -> float:
    uploaded = generated = downloaded = 0.0
    for long in order:
        uploaded += up
        generated = max(uploaded, generated) + long
        downloaded = max(generated, downloaded) + down
    return downloaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    wall: float
    process: float
    idle: float
    stop: float
    calls: int
    later_calls: int
    memory: float
    videos: int
    left_running: int

    @classmethod
    def of(cls, ran: Ran, size: int) -> Measured:
        return cls(
            wall=ran.wall,
            process=ran.process,
            idle=max(ran.ready_to_asked()),
            stop=max(ran.sent_to_stop(), default=float("inf")),
            calls=ran.calls_until_return,
            later_calls=len(ran.calls) - ran.calls_until_return,
            memory=float(ran.figures["memory"]),
            videos=sum(found == size for found in ran.videos.values()),
            left_running=ran.left_running,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table."""

    what: str
    ours: float
    old: float | None
    ideal: float | None = None
    goal: float | None = None
    exactly: bool = False

    @property
    def met(self) -> bool:
        if self.goal is None:
            return True
        return self.ours == self.goal if self.exactly else self.ours <= self.goal

    def __str__(self) -> str:
        ratio = None if self.ideal is None else self.ours / self.ideal
        cells = (self.ours, self.old, self.ideal, ratio, self.goal)
        numbers = " ".join(f"{'' if cell is None else f'{cell:.3f}':>8}" for cell in cells)
        verdict = "" if self.goal is None else "met" if self.met else "MISSED"
        return f"  {self.what:24} {numbers}  {verdict}"


def lines(scenario: Scenario, ours: Measured, old: Measured | None) -> list[Line]:
    scenes = len(scenario.generate)

    def line(what: str, name: str, **more: float | bool | None) -> Line:
        theirs = None if old is None else float(getattr(old, name))
        return Line(what=what, ours=float(getattr(ours, name)), old=theirs, **more)  # type: ignore[arg-type]

    return [
        line("wall, s", "wall", ideal=scenario.ideal, goal=scenario.goal),
        line("whole process, s", "process"),
        line("ready to first POST, s", "idle", goal=IDLE_GOAL),
        line("last byte to StopTask, s", "stop", goal=STOP_GOAL),
        line("calls to AWS", "calls", goal=None if old is None else float(old.calls)),
        line("  and after the return", "later_calls"),
        line("peak memory, MB", "memory", goal=MEMORY_GOAL),
        line("videos of the right size", "videos", goal=float(scenes), exactly=True),
        line("tasks left running", "left_running", goal=0.0, exactly=True),
    ]


def measure(scenario: Scenario, folder: Path, *, with_old: bool) -> list[Line]:
    folder.mkdir()
    scenes = make_scenes(folder / "scenes", scenario.generate, image_bytes=scenario.size)
    commands: dict[str, Sequence[str | Path]] = {"ours": (sys.executable, OURS)}
    if with_old:
        commands["old"] = (old_python(), DRIVE)
    measured = {
        who: Measured.of(
            run_client(
                scenario.config, scenes, folder / who, workers=TASKS, noted=True, command=command
            ),
            scenario.size,
        )
        for who, command in commands.items()
    }
    return lines(scenario, measured["ours"], measured.get("old"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Our client and the old one on emulated Fargate.")
    parser.add_argument("--quick", action="store_true", help="only the first scenario")
    parser.add_argument("--no-old", action="store_true", help="leave the old client out")
    said = parser.parse_args()
    with_old = not said.no_old
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{cores}; {TASKS} tasks" + (f"; old: {PACKAGE}" if with_old else ""))
    heads = " ".join(f"{head:>8}" for head in ("ours", "old", "ideal", "ratio", "goal"))
    missed = 0
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        for number, scenario in enumerate(SCENARIOS[:1] if said.quick else SCENARIOS):
            print(f"{scenario.name:26} {heads}", flush=True)
            for line in measure(scenario, Path(name) / str(number), with_old=with_old):
                print(line, flush=True)
                missed += not line.met
    print(f"goals: {missed} MISSED" if missed else "goals: all met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
