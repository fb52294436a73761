"""Memory of the client and of the service for twenty scenes of 50 MB, and of one render.

    python benchmarks/memory.py [--scenes 20] [--megabytes 50] [--no-render]

The client is in this process, the service in another one, with a fake render process that makes
videos of 50 MB. The growth is the difference between the resident memory after one scene and the
peak during twenty scenes (``VmHWM``, which is reset before). Then the peak of a real render process
with its child processes is measured: one minute of video at 1080p with zoom and subtitles. Exits
with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
from fake_render.worker import SERVICE, fake_workers, make_scenes
from renders import renderers
from renders.goals import PEAK
from renders.inputs import FULL_FEATURED, make_inputs

from cloudburst import Client, Limits

CLIENT_GOAL, SERVICE_GOAL = 40.0, 60.0
"""Growth of the client and of the service, at most, in megabytes."""
TICKS = os.sysconf("SC_CLK_TCK")
RENDER_SECONDS = 60
"""Length of the audio of the real render, in seconds."""


def resident(process: str, field: str) -> float:
    """Return the resident memory of a process, in megabytes.

    ``VmRSS`` is the current value, ``VmHWM`` the peak since the last reset.
    """
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024


def reset_peak(process: str) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def cpu_seconds(processes: Mapping[str, str]) -> float:
    """Return the CPU time of processes, whose ids are given by their names."""
    total = 0.0
    for pid in processes.values():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def service_process() -> str:
    """Return the id of the child process that runs the service."""
    wanted = "\0".join(SERVICE)
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            if wanted in Path(f"/proc/{child}/cmdline").read_text():
                return child
    sys.exit("the process of the service was not found")


async def growth(folder: Path, number: int, size: int) -> tuple[float, float]:
    """Return the growth of the client and of the service, in megabytes."""
    first, *rest = await anyio.to_thread.run_sync(make_scenes, folder, number + 1, size)
    backend = fake_workers(folder, seconds=0.2, size=size)
    async with Client(backend, limits=Limits(workers=1, idle=60)) as client:
        await client.render(first, to=folder / "out")
        processes = ("self", service_process())
        before = [resident(process, "VmRSS") for process in processes]
        for process in processes:
            reset_peak(process)
        report = await client.render_all(rest, to=folder / "out")
        report.raise_for_failures()
        after = [resident(process, "VmHWM") for process in processes]
    for name, old, new in zip(("client", "service"), before, after, strict=True):
        print(f"{name}: {old:.0f} MB after one scene, peak of {new:.0f} MB with {number} scenes")
    return after[0] - before[0], after[1] - before[1]


def print_goal(figure: str, megabytes: float, goal: float) -> bool:
    """Print a figure and its goal, and return whether the goal is met."""
    met = megabytes < goal
    print(f"{figure}: {megabytes:.0f} MB, goal {goal:g} MB: {'met' if met else 'MISSED'}")
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory of scenes and renders.")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--no-render", action="store_true", help="skip the real render")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # keeps the measurements of the user unchanged
        folder = Path(name)
        size = arguments.megabytes * 1_000_000
        client, service = anyio.run(growth, folder, arguments.scenes, size)
        met = [
            print_goal("growth of the client", client, CLIENT_GOAL),
            print_goal("growth of the service", service, SERVICE_GOAL),
        ]
        if not arguments.no_render:
            inputs = make_inputs(folder, RENDER_SECONDS)
            cost = renderers.ours().run(FULL_FEATURED, inputs, folder / "job")
            met.append(print_goal("peak of a render process", cost.peak, PEAK))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
