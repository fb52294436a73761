"""What large fleets cost: AWS calls, processor time, and how long the event loop stands still.

    python benchmarks/fleet.py [--tasks 50 100 200] [--share 1] [--no-real] [--virtual 1000 10000]

First real processes: an emulated account with AWS's own rate limits, a task's process for each
worker, and our client, which is a process too; three scenes a task, of 2 s and 100 KB. An account
of its own for each number of tasks, so that the growth of calls is seen. ``--share 0.3`` leaves
that much of the rate limits, as if others in the account used the rest: calls are throttled then.

Then the engine alone, with `cloudburst.testing.FakeCloud` for AWS and the workers, in virtual time:
a thousand tasks that need 40 s to start, and ten thousand scenes that encode for as long as their
sound, give or take a fifth. All that is left is what the engine decides and tells, and the
fake's own work, which counts too. The bound is that no schedule can be shorter than

    start + upload + max(longest encode, all encodes / tasks) + download

Pauses of the loop are told with and without those of the garbage collector. Goals: every scene is
done; no task is left; never more tasks than asked for; in virtual time the loop never stands still
for more than 50 ms of its thread's own time, without the collector. Exits with 1 when one is
missed.
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
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
from cloud.account import THROTTLED, Ran, make_scenes, run_client
from cloud.measure import Pauses, watched

from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import open_run
from cloudburst.models.limits import READINESS_BACKOFF, Limits, Timeouts
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Report, Status
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.models.task import TaskSpec
from cloudburst.testing import AWS_BUCKETS, EmulatorConfig, FakeCloud, VirtualClockLoop

SCENES_PER_TASK = 3
GENERATE = 2.0
ACCOUNT = EmulatorConfig(
    provisioning=3.0,
    pending=8.0,
    jitter=0.3,
    moto=False,
    worker_environment={"STUB_GENERATE_SECONDS": str(GENERATE)},
)
STALL_GOAL = 0.05
"""Seconds."""
START, UPLOAD, DOWNLOAD = 40.0, 1.0, 1.0
"""Virtual seconds."""


def verdict(what: str, *, met: bool) -> bool:
    print(f"  {'met   ' if met else 'MISSED'} {what}", flush=True)
    return met


def account(share: float) -> EmulatorConfig:
    buckets = [
        replace(each, burst=share * each.burst, per_second=share * each.per_second)
        for each in AWS_BUCKETS
    ]
    return replace(ACCOUNT, buckets=buckets)


def real(tasks: int, folder: Path, share: float) -> list[bool]:
    """As many processes as tasks, and what became of the goals."""
    number = tasks * SCENES_PER_TASK
    folder.mkdir()
    scenes = make_scenes(folder / "scenes", (1.0,) * number, image_bytes=100_000)
    ran = run_client(account(share), scenes, folder / "ours", workers=tasks, noted=False)
    figures = ran.figures
    pauses = Pauses(**figures["pauses"])
    print(f"\n{number} scenes on {tasks} tasks: {figures['status']} in {ran.wall:.1f} s")
    show_calls(ran, tasks)
    cpu = figures["cpu"]
    print(f"  client: {cpu:.1f} s of CPU, {1e3 * cpu / number:.1f} ms a scene", end=", ")
    print(f"{figures['memory']:.0f} MB, {figures['attempts']} attempts")
    show_pauses(pauses)
    print(f"  a task on the loop was woken {1e3 * pauses.late:.0f} ms late at most")
    for error in figures["errors"][:3]:
        print(f"  {error}")
    videos = sum(size > 0 for size in ran.videos.values())
    return [
        verdict(f"every scene is done: {videos} of {number}", met=videos == number),
        verdict(f"never more tasks: {ran.max_live} at most", met=ran.max_live <= tasks),
        verdict(f"none left running: {ran.left_running}", met=ran.left_running == 0),
    ]


def show_calls(ran: Ran, tasks: int) -> None:
    calls = Counter(call.operation for call in ran.calls)
    throttled = Counter(call.operation for call in ran.calls if call.note in THROTTLED)
    told = (
        f"{name} {count}" + (f" ({throttled[name]} throttled)" if throttled[name] else "")
        for name, count in calls.most_common()
    )
    print(f"  {len(ran.calls)} calls: {', '.join(told)}")
    looks, hundreds = calls["DescribeTasks"] / ran.wall, -(-tasks // 100)
    print(f"  DescribeTasks: {looks:.2f} a second, {looks / hundreds:.2f} for each hundred tasks")


def show_pauses(pauses: Pauses) -> None:
    pairs = {
        "without the collector": (pauses.own, pauses.wall),
        "with it": (None, pauses.wall_with_collector),
        "by the collector alone": (pauses.collector_own, pauses.collector),
    }
    for what, (own, wall) in pairs.items():
        of_own = "" if own is None else f", {1e3 * own:.1f} ms of CPU"
        print(f"  longest pause of the loop {what}: {1e3 * wall:.1f} ms{of_own}")
    print(
        f"  {len(pauses.long)} of {pauses.iterations} iterations took 5 ms of CPU or more; "
        f"the collector took {pauses.collected:.2f} s of CPU in all"
    )


def sound(number: int) -> float:
    """Seconds; the same in every run."""
    return random.Random(number).uniform(2, 30)


def encode(name: str) -> float:
    """Seconds that a scene of this name takes."""
    number = int(name)
    return sound(number) * random.Random(~number).uniform(0.8, 1.2)


@asynccontextmanager
async def opened(cloud: FakeCloud, limits: Limits) -> AsyncGenerator[WorkerPool]:
    """Open the pool of a client: without files and threads, time can be virtual."""
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
        )
        try:
            yield pool
        finally:
            pool.close()
            tasks.cancel_scope.cancel()


async def imagined(cloud: FakeCloud, tasks: int, number: int) -> tuple[Report, int, Pauses, float]:
    """Return the report, the number of events, the pauses, and seconds of CPU."""
    scenes = [
        CheckedScene(
            scene=Scene(name=str(n), image=Path(f"{n}.png"), audio=Path(f"{n}.mp3")),
            audio_seconds=sound(n),
            image_bytes=1000,
        )
        for n in range(number)
    ]
    limits, events, began = Limits(workers=tasks), 0, time.process_time()
    with watched(asyncio.get_running_loop()) as pauses:
        async with (
            opened(cloud, limits) as pool,
            open_run(
                "bench",
                scenes,
                pool,
                to={scene.scene.name: Path(f"{scene.scene.name}.mp4") for scene in scenes},
                timeouts=Timeouts(),
                limits=limits,
            ) as run,
        ):
            async for _ in run:
                events += 1
            report = await run.settled()
    return report, events, pauses, time.process_time() - began


def virtual(tasks: int, number: int) -> list[bool]:
    cloud = FakeCloud(
        boot=START,
        upload=UPLOAD,
        encode=encode,
        download=DOWNLOAD,
        stop_takes=0.1,
        ends_after=5.0,
        rates=US_EAST_1_RATES,
    )
    report, events, pauses, cpu = anyio.run(
        imagined, cloud, tasks, number, backend_options={"loop_factory": VirtualClockLoop}
    )
    encodes = [encode(str(n)) for n in range(number)]
    bound = START + UPLOAD + max(*encodes, sum(encodes) / tasks) + DOWNLOAD
    print(f"\n{number} scenes on {tasks} tasks in virtual time: {report.status}")
    seconds = report.wall_seconds
    print(f"  {seconds:.1f} s, {seconds / bound:.3f} of the bound of {bound:.1f} s")
    print(f"  {cpu:.1f} s of CPU, {1e3 * cpu / number:.2f} ms a scene; {events} events")
    show_pauses(pauses)
    met = pauses.own <= STALL_GOAL
    return [
        verdict(f"every scene is done: {report.status}", met=report.status is Status.COMPLETE),
        verdict(f"never more tasks: {cloud.max_running} at most", met=cloud.max_running <= tasks),
        verdict(f"none left running: {len(cloud.running)}", met=not cloud.running),
        verdict(f"no pause over {1e3 * STALL_GOAL:.0f} ms: {1e3 * pauses.own:.1f} ms", met=met),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="What large fleets cost.")
    parser.add_argument("--tasks", type=int, nargs="+", default=[50, 100, 200])
    parser.add_argument("--share", type=float, default=1.0, help="of AWS's rate limits")
    parser.add_argument("--no-real", action="store_true", help="leave the real processes out")
    parser.add_argument(
        "--virtual", type=int, nargs=2, default=(1000, 10_000), metavar=("TASKS", "SCENES")
    )
    said = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    met = virtual(*said.virtual)
    if not said.no_real:
        with tempfile.TemporaryDirectory(prefix="cloudburst-bench-") as name:
            for tasks in said.tasks:
                met += real(tasks, Path(name) / str(tasks), said.share)
    print("\ngoals: all met" if all(met) else f"\ngoals: {met.count(False)} MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
