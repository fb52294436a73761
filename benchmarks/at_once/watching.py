"""What some cores do, what our children hold in memory, and how many of their threads could run."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from renders.processes import memory


class Cores:
    """What some cores have done since this was made, in seconds of one core."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = cores
        self._began = time.monotonic()
        self._idle = self._idling()

    def busy(self) -> float:
        passed = len(self._cores) * (time.monotonic() - self._began)
        return passed - (self._idling() - self._idle)

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def _idling(self) -> float:
        tick = os.sysconf("SC_CLK_TCK")
        lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
        counts = {line[0]: line[1:] for line in lines}
        # Idle, and idle while a disk works.
        return sum(sum(map(int, counts[f"cpu{core}"][3:5])) / tick for core in self._cores)


class Watch(threading.Thread):
    """The most memory that all children of this process held at once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._peak = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(1):
            self._peak = max(self._peak, sum(map(memory, children("self"))))

    def end(self) -> float:
        """Megabytes."""
        self._ended.set()
        self.join()
        return self._peak / 1024


class Threads(threading.Thread):
    """How many threads of all children and theirs could run, twenty times a second.

    A thread that waits for a core counts. On a machine that others use more of them wait, so that
    the numbers above one are too high then; whether there is one at all hardly changes.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._seen: Counter[int] = Counter()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.05):
            self._seen[sum(map(runnable, descendants("self")))] += 1

    def end(self) -> list[float]:
        """Return the shares of the time with 0, 1, 2… threads."""
        self._ended.set()
        self.join()
        total = self._seen.total()
        return [self._seen[number] / total for number in range(max(self._seen) + 1)]


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
    """Threads of a process that run or wait for a core."""
    number = 0
    for task in Path(f"/proc/{process}/task").glob("*/stat"):
        try:
            number += task.read_text().rpartition(")")[2].split()[0] == "R"
        except OSError:
            continue
    return number


def await_quiet(numbers: Sequence[int], others: float, until: float) -> None:
    """Wait until others have taken less than that share of these cores for two seconds."""
    while time.monotonic() < until:
        cores = Cores(numbers)
        time.sleep(2)
        if cores.busy() < others * cores.seconds() * len(numbers):
            return
