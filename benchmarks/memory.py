"""What twenty scenes of 50 MB cost in memory, and what one render does.

    python benchmarks/memory.py [--scenes 20] [--megabytes 50] [--no-render]

The real client, which is this process, and the real service, which is another, with a stand-in for
the render child that makes 50 MB too. Growth is from the resident memory after one such scene to
the highest that the kernel saw during the twenty (``VmHWM``, set back in between). Then the peak of
a real render child with all that it starts: a minute at 1080p with zoom and subtitles. Exits with
1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import anyio
from renders import renderers
from renders.goals import PEAK
from renders.inputs import FULL_FEATURED, make_inputs
from stand_in.making import SERVE, make_scenes, one_worker

from cloudburst import Client, Limits

CLIENT_GOAL, SERVER_GOAL = 40.0, 60.0
"""Megabytes that the two may grow by."""
RENDER_SECONDS = 60


def resident(process: str, field: str) -> float:
    """Megabytes: ``VmRSS`` is now, ``VmHWM`` the most since the last reset."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert found, status
    return int(found[1]) / 1024


def reset_peak(process: str) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def server() -> str:
    """Return the worker's process: the child of this one that serves."""
    wanted = "\0".join(SERVE)
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            if wanted in Path(f"/proc/{child}/cmdline").read_text():
                return child
    sys.exit("the worker was not found")


async def growth(folder: Path, number: int, size: int) -> tuple[float, float]:
    """Megabytes by which the client and the server grow."""
    first, *rest = await anyio.to_thread.run_sync(make_scenes, folder, number + 1, size)
    backend = one_worker(folder, seconds=0.2, size=size)
    async with Client(backend, limits=Limits(workers=1, idle=60)) as client:
        await client.render(first, to=folder / "out")
        processes = ("self", server())
        before = [resident(process, "VmRSS") for process in processes]
        for process in processes:
            reset_peak(process)
        report = await client.render_all(rest, to=folder / "out")
        report.raise_for_failures()
        after = [resident(process, "VmHWM") for process in processes]
    for who, old, new in zip(("client", "server"), before, after, strict=True):
        print(f"{who}: {old:.0f} MB after one scene, at most {new:.0f} MB with {number}")
    return after[0] - before[0], after[1] - before[1]


def verdict(what: str, found: float, goal: float) -> bool:
    print(f"{what}: {found:.0f} MB, goal {goal:g}: {'met' if found < goal else 'MISSED'}")
    return found < goal


def main() -> int:
    parser = argparse.ArgumentParser(description="What scenes and renders cost in memory.")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--no-render", action="store_true", help="leave the real render out")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = name  # the user's own measurements stay as they are
        folder = Path(name)
        client, service = anyio.run(growth, folder, said.scenes, said.megabytes * 1_000_000)
        met = [
            verdict("client grows by", client, CLIENT_GOAL),
            verdict("server grows by", service, SERVER_GOAL),
        ]
        if not said.no_render:
            inputs = make_inputs(folder, RENDER_SECONDS)
            cost = renderers.ours().run(FULL_FEATURED, inputs, folder / "job")
            met.append(verdict("a render child's peak", cost.peak, PEAK))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
