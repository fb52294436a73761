"""Comparison of our client with the old one on emulated Fargate, in five scenarios.

    python benchmarks/fargate.py [number...] [--no-old]

Without the number of a scenario, from 1 to 5, all of them are measured. Each client renders eight
scenes on four tasks, with the onestep protocol, in a process and an emulated account of its own,
with the same settings. The old client is ``cloudburst-fargate`` from
PyPI, called through its ``execute_parallel_batches``. A task needs 23 s from StopTask until it has
stopped, as on AWS, so that a client that waits for this is seen to wait. These figures of both
clients are printed:

until the call returns
    Seconds from the opening of our client, or from the call of the old one, until the call returns:
    videos are downloaded and StopTask is accepted. The import of the AWS libraries is not included
    for either.
until the process ends
    Seconds from the same moment to the end of the client process, after the exit from our client.
ready to first POST
    Seconds from the time when a worker is ready until it is asked for its first video; the highest
    value of the four workers.
last byte to StopTask
    Seconds from the last byte of a worker's last video until StopTask is called; the highest value
    of the four workers.
calls to AWS
    Number of calls of the client process.
peak memory
    Peak of the client process (``VmHWM``), in megabytes.

The ideal time on four tasks until the call returns is a strict lower bound:

    provisioning + pending + boot + u + min over assignments of max over tasks of R + d

R is the sum of the render times of the scenes of a task, which renders one scene at a time; u and d
are the bytes of an upload or download divided by the rate of a connection. The rate is that of each
connection, so scenes that are transferred at the same time do not delay each other. Exits with 1 if
a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.account import OUR_CLIENT, ClientRun, make_scenes, run_client
from old_client.environment import OLD_CLIENT, PACKAGE, old_python

from cloudburst.models.performance import STOP_SECONDS
from cloudburst.testing import EmulatorConfig

TASKS = 4
SMALL, LARGE = 100_000, 20_000_000
"""Bytes."""
IDLE_GOAL, STOP_GOAL, MEMORY_GOAL = 0.5, 0.2, 100.0
"""Goals for ready to first POST and last byte to StopTask, in seconds, and for peak memory, in
megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Times of the emulated tasks, in seconds, and sizes of files, in bytes."""

    name: str
    provisioning: float = 1.0
    pending: float = 5.0
    boot: float = 3.0
    render: tuple[float, ...] = (2.0,) * 8
    """Render time of each scene, which is the length of its audio."""
    size: int = SMALL
    """Size of each picture and each video."""
    rate: float | None = None
    """Rate of each connection in each direction, in bytes per second; ``None`` for no limit."""

    @property
    def config(self) -> EmulatorConfig:
        rate = str(self.rate or 0)
        return EmulatorConfig(
            provisioning=self.provisioning,
            pending=self.pending,
            deprovisioning=STOP_SECONDS,
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
        """Ideal time in seconds, computed as described at the top of this file."""
        upload = 0.0 if self.rate is None else self.size * 4 / 3 / self.rate  # base64
        download = 0.0 if self.rate is None else self.size / self.rate
        startup = self.provisioning + self.pending + self.boot
        return startup + upload + best_schedule(self.render) + download

    @property
    def goal(self) -> float:
        """Longest time until the call of our client returns that meets the goal, in seconds."""
        return 1.04 * self.ideal + 0.5


SCENARIOS = (
    Scenario(name="3 s boot, 2 s each"),
    Scenario(name="8 s boot", boot=8.0),
    Scenario(
        name="37 s start, 6 s boot, 10 s each",
        provisioning=12.0,
        pending=25.0,
        boot=6.0,
        render=(10.0,) * 8,
    ),
    Scenario(name="20 MB in and out at 10 MB/s", size=LARGE, rate=10e6),
    Scenario(name="two of 8 s among eight", render=(8.0, 8.0, *(2.0,) * 6)),
)


def best_schedule(render: Sequence[float]) -> float:
    """Return the seconds of rendering on the busiest task in the best of all assignments."""
    scenes = tuple(sorted(render, reverse=True))
    return min(max(map(sum, assignment)) for assignment in _assignments(scenes))


def _assignments(scenes: tuple[float, ...]) -> Iterator[tuple[tuple[float, ...], ...]]:
    """Yield every assignment of scenes to identical tasks, as the scenes of each task."""
    assignments: set[tuple[tuple[float, ...], ...]] = {((),) * TASKS}
    for scene in scenes:
        assignments = {
            tuple(sorted((*assigned[:task], (*assigned[task], scene), *assigned[task + 1 :])))
            for assigned in assignments
            for task in range(TASKS)
        }
    yield from assignments


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one client, as described at the top of this file."""

    wall: float
    wall_until_exit: float
    idle: float
    stop: float
    calls: int
    memory: float
    videos: int
    left_running: int

    @classmethod
    def of(cls, run: ClientRun, video_size: int) -> Figures:
        return cls(
            wall=run.wall,
            wall_until_exit=run.wall_until_exit,
            idle=max(run.idle_seconds()),
            stop=max(run.stop_delays(), default=float("inf")),
            calls=len(run.calls),
            memory=float(run.figures["memory"]),
            videos=sum(size == video_size for size in run.videos.values()),
            left_running=run.left_running,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Line of the table: a figure of both clients, its ideal value and its goal."""

    title: str
    ours: float
    old: float | None
    ideal: float | None = None
    goal: float | None = None
    exactly: bool = False
    """True if our figure must be equal to the goal; otherwise the goal is its upper limit."""

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
        return f"  {self.title:26} {numbers}  {verdict}"


def lines(scenario: Scenario, ours: Figures, old: Figures | None) -> list[Line]:
    scenes = len(scenario.render)

    def line(title: str, name: str, **options: float | bool | None) -> Line:
        old_figure = None if old is None else float(getattr(old, name))
        figure = float(getattr(ours, name))
        return Line(title=title, ours=figure, old=old_figure, **options)  # type: ignore[arg-type]

    return [
        line("until the call returns, s", "wall", ideal=scenario.ideal, goal=scenario.goal),
        line("until the process ends, s", "wall_until_exit"),
        line("ready to first POST, s", "idle", goal=IDLE_GOAL),
        line("last byte to StopTask, s", "stop", goal=STOP_GOAL),
        line("calls to AWS", "calls", goal=None if old is None else float(old.calls)),
        line("peak memory, MB", "memory", goal=MEMORY_GOAL),
        line("videos of the right size", "videos", goal=float(scenes), exactly=True),
        line("tasks left running", "left_running", goal=0.0, exactly=True),
    ]


def measure(scenario: Scenario, folder: Path, *, with_old: bool) -> list[Line]:
    folder.mkdir()
    scenes = make_scenes(folder / "scenes", scenario.render, image_bytes=scenario.size)
    commands: dict[str, Sequence[str | Path]] = {"ours": (sys.executable, OUR_CLIENT)}
    if with_old:
        commands["old"] = (old_python(), OLD_CLIENT)
    figures = {
        client: Figures.of(
            run_client(
                scenario.config,
                scenes,
                folder / client,
                workers=TASKS,
                record_events=True,
                command=command,
            ),
            scenario.size,
        )
        for client, command in commands.items()
    }
    return lines(scenario, figures["ours"], figures.get("old"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Our client and the old one on emulated Fargate.")
    numbers = range(1, len(SCENARIOS) + 1)
    parser.add_argument("numbers", nargs="*", metavar="number", type=int, help="default: all")
    parser.add_argument("--no-old", action="store_true", help="skip the old client")
    arguments = parser.parse_args()
    if unknown := set(arguments.numbers) - set(numbers):
        parser.error(f"unknown number: {', '.join(map(str, sorted(unknown)))}")
    with_old = not arguments.no_old
    cores = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{cores}; {TASKS} tasks" + (f"; old: {PACKAGE}" if with_old else ""))
    header = " ".join(f"{column:>8}" for column in ("ours", "old", "ideal", "ratio", "goal"))
    missed = 0
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        for number in arguments.numbers or numbers:
            scenario = SCENARIOS[number - 1]
            print(f"{scenario.name:28} {header}", flush=True)
            for line in measure(scenario, Path(name) / str(number), with_old=with_old):
                print(line, flush=True)
                missed += not line.met
    print(f"goals: {missed} MISSED" if missed else "goals: all met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
