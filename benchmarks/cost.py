"""Cost of eight scenes: the old client, ours with the public image, and ours with our service.

    python benchmarks/cost.py [--seeds 100]

The scenes are the example of the old client's README: eight scenes on up to four tasks of 2 vCPU
and 4 GB. One task takes 16 minutes for them; if one minute of it is the start-up, a scene takes
about 110 s. Tasks are fakes in virtual time. Bills are computed at list prices of us-east-1, with a
public IPv4 address for each task. Each seed draws the start-up times of tasks and the encode times
of scenes, up to 20 % above or below the expected time and the same for all setups. The table has
medians.

- Old client: `cloudburst-fargate` 1.0.1, simulated according to its source code. Each task gets two
  scenes. The client asks for the address of a task every 10 s and for the health of a worker every
  30 s. Upload, encode and download follow one after the other. A task is stopped after its last
  scene.
- Old client, our service: the same client with the encode times of our service. It encodes one
  scene at a time, so one of the two vCPUs of a task is idle.
- Ours, public image: the engine, with one scene at a time on each task.
- Ours, our service: a scene takes less vCPU time, by the ratio `PUBLIC_IMAGE_FACTOR`, and each task
  encodes one scene for each vCPU. The first run has no measurements of tasks; the second run has
  those of the first run. Its number of tasks depends on the value of an hour of waiting,
  ``Limits.hour_usd``: the default, and 0.10.
- Ours on Spot: the same, at Spot prices of the price table.

Start-up and stop times of tasks are the assumed ones of Fargate (`cloudburst.models.performance`).
The pull of the public image takes longer, because it comes from Docker Hub and not from ECR in the
same region. Goals, for the second run with our service and 0.10: at most an eighth of the old bill
and a third of the old wall time. Exits with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import anyio
from cloud.virtual import render_scenes, run_in_virtual_time

from cloudburst.aws.client.price_list import read_prices
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.models import performance as default_performance
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.performance import (
    NATIVE_CPU_SECONDS_PER_WORK,
    ONESTEP_PARALLEL,
    ONESTEP_SERIAL,
    PLACEMENT_SECONDS,
    PULL_SECONDS,
    STOP_SECONDS,
    TRANSFER_SECONDS,
    fargate_encoder_slots,
    fargate_kind,
    fargate_performance,
)
from cloudburst.models.prices import DEFAULT_REGION, Rates
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.models.task import (
    LaunchRequest,
    Protocol,
    TaskId,
    TaskSpec,
    TaskState,
    TaskStatus,
    Usage,
    seconds_billed,
)
from cloudburst.models.tier import Tier
from cloudburst.ports.backend import Backend, new_key
from cloudburst.testing import FakeCloud

SCENES, TASKS, TIER = 8, 4, Tier.STANDARD
AWS = default_performance.Cloud.of(None, region=DEFAULT_REGION, account=None)
PUBLIC_IMAGE_SECONDS = 110.0
"""Encode time of a scene by the public image on 2 vCPU, in seconds."""
PUBLIC_IMAGE_FACTOR = (ONESTEP_SERIAL + ONESTEP_PARALLEL) / NATIVE_CPU_SECONDS_PER_WORK
"""CPU seconds of the public image over those of our service: 85, the ratio that plans assume."""
VCPU_SECONDS = (
    PUBLIC_IMAGE_SECONDS
    * (ONESTEP_SERIAL + ONESTEP_PARALLEL)
    / (ONESTEP_SERIAL + ONESTEP_PARALLEL / TIER.vcpu)
)
"""vCPU seconds of the public image during that time, in which it does not keep both vCPUs busy."""
SERVICE_SECONDS = VCPU_SECONDS / PUBLIC_IMAGE_FACTOR
"""Encode time of a scene by our service, in seconds: each of its encoder slots has one vCPU."""
AUDIO_SECONDS = 12.0
"""Length of the audio of each scene, in seconds. Only its equality for all scenes matters."""
SPREAD = 0.2
"""Largest relative difference of a drawn time from the expected time."""
HUB_PULL_SECONDS = 57
"""Seconds from the start of the pull until a task with the public image runs: 413 MB from Docker
Hub, see `PULL_SECONDS`."""
BOOT_SECONDS = 2.0
"""Seconds from RUNNING until the public image answers: the import of its program took 1.9 s."""
SERVICE_BOOT_SECONDS = 0.7
"""Seconds from RUNNING until our service answers: ``benchmarks/start.py``."""
BILL_GOAL, WALL_GOAL = 1 / 8, 1 / 3
DEFAULT_HOUR_USD, LOW_HOUR_USD = Limits().hour_usd, Decimal("0.10")
NAMES = tuple(f"s{number}" for number in range(SCENES))


class Outcome(NamedTuple):
    """Wall time in seconds, bill in USD, and number of tasks of a run."""

    wall: float
    usd: Decimal
    tasks: int


@dataclass(frozen=True)
class RandomTimes:
    """Start-up and encode times of one seed, in seconds."""

    seed: int

    def _factor(self, name: str) -> float:
        return random.Random(f"{self.seed} {name}").uniform(1 - SPREAD, 1 + SPREAD)

    def startup(self, task: TaskId, protocol: Protocol) -> float:
        pull = HUB_PULL_SECONDS if protocol is Protocol.ONESTEP else PULL_SECONDS
        return self._factor(task) * (PLACEMENT_SECONDS + pull)

    def encode(self, seconds: float) -> Callable[[str], float]:
        return lambda name: seconds * self._factor(name)

    def cloud(self, seconds: float, protocol: Protocol, rates: Rates) -> Cloud:
        return Cloud(
            times=self,
            protocol=protocol,
            name="fargate",
            pull_after=PLACEMENT_SECONDS,
            upload=TRANSFER_SECONDS / 2,
            encode=self.encode(seconds),
            download=TRANSFER_SECONDS / 2,
            encoders=fargate_encoder_slots(TIER, protocol),
            cancels_encodes=protocol is Protocol.NATIVE,
            stop_takes=0.2,
            ends_after=STOP_SECONDS,
            rates=rates,
        )


@dataclass(eq=False, kw_only=True)
class Cloud(FakeCloud):
    """Fake cloud with a different start-up time and a billed IPv4 address for each task."""

    times: RandomTimes
    protocol: Protocol
    running_before_ready: float = 0.0
    """Seconds for which a task is RUNNING before its worker is ready."""

    @asynccontextmanager
    async def backend(self, timeouts: Timeouts, tier: Tier) -> AsyncGenerator[Backend]:
        """Yield the backend with the properties of the real Fargate backend."""
        async with super().backend(timeouts, tier) as backend:
            yield replace(
                backend,
                kind=fargate_kind(tier, self.protocol, "X86_64", AWS, "an-image"),
                performance=fargate_performance(tier, self.protocol),
                usd_per_second=self.rates.task_usd_per_second(tier) if self.rates else Decimal(),
                encode_timeout_factor=10.0 if self.protocol is Protocol.ONESTEP else 0.0,
            )

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:
        status = await super().describe(task, refresh=refresh)
        if status.usage is not None:
            status = replace(status, usage=replace(status.usage, public_ipv4=True))
        launched = self.running.get(task)
        startup = self.times.startup(task, self.protocol) - self.running_before_ready
        if launched is None or anyio.current_time() >= launched + startup:
            return status
        return replace(status, state=TaskState.STARTING, address=None)


def rates(capacity: str) -> Rates:
    return read_prices().rates(DEFAULT_REGION, capacity=capacity)


async def run_ours(
    cloud: Cloud, measurements: Measurements, *, hour_usd: Decimal = DEFAULT_HOUR_USD
) -> Outcome:
    audio_seconds = dict.fromkeys(NAMES, AUDIO_SECONDS)
    limits = Limits(workers=TASKS, hour_usd=hour_usd)
    report = await render_scenes([cloud], audio_seconds, limits=limits, measurements=measurements)
    report.raise_for_failures()
    billed = [worker for worker in report.workers if worker.cost is not None]
    return Outcome(report.wall_seconds, report.cost.usd, len(billed))


async def run_old(times: RandomTimes, *, protocol: Protocol) -> Outcome:
    """Simulate the old client on the public image (``onestep``) or on our service."""
    public = protocol is Protocol.ONESTEP
    seconds = PUBLIC_IMAGE_SECONDS if public else SERVICE_SECONDS
    cloud = times.cloud(seconds, protocol, rates("FARGATE"))
    cloud.running_before_ready = BOOT_SECONDS if public else SERVICE_BOOT_SECONDS
    began, bills, ends = anyio.current_time(), list[Decimal](), list[float]()
    share = SCENES // TASKS

    async def batch(number: int) -> None:
        ended, usage = await _run_batch(cloud, times, NAMES[number * share : (number + 1) * share])
        ends.append(ended)
        bills.append(seconds_billed(usage) * usage.usd_per_second)

    async with anyio.create_task_group() as tasks:
        for number in range(TASKS):
            tasks.start_soon(batch, number)
    return Outcome(max(ends) - began, sum(bills, Decimal()), TASKS)


async def _run_batch(cloud: Cloud, times: RandomTimes, names: Sequence[str]) -> tuple[float, Usage]:
    """Run one task, and return the time of the answer to StopTask, and the billed usage."""
    secrets = new_key()
    request = LaunchRequest(spec=TaskSpec(tier=TIER), token=secrets.key, secrets=secrets)
    launched = anyio.current_time()
    task = await cloud.launch(request)
    while (await cloud.describe(task)).state is not TaskState.RUNNING:  # noqa: ASYNC110 - the old client polls
        await anyio.sleep(10)
    ready = launched + times.startup(task, cloud.protocol)
    while anyio.current_time() < ready:  # noqa: ASYNC110 - the old client polls
        await anyio.sleep(30)
    async with cloud.connect(task, secrets=secrets) as renderer:
        for name in names:
            scene = Scene(name=name, image=Path(f"{name}.png"), audio=Path(f"{name}.mp3"))
            checked = CheckedScene(scene=scene, audio_seconds=1, image_bytes=1)
            upload = await renderer.upload(checked)
            output = await renderer.encode(upload, progress=lambda _: None)
            await renderer.download(output, Path(f"{name}.mp4"))
    await cloud.stop(task, reason="Batch processing completed")
    return anyio.current_time(), await _usage_when_stopped(cloud, task)


async def _usage_when_stopped(cloud: FakeCloud, task: TaskId) -> Usage:
    while (status := await cloud.describe(task)).state is not TaskState.STOPPED:  # noqa: ASYNC110
        await anyio.sleep(1)
    assert status.usage is not None
    return status.usage


def our_setup(
    protocol: Protocol,
    *,
    second_run: bool = True,
    capacity: str = "FARGATE",
    hour_usd: Decimal = DEFAULT_HOUR_USD,
) -> Callable[[RandomTimes], Awaitable[Outcome]]:
    """Return a function that runs our client.

    Args:
        protocol: Protocol of the workers.
        second_run: True if the run has the measurements of an earlier run.
        capacity: Capacity provider of the tasks.
        hour_usd: Value of an hour of waiting, in USD.
    """
    seconds = PUBLIC_IMAGE_SECONDS if protocol is Protocol.ONESTEP else SERVICE_SECONDS

    async def setup(times: RandomTimes) -> Outcome:
        measurements = Measurements()
        if second_run:
            earlier = RandomTimes(~times.seed)
            await run_ours(earlier.cloud(seconds, protocol, rates(capacity)), measurements)
        cloud = times.cloud(seconds, protocol, rates(capacity))
        return await run_ours(cloud, measurements, hour_usd=hour_usd)

    return setup


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of eight scenes with both clients.")
    parser.add_argument("--seeds", type=int, default=100, help="number of seeds")
    arguments = parser.parse_args()
    setups: dict[str, Callable[[RandomTimes], Awaitable[Outcome]]] = {
        "old client, public image": partial(run_old, protocol=Protocol.ONESTEP),
        "old client, our service": partial(run_old, protocol=Protocol.NATIVE),
        "ours, public image": our_setup(Protocol.ONESTEP),
        "ours, our service, first run": our_setup(Protocol.NATIVE, second_run=False),
        "ours, our service": our_setup(Protocol.NATIVE),
        "ours, our service, $0.10 for an hour": our_setup(Protocol.NATIVE, hour_usd=LOW_HOUR_USD),
        "ours, our service, Spot": our_setup(Protocol.NATIVE, capacity="FARGATE_SPOT"),
    }
    print(
        f"{SCENES} scenes; encode time of a scene: {PUBLIC_IMAGE_SECONDS:.0f} s with the public "
        f"image on {TIER.vcpu} vCPU, {SERVICE_SECONDS:.1f} s with our service on 1 vCPU"
    )
    print(
        f"{'setup':38} {'wall':>7} {'bill':>9} {'tasks':>5} "
        f"{'of the old bill':>16} {'of the old wall':>16}"
    )
    baseline: Outcome | None = None
    met: list[bool] = []
    for name, setup in setups.items():
        outcomes = [
            run_in_virtual_time(partial(setup, RandomTimes(seed)))
            for seed in range(arguments.seeds)
        ]
        typical = Outcome(
            median(outcome.wall for outcome in outcomes),
            median(outcome.usd for outcome in outcomes),
            round(median(outcome.tasks for outcome in outcomes)),
        )
        baseline = baseline or typical
        bill, wall = float(typical.usd / baseline.usd), typical.wall / baseline.wall
        print(f"{name:38} {typical.wall:5.0f} s ${typical.usd:8.4f} {typical.tasks:5}", end=" ")
        print(f"{bill:16.3f} {wall:16.3f}", flush=True)
        if name == "ours, our service, $0.10 for an hour":
            met = [bill <= BILL_GOAL, wall <= WALL_GOAL]
    goals = ("at most an eighth of the old bill", "at most a third of the old wall time")
    for goal, goal_met in zip(goals, met, strict=True):
        print(f"{'met   ' if goal_met else 'MISSED'} {goal}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
