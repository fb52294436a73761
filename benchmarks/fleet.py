"""Cost of large fleets: AWS calls, CPU time of the client, and pauses of its event loop.

    python benchmarks/fleet.py [--tasks 50 100 200] [--share 1] [--no-real] [--virtual 1000 10000]
        [--client 100 20000]

The first part is the engine alone in virtual time, with `cloudburst.testing.FakeCloud` for AWS and
the workers: 1,000 tasks that need 40 s to start, and 10,000 scenes whose encode takes as long as
their audio, plus or minus 20 %. Each task encodes two scenes at once, and shares long ones. A first
run has no measurements; the later run has those of the first, so that it simulates the schedules of
all numbers of tasks. CPU times include the work of the fakes. No schedule is shorter than the bound

    start-up + upload + max(longest encode / 2, all encodes / slots) + download

The second part is the whole client in real time, with `FakeCloud`: 20,000 scenes that share their
files are checked, claimed, written to a journal and rendered by 100 tasks in half a second each.
Then the client opens a second run of the same scenes, and leaves it at the first encode.

The third part has real processes: our client, an emulated account with the rate limits of AWS, and
a process for each task. Each task gets three scenes, which take 2 s and have files of 100 KB. Each
number of tasks has a new account, so that the numbers of calls can be compared. ``--share 0.3``
reduces the rate limits to 30 %, as if other clients of the account used the rest: calls are
throttled then.

Pauses of the loop are printed with and without those of the garbage collector. They are measured
from before the run opens until its report is made. Goals: every scene is rendered, no task is left
running, and there are never more tasks than the limit. In the first two parts, no pause may take
more than 50 ms of CPU time without the garbage collector. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from cloud.account import THROTTLED, ClientRun, make_scenes, run_client
from cloud.metrics import Pauses, measure_pauses, peak_megabytes
from cloud.virtual import scene

from cloudburst import Client
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.scene_work import MIN_SHARED_WORK
from cloudburst.engine.open_run import open_run
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import RunSpec
from cloudburst.models.limits import READINESS_BACKOFF, Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Report, Status
from cloudburst.models.task import TaskSpec
from cloudburst.testing import AWS_BUCKETS, EmulatorConfig, FakeCloud, VirtualClockLoop

SCENES_PER_TASK = 3
RENDER_SECONDS = 2.0
ACCOUNT = EmulatorConfig(
    provisioning=3.0,
    pending=8.0,
    jitter=0.3,
    moto=False,
    worker_environment={"STUB_GENERATE_SECONDS": str(RENDER_SECONDS)},
)
PAUSE_GOAL = 0.05
"""CPU seconds of the longest pause, at most."""
STARTUP, UPLOAD, DOWNLOAD = 40.0, 1.0, 1.0
"""Virtual seconds."""


def print_goal(text: str, *, met: bool) -> bool:
    """Print a goal and whether it is met, and return the latter."""
    print(f"  {'met   ' if met else 'MISSED'} {text}", flush=True)
    return met


def account(share: float) -> EmulatorConfig:
    """Return the settings of an account with this share of AWS's rate limits."""
    buckets = [
        replace(bucket, burst=share * bucket.burst, per_second=share * bucket.per_second)
        for bucket in AWS_BUCKETS
    ]
    return replace(ACCOUNT, buckets=buckets)


def measure_real(tasks: int, folder: Path, share: float) -> list[bool]:
    """Measure a run with real processes, and return whether each goal is met."""
    number = tasks * SCENES_PER_TASK
    folder.mkdir()
    scenes = make_scenes(folder / "scenes", (1.0,) * number, image_bytes=100_000)
    run = run_client(account(share), scenes, folder / "ours", workers=tasks, record_events=False)
    figures = run.figures
    pauses = Pauses(**figures["pauses"])
    print(f"\n{number} scenes on {tasks} tasks: {figures['status']} in {run.wall:.1f} s")
    print_calls(run, tasks)
    cpu = figures["cpu"]
    print(f"  client: {cpu:.1f} s of CPU, {1e3 * cpu / number:.1f} ms per scene", end=", ")
    print(f"{figures['memory']:.0f} MB, {figures['attempts']} attempts")
    print_pauses(pauses)
    print(f"  longest delay of a sleeping task on the loop: {1e3 * pauses.delay:.0f} ms")
    for error in figures["errors"][:3]:
        print(f"  {error}")
    videos = sum(size > 0 for size in run.videos.values())
    return [
        print_goal(f"every scene is rendered: {videos} of {number}", met=videos == number),
        print_goal(f"at most {tasks} tasks at once: {run.max_live}", met=run.max_live <= tasks),
        print_goal(f"no task is left running: {run.left_running}", met=run.left_running == 0),
    ]


