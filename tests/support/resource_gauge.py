"""Memory and processor time of all processes that a process has started."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Self

PAGE = os.sysconf("SC_PAGESIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Gauge:
    """Samples the children of a process, and their children, fifty times a second."""

    def __init__(self, parent: int) -> None:
        self.peak_bytes = 0
        """The most resident memory that they held together, shared pages counted for each."""
        self._parent = parent
        self._ticks: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def processor_seconds(self) -> float:
        return sum(self._ticks.values()) / TICKS

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            resident = 0
            for pid in _descendants(self._parent):
                try:
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                resident += int(fields[21]) * PAGE
                self._ticks[pid] = max(self._ticks.get(pid, 0), int(fields[11]) + int(fields[12]))
            self.peak_bytes = max(self.peak_bytes, resident)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        at = waiting.pop()
        try:
            threads = list(Path(f"/proc/{at}/task").iterdir())
            children = [
                int(child)
                for thread in threads
                for child in (thread / "children").read_text().split()
            ]
        except OSError:
            continue
        found += children
        waiting += children
    return found
