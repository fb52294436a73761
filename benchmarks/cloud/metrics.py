"""Measurements of this process: memory, CPU time, and pauses of its event loop."""

from __future__ import annotations

import asyncio
import gc
import re
import resource
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LONG_PAUSE = 0.005
"""CPU seconds from which a pause is recorded."""
SLEEP = 0.02
"""Seconds for which the task sleeps that measures delays."""


def peak_megabytes() -> float:
    """Return the peak resident memory of this process (``VmHWM``)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def cpu_seconds() -> float:
    """Return the CPU seconds, user and system, of all threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(slots=True)
class Pauses:
    """Longest pauses of an event loop, in seconds.

    A pause is one iteration of the loop, during which it cannot react to anything else. Wall times
    depend on the other load of the machine, CPU times hardly do.
    """

    wall: float = 0.0
    """Longest pause, in wall time without the garbage collector."""
    cpu: float = 0.0
    """Longest pause, in CPU time of the loop's thread without the garbage collector."""
    collector_wall: float = 0.0
    """Longest garbage collection, in wall time."""
    collector_cpu: float = 0.0
    """Longest garbage collection, in CPU time."""
    wall_with_collector: float = 0.0
    """Longest pause, in wall time with the garbage collector."""
    delay: float = 0.0
    """Longest delay of a task that sleeps for `SLEEP` again and again. It includes delays by other
    threads and processes."""
    iterations: int = 0
    """Number of iterations of the loop."""
    collector_total: float = 0.0
    """CPU seconds of all garbage collections together."""
    long: list[float] = field(default_factory=list[float])
    """CPU times of the pauses from `LONG_PAUSE`."""


@contextmanager
def measure_pauses(loop: asyncio.AbstractEventLoop) -> Generator[Pauses]:
    """Measure the iterations of a loop, from the end of one ``select`` call to the next call.

    The first iteration is measured from here.
    """
    pauses = Pauses()
    thread = threading.get_ident()
    selector: Any = loop._selector  # type: ignore[attr-defined]  # noqa: SLF001 - no public one
    select: Callable[..., Any] = selector.select
    began, began_cpu = time.perf_counter(), time.thread_time()  # start of the current iteration
    collection_began = collection_began_cpu = 0.0  # start of the current collection
    collector_wall = collector_cpu = 0.0  # collections of the current iteration

    def timed_select(timeout: float | None = None) -> Any:
        nonlocal began, began_cpu, collector_wall, collector_cpu
        wall, cpu = time.perf_counter() - began, time.thread_time() - began_cpu
        cpu -= collector_cpu
        pauses.iterations += 1
        pauses.wall_with_collector = max(pauses.wall_with_collector, wall)
        pauses.wall = max(pauses.wall, wall - collector_wall)
        pauses.cpu = max(pauses.cpu, cpu)
        if cpu >= LONG_PAUSE:
            pauses.long.append(cpu)
        ready = select(timeout)
        collector_wall = collector_cpu = 0.0
        began, began_cpu = time.perf_counter(), time.thread_time()
        return ready

    def on_collection(phase: Literal["start", "stop"], _: dict[str, int]) -> None:
        nonlocal collection_began, collection_began_cpu, collector_wall, collector_cpu
        if phase == "start":
            collection_began, collection_began_cpu = time.perf_counter(), time.thread_time()
            return
        wall = time.perf_counter() - collection_began
        collector_wall += wall
        cpu = time.thread_time() - collection_began_cpu
        pauses.collector_cpu = max(pauses.collector_cpu, cpu)
        if threading.get_ident() == thread:  # otherwise the loop's thread only waits for it
            collector_cpu += cpu
        pauses.collector_wall = max(pauses.collector_wall, wall)
        pauses.collector_total += cpu

    selector.select = timed_select
    gc.callbacks.append(on_collection)
    try:
        yield pauses
    finally:
        gc.callbacks.remove(on_collection)
        selector.select = select


async def measure_delays(pauses: Pauses) -> None:
    """Sleep again and again, and record the longest delay, until cancelled.

    This needs a loop with a real clock.
    """
    while True:
        began = time.perf_counter()
        await asyncio.sleep(SLEEP)
        pauses.delay = max(pauses.delay, time.perf_counter() - began - SLEEP)
