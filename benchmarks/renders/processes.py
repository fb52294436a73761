"""Run a program to its end, and measure what its whole process tree costs."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from renders.environments import PROGRAMS

LOG = "bench.log"
SAMPLE_SECONDS = 0.02
"""Time between two samples of memory. The cheapest render takes 0.4 s."""
SAMPLING_SHARE = 0.1
"""Part of a core that sampling may take: it shares the cores with what it measures."""
QUIET = 0.06
"""Part of all cores that other processes may use during a run that counts as quiet."""


class Cost(NamedTuple):
    """Cost of one render."""

    cpu: float
    """CPU seconds, user and system, of the program and everything that it started."""
    wall: float
    """Seconds."""
    peak: float
    """Largest memory of the process tree (PSS), in megabytes."""
    size: float
    """Size of the video, in megabytes."""
    others: float = 0.0
    """Part of all cores that other processes used at the same time."""


def memory(process: int) -> int:
    """Return the memory of a process and its descendants (PSS), in kilobytes."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        children = [
            int(child)
            for task in Path(f"/proc/{process}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
    return (int(found[1]) if found else 0) + sum(map(memory, children))


class PeakWatch(threading.Thread):
    """Thread that samples the memory of a process tree until `end`."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._ended = threading.Event()
        self._peak = 0

    def run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            began = time.thread_time()
            self._peak = max(self._peak, memory(self._process))
            used = time.thread_time() - began
            pause = max(SAMPLE_SECONDS, used / SAMPLING_SHARE)

    def end(self) -> float:
        """Return the peak in megabytes."""
        self._ended.set()
        self.join()
        return self._peak / 1024


def busy_seconds() -> float:
    """Return the CPU seconds that all cores have worked since the machine was started."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    counts = [int(count) for count in path.read_text().partition("\n")[0].split()[1:9]]
    idle = counts[3] + counts[4]  # idle, and idle while a disk works
    return (sum(counts) - idle) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(
    command: Sequence[str | Path],
    folder: Path,
    video: Path,
    environ: Mapping[str, str] | None = None,
) -> Cost:
    """Run a program with an open standard input, and return its cost.

    ``environ`` is added to the environment. If the program fails, or makes no video, this process
    exits.
    """
    busy, own, began = busy_seconds(), own_seconds(), time.monotonic()
    with (
        (folder / LOG).open("wb") as log,
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **PROGRAMS.environ(), **(environ or {})},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        watch = PeakWatch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = watch.end()
    if process.returncode != 0 or not video.exists():
        sys.exit(f"{command[0]} failed:\n{(folder / LOG).read_text('utf-8', 'replace')[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    rest = busy_seconds() - busy - cpu - (own_seconds() - own)
    others = max(0.0, rest / wall / (os.cpu_count() or 1))
    return Cost(cpu, wall, peak, video.stat().st_size / 1e6, others)
