"""Monitors of cores, and of the memory and the threads of child processes."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from renders.processes import memory


class CoreMonitor:
    """Busy time of some cores since this object was made."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = cores
        self._began = time.monotonic()
        self._idle = self._idle_seconds()

    def busy(self) -> float:
        """Return the time for which the cores were busy, in seconds of one core."""
        passed = len(self._cores) * (time.monotonic() - self._began)
        return passed - (self._idle_seconds() - self._idle)

    def seconds(self) -> float:
        """Return the seconds since this object was made."""
        return time.monotonic() - self._began

    def _idle_seconds(self) -> float:
        tick = os.sysconf("SC_CLK_TCK")
        lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
        counts = {line[0]: line[1:] for line in lines}
        # Fields 4 and 5: idle, and idle while a disk works.
        return sum(sum(map(int, counts[f"cpu{core}"][3:5])) / tick for core in self._cores)


class MemoryMonitor(threading.Thread):
    """Thread that samples the memory of all child processes once a second, until `end`."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(1):
            self._peak = max(self._peak, sum(map(memory, children("self"))))

    def end(self) -> float:
        """Return the peak in megabytes."""
        self._ended.set()
        self.join()
        return self._peak / 1024


class ThreadMonitor(threading.Thread):
    """Thread that counts the runnable threads of all descendants 20 times a second, until `end`.

    A thread that waits for a core is runnable. With load from other processes, more threads wait,
    so numbers above one occur too often. The share of samples with no runnable thread hardly
    depends on other load.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._counts: Counter[int] = Counter()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.05):
            self._counts[sum(map(runnable, descendants("self")))] += 1

    def end(self) -> list[float]:
        """Return the shares of the samples with 0, 1, 2… runnable threads."""
        self._ended.set()
        self.join()
        total = self._counts.total()
        return [self._counts[number] / total for number in range(max(self._counts) + 1)]


def children(process: int | str) -> list[int]:
    try:
        lists = [task.read_text() for task in Path(f"/proc/{process}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for found in lists for child in found.split()]


def descendants(process: int | str) -> Iterator[int]:
    for child in children(process):
        yield child
        yield from descendants(child)


def runnable(process: int) -> int:
    """Return the number of threads of a process that run or wait for a core."""
    number = 0
    for task in Path(f"/proc/{process}/task").glob("*/stat"):
        try:
            number += task.read_text().rpartition(")")[2].split()[0] == "R"
        except OSError:
            continue
    return number


def await_quiet(cores: Sequence[int], max_load: float, until: float) -> None:
    """Wait until other processes have used less than a share of some cores for two seconds.

    Args:
        cores: Numbers of the cores.
        max_load: Share of the cores that other processes may use.
        until: Time at which to return in any case, in seconds of the monotonic clock.
    """
    while time.monotonic() < until:
        monitor = CoreMonitor(cores)
        time.sleep(2)
        if monitor.busy() < max_load * monitor.seconds() * len(cores):
            return