def print_calls(run: ClientRun, tasks: int) -> None:
    calls = Counter(call.operation for call in run.calls)
    throttled = Counter(call.operation for call in run.calls if call.note in THROTTLED)
    counts = (
        f"{name} {count}" + (f" ({throttled[name]} throttled)" if throttled[name] else "")
        for name, count in calls.most_common()
    )
    print(f"  {len(run.calls)} calls: {', '.join(counts)}")
    rate, hundreds = calls["DescribeTasks"] / run.wall, -(-tasks // 100)
    print(f"  DescribeTasks per second: {rate:.2f}, {rate / hundreds:.2f} for each hundred tasks")


def print_pauses(pauses: Pauses) -> None:
    pairs = {
        "without garbage collector": (pauses.cpu, pauses.wall),
        "with garbage collector": (None, pauses.wall_with_collector),
        "by the garbage collector alone": (pauses.collector_cpu, pauses.collector_wall),
    }
    for kind, (cpu, wall) in pairs.items():
        cpu_text = "" if cpu is None else f", {1e3 * cpu:.1f} ms of CPU"
        print(f"  longest pause of the loop {kind}: {1e3 * wall:.1f} ms{cpu_text}")
    print(
        f"  {len(pauses.long)} of {pauses.iterations} iterations took 5 ms of CPU or more; "
        f"the garbage collector took {pauses.collector_total:.2f} s of CPU in total"
    )


def audio_seconds(number: int) -> float:
    """Return the audio length of the scene with this number; it is the same in every run."""
    return random.Random(number).uniform(2, 30)


def encode_seconds(name: str) -> float:
    """Return the encode time of the scene with this name, in seconds."""
    number = int(name)
    return audio_seconds(number) * random.Random(~number).uniform(0.8, 1.2)


@asynccontextmanager
async def open_pool(
    cloud: FakeCloud, limits: Limits, measurements: Measurements
) -> AsyncGenerator[WorkerPool]:
    """Open the worker pool of a client. It has no files and threads, so time can be virtual."""
    timeouts = Timeouts()
    async with (
        cloud.backend(timeouts, TaskSpec().tier) as backend,
        anyio.create_task_group() as tasks,
    ):
        pool = WorkerPool(
            tasks,
            [backend],
            spec=TaskSpec(),
            timeouts=timeouts,
            limits=limits,
            backoff=READINESS_BACKOFF,
            measurements=measurements,
        )
        try:
            yield pool
        finally:
            pool.close()
            tasks.cancel_scope.cancel()


async def run_engine(
    cloud: FakeCloud, tasks: int, number: int, measurements: Measurements
) -> tuple[Report, int, Pauses, float]:
    """Return the report of a run, its number of events, its pauses, and its CPU seconds."""
    scenes = [scene(str(n), audio_seconds(n)) for n in range(number)]
    limits, events, began = Limits(workers=tasks), 0, time.process_time()
    with measure_pauses(asyncio.get_running_loop()) as pauses:
        async with (
            open_pool(cloud, limits, measurements) as pool,
            open_run(RunSpec("bench", scenes, lambda name: Path(f"{name}.mp4")), pool) as run,
        ):
            async for _ in run:
                events += 1
                if events == number:  # in the middle of the run, as a program may ask for it
                    await run.report()
            report = await run.settled()
    return report, events, pauses, time.process_time() - began


def measure_virtual(tasks: int, number: int) -> list[bool]:
    """Measure a first and a later run in virtual time, and return whether each goal is met."""
    measurements = Measurements()
    return [
        met
        for run in ("first", "later")
        for met in measure_virtual_run(run, tasks, number, measurements)
    ]


def measure_virtual_run(
    run: str, tasks: int, number: int, measurements: Measurements
) -> list[bool]:
    """Measure a run with the measurements of earlier ones; return whether each goal is met."""
    cloud = FakeCloud(
        boot=STARTUP,
        upload=UPLOAD,
        encode=encode_seconds,
        encoders=2,
        shared_from=MIN_SHARED_WORK,
        download=DOWNLOAD,
        stop_takes=0.1,
        ends_after=5.0,
        rates=US_EAST_1_RATES,
    )
    report, events, pauses, cpu = anyio.run(
        partial(run_engine, cloud, tasks, number, measurements),
        backend_options={"loop_factory": VirtualClockLoop},
    )
    encodes = [encode_seconds(str(n)) for n in range(number)]
    bound = STARTUP + UPLOAD + max(max(encodes) / 2, sum(encodes) / tasks / 2) + DOWNLOAD
    print(f"\n{number} scenes on {tasks} tasks in virtual time, {run} run: {report.status}")
    seconds = report.wall_seconds
    print(f"  {seconds:.1f} s, {seconds / bound:.3f} times the bound of {bound:.1f} s")
    print(f"  {cpu:.1f} s of CPU, {1e3 * cpu / number:.2f} ms per scene; {events} events")
    print_pauses(pauses)
    return print_goals(report, cloud, pauses, tasks)


def print_goals(report: Report, cloud: FakeCloud, pauses: Pauses, tasks: int) -> list[bool]:
    """Print the goals of a run on fake workers, and return whether each is met."""
    highest, left = cloud.max_running, len(cloud.running)
    return [
        print_goal(
            f"every scene is rendered: {report.status}", met=report.status is Status.COMPLETE
        ),
        print_goal(f"at most {tasks} tasks at once: {highest}", met=highest <= tasks),
        print_goal(f"no task is left running: {left}", met=not left),
        print_goal(
            f"no pause of more than {1e3 * PAUSE_GOAL:.0f} ms of CPU: {1e3 * pauses.cpu:.1f} ms",
            met=pauses.cpu <= PAUSE_GOAL,
        ),
    ]


async def run_whole_client(
    cloud: FakeCloud, tasks: int, scenes: Sequence[Mapping[str, Any]], folder: Path
) -> tuple[Report, Pauses, float]:
    """Return the report of a client's run, its pauses, and the seconds until the run is open."""
    began = time.perf_counter()
    with measure_pauses(asyncio.get_running_loop()) as pauses:
        async with Client(cloud.backend, limits=Limits(workers=tasks)) as client:
            # Both runs are kept: to forget one of them frees 200,000 objects, which takes 50 ms.
            async with client.stream(scenes, to=folder / "first") as first:
                opened = time.perf_counter() - began
                async for _ in first:
                    pass
                report = await first.report()
            async with client.stream(scenes, to=folder / "second") as second:
                async for event in second:
                    if event.type == "scene.encoding":
                        break
            await second.report()
    return report, pauses, opened


def measure_client(tasks: int, number: int, folder: Path) -> list[bool]:
    """Measure a whole client with fake workers, and return whether each goal is met."""
    cloud = FakeCloud(boot=5.0, encode=0.5, ends_after=1.0, rates=US_EAST_1_RATES)
    folder.mkdir()
    scenes = make_scenes(folder / "scenes", (1.0,) * number, image_bytes=10_000)
    cpu = time.process_time()
    report, pauses, opened = anyio.run(run_whole_client, cloud, tasks, scenes, folder)
    cpu = time.process_time() - cpu
    print(f"\n{number} scenes on {tasks} tasks with files and a journal: {report.status}")
    print(f"  {opened:.1f} s until the run is open, {report.wall_seconds:.1f} s of the run")
    print(f"  {cpu:.1f} s of CPU, {1e3 * cpu / number:.2f} ms per scene; {peak_megabytes():.0f} MB")
    print_pauses(pauses)
    return print_goals(report, cloud, pauses, tasks)


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of large fleets.")
    parser.add_argument("--tasks", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--share", type=float, default=1.0, help="share of AWS's rate limits")
    parser.add_argument("--no-real", action="store_true", help="skip the real processes")
    parser.add_argument(
        "--virtual", type=int, nargs=2, default=(1000, 10_000), metavar=("TASKS", "SCENES")
    )
    parser.add_argument(
        "--client", type=int, nargs=2, default=(100, 20_000), metavar=("TASKS", "SCENES")
    )
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    met = measure_virtual(*arguments.virtual)
    with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
        os.environ["XDG_STATE_HOME"] = f"{name}/state"  # nothing is learned from fake workers
        tasks, scenes = arguments.client
        met += measure_client(tasks, scenes, Path(name) / "client")
        for tasks in () if arguments.no_real else arguments.tasks:
            met += measure_real(tasks, Path(name) / str(tasks), arguments.share)
    print("\ngoals: all met" if all(met) else f"\ngoals: {met.count(False)} MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
