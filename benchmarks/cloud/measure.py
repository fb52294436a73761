"""What a process costs: memory, processor, and how long its event loop stood still."""

from __future__ import annotations

import asyncio
import gc
import re
import resource
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LONG = 0.005
"""Seconds from which on a pause is kept."""
BEAT = 0.02
"""Seconds."""


def peak_megabytes() -> float:
    """Return the peak resident memory of this process (``VmHWM``)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def cpu_seconds() -> float:
    """Of all threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def p95(values: Sequence[float]) -> float:
    """By nearest rank: of fewer than twenty, the highest."""
    return sorted(values)[-(-95 * len(values) // 100) - 1]


@dataclass(slots=True)
class Pauses:
    """Seconds during which the loop did one thing and could do no other: the longest ones.

    ``wall`` is by the clock, and has in it what else this machine does; ``own`` is the thread's
    own time on a processor. Both are without the garbage collector, whose longest pause is
    ``collector``, and ``collector_own`` of the processor; ``wall_with_collector`` has everything.
    ``late`` is what a task sees that sleeps for `BEAT` over and over: also what other threads, and
    all that runs here, keep from it.
    """

    wall: float = 0.0
    own: float = 0.0
    collector: float = 0.0
    collector_own: float = 0.0
    wall_with_collector: float = 0.0
    late: float = 0.0
    iterations: int = 0
    collected: float = 0.0
    """Seconds that the garbage collector took of the processor in all."""
    long: list[float] = field(default_factory=list[float])
    """``own``, of those that were `LONG`."""


@contextmanager
def watched(loop: asyncio.AbstractEventLoop) -> Generator[Pauses]:
    """Time every iteration of the loop: from one look at its sockets to the next."""
    pauses = Pauses()
    thread = threading.get_ident()
    selector: Any = loop._selector  # type: ignore[attr-defined]  # noqa: SLF001 - no other way in
    select: Callable[..., Any] = selector.select
    began = own_began = 0.0
    collecting = own_collecting = 0.0  # when the collection that goes on began
    collected = own_collected = 0.0  # in this iteration

    def timed(timeout: float | None = None) -> Any:
        nonlocal began, own_began, collected, own_collected
        if began:
            whole, own = time.perf_counter() - began, time.thread_time() - own_began
            own -= own_collected
            pauses.iterations += 1
            pauses.wall_with_collector = max(pauses.wall_with_collector, whole)
            pauses.wall = max(pauses.wall, whole - collected)
            pauses.own = max(pauses.own, own)
            if own >= LONG:
                pauses.long.append(own)
        ready = select(timeout)
        collected = own_collected = 0.0
        began, own_began = time.perf_counter(), time.thread_time()
        return ready

    def collect(phase: Literal["start", "stop"], _: dict[str, int]) -> None:
        nonlocal collecting, own_collecting, collected, own_collected
        if phase == "start":
            collecting, own_collecting = time.perf_counter(), time.thread_time()
            return
        took = time.perf_counter() - collecting
        collected += took
        own_took = time.thread_time() - own_collecting
        pauses.collector_own = max(pauses.collector_own, own_took)
        if threading.get_ident() == thread:  # else it only keeps this one waiting
            own_collected += own_took
        pauses.collector = max(pauses.collector, took)
        pauses.collected += own_took

    selector.select = timed
    gc.callbacks.append(collect)
    try:
        yield pauses
    finally:
        gc.callbacks.remove(collect)
        selector.select = select


async def beat(pauses: Pauses) -> None:
    """Take note of how late this task is woken, until cancelled. For the real clock."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(BEAT)
        pauses.late = max(pauses.late, time.perf_counter() - began - BEAT)
