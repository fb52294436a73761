"""Jobs in a folder: what their events cost the event loop of a web backend.

    python benchmarks/jobs.py [--jobs 20] [--scenes 10] [--readers 0 100 1000]

The jobs run on fake workers, at most eight at once, whose encodes take a second and report their
progress ten times a second. So what is measured is the client, the queue of jobs and its database.
Readers are spread over the jobs, and receive every event. A stall is the CPU time that the thread
of the event loop spends between two wake-ups of a task that sleeps for 5 ms: a request of another
kind would have waited for so long. The longest stalls are collections of garbage by Python. Exits
with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
from fake_render.worker import make_scenes

from cloudburst import Client, Limits
from cloudburst.jobs import JobEvent, JobLimits, JobQueue, JobRequest
from cloudburst.testing import FakeCloud

STALL_GOAL = 0.02
"""Largest 99th percentile of the stalls, in seconds."""
SLEEP = 0.005
"""Seconds that the task which measures the stalls sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one number of readers. Times are in seconds."""

    readers: int
    events: int
    """Number of events that all readers received; progress does not count."""
    submission: float
    """Mean time from a request to its job, with the files checked later."""
    wall: float
    cpu: float
    """CPU time of all threads."""
    stall: float
    """99th percentile of the stalls."""
    longest: float
    """Longest stall."""


async def measure(folder: Path, *, jobs: int, scenes: int, readers: int) -> Figures:
    inputs = await anyio.to_thread.run_sync(make_scenes, folder, scenes, 10_000)
    request = JobRequest(scenes=tuple(inputs))
    cloud = FakeCloud(encode=1.0, progress_every=0.1, encoders=4)
    stalls, received = list[float](), 0

    async def watch() -> None:
        while True:
            begin = time.thread_time()
            await anyio.sleep(SLEEP)
            stalls.append(time.thread_time() - begin)

    async def read(queue: JobQueue, job: str) -> None:
        nonlocal received
        async for news in queue.events(job):
            received += isinstance(news, JobEvent)

    limits = JobLimits(owner_jobs=jobs, running=jobs)
    async with (
        Client(cloud.backend, limits=Limits(workers=8)) as client,
        JobQueue(client, folder / "jobs", limits=limits) as queue,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(watch)
        cpu, begun = time.process_time(), time.perf_counter()
        submitted = [await queue.submit(request) for _ in range(jobs)]
        submission = (time.perf_counter() - begun) / jobs
        async with anyio.create_task_group() as reading:
            for number in range(readers):
                reading.start_soon(read, queue, submitted[number % jobs].id)
            for job in submitted:
                reading.start_soon(queue.wait, job.id)
        tasks.cancel_scope.cancel()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
    stalls.sort()
    return Figures(
        readers=readers,
        events=received,
        submission=submission,
        wall=wall,
        cpu=cpu,
        stall=stalls[int(0.99 * len(stalls))],
        longest=stalls[-1],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of the events of jobs.")
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--readers", type=int, nargs="+", default=[0, 100, 1000])
    arguments = parser.parse_args()
    met = True
    print("readers  events received  submission      wall   CPU time  stalls p99   longest")
    for readers in arguments.readers:
        with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
            os.environ["XDG_STATE_HOME"] = name  # keeps the measurements of the user unchanged
            jobs, scenes = arguments.jobs, arguments.scenes
            f = anyio.run(_measure, Path(name), jobs, scenes, readers)
        met = met and f.stall <= STALL_GOAL
        print(
            f"{f.readers:7,}  {f.events:15,}  {f.submission * 1000:7.1f} ms  {f.wall:6.1f} s"
            f"  {f.cpu:7.1f} s  {f.stall * 1000:7.1f} ms  {f.longest * 1000:5.0f} ms",
            flush=True,
        )
    print(f"goal: stalls p99 at most {STALL_GOAL * 1000:.0f} ms: {'met' if met else 'MISSED'}")
    return 0 if met else 1


async def _measure(folder: Path, jobs: int, scenes: int, readers: int) -> Figures:
    return await measure(folder, jobs=jobs, scenes=scenes, readers=readers)


if __name__ == "__main__":
    sys.exit(main())
