"""Measurement of the cost of a program and its whole process tree."""

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

LOG = "bench.log"
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""Environment variable with which Python compiles modules once, and not in each run."""
SAMPLE_SECONDS = 0.02
"""Seconds between two samples of memory. The shortest render takes 0.4 s."""
SAMPLING_SHARE = 0.1
"""Part of a core that sampling may use, because it shares the cores with the measured program."""
MAX_OTHER_LOAD = 0.06
"""Part of all cores that other processes may use during a valid run."""


class Cost(NamedTuple):
    """Cost of one render."""

    cpu: float
    """CPU seconds, user and system, of the process tree."""
    wall: float
    """Wall time, in seconds."""
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


class MemoryMonitor(threading.Thread):
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
    """Return the busy seconds of all cores since the start of the machine."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    counts = [int(count) for count in path.read_text().partition("\n")[0].split()[1:9]]
    idle = counts[3] + counts[4]  # idle, and idle while a disk works
    return (sum(counts) - idle) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return the CPU seconds of this process."""
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
            env={**os.environ, **BYTECODE, **(environ or {})},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        monitor = MemoryMonitor(process.pid)
        monitor.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = monitor.end()
    if process.returncode != 0 or not video.exists():
        sys.exit(f"{command[0]} failed:\n{(folder / LOG).read_text('utf-8', 'replace')[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    rest = busy_seconds() - busy - cpu - (own_seconds() - own)
    others = max(0.0, rest / wall / (os.cpu_count() or 1))
    return Cost(cpu, wall, peak, video.stat().st_size / 1e6, others)
