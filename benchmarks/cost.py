"""What eight scenes cost: the old client, ours with the public image, ours with our own service.

    python benchmarks/cost.py [--seeds 100]

The example of the old client's README: eight scenes on up to four tasks of 2 vCPU and 4 GB, "16
minutes on one of them", which is about 110 s a scene when a minute of it is the start. Tasks are
fakes in virtual time, bills are those of the ledger at list prices of us-east-1 with an address
for each task. Each seed draws how long tasks take to start and each scene to encode, the same for
all ways: a fifth more or less. Told are medians.

- old: `cloudburst-fargate` 1.0.1, as its source has it: shares of two scenes; asks every 10 s for
  the address and every 30 s whether the worker answers; upload, encode and download one after the
  other; each task is stopped at its end.
- ours, public image: the engine, one scene at a time on a task.
- ours, our service: a scene needs so much less as ``benchmarks/render.py --peer`` has it, and a
  task encodes one for each vCPU. The first time nothing is known of tasks, so all are started that
  have something to do; then figures of that run are.
- the same on Spot, at the price table's factor.

Starts and ends of tasks are those that are assumed of Fargate (`cloudburst.models.performance`);
the public image comes from Docker Hub, which takes longer than ECR in the same region. Goals, from
the second run with our service on: an eighth of the old bill and a third of its time, at most.
Exits with 1 when one is missed.
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
from cloud.virtual import in_virtual_time, rendered

from cloudburst.aws.client.price_list import read_prices
from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.models import default_performance
from cloudburst.models.billing import seconds_billed
from cloudburst.models.default_performance import (
    ONESTEP_PARALLEL,
    ONESTEP_SERIAL,
    TRANSFER_SECONDS,
    fargate_encoder_slots,
    fargate_kind,
    fargate_performance,
)
from cloudburst.models.limits import Limits, Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.performance import PLACEMENT_SECONDS, PULL_SECONDS, STOP_SECONDS
from cloudburst.models.prices import DEFAULT_REGION, Rates
from cloudburst.models.scene import Scene
from cloudburst.models.task import (
    LaunchRequest,
    Protocol,
    TaskId,
    TaskSpec,
    TaskState,
    TaskStatus,
    Usage,
)
from cloudburst.models.tier import Tier
from cloudburst.ports import Backend, new_key
from cloudburst.testing import FakeCloud

SCENES, TASKS, TIER = 8, 4, Tier.STANDARD
AWS = default_performance.Cloud.of(None, region=DEFAULT_REGION, account=None)
PUBLIC = 110.0
"""Seconds that the public image needs for a scene on 2 vCPU."""
SAVED = 14.1
"""The public image's CPU-seconds over ours, with zoom and subtitles at 10 s of sound:
``benchmarks/render.py --peer`` (5.49 against 77.61)."""
VCPU_SECONDS = (
    PUBLIC * (ONESTEP_SERIAL + ONESTEP_PARALLEL) / (ONESTEP_SERIAL + ONESTEP_PARALLEL / TIER.vcpu)
)
"""What the public image takes of vCPUs in that time: it does not keep two of them busy."""
OURS = VCPU_SECONDS / SAVED
"""Seconds that our service needs for it on one vCPU, which is what each of its slots has."""
SOUND = 12.0
"""Seconds of sound of each: only that they are equal matters."""
SPREAD = 0.2
HUB_PULL = 57
"""Seconds from the start of the pull until the public image runs: 413 MB from elsewhere, see
`PULL_SECONDS`."""
API = 2.0
"""Seconds from RUNNING until the public image answers: the import of its program took 1.9."""
BILL_GOAL, WALL_GOAL = 1 / 8, 1 / 3
NAMES = tuple(f"s{number}" for number in range(SCENES))


class Came(NamedTuple):
    wall: float
    usd: Decimal
    tasks: int


@dataclass(frozen=True)
class Luck:
    """What one seed draws."""

    seed: int

    def _factor(self, of: str) -> float:
        return random.Random(f"{self.seed} {of}").uniform(1 - SPREAD, 1 + SPREAD)

    def start(self, task: TaskId, protocol: Protocol) -> float:
        pull = HUB_PULL if protocol is Protocol.ONESTEP else PULL_SECONDS
        return self._factor(task) * (PLACEMENT_SECONDS + pull)

    def encode(self, seconds: float) -> Callable[[str], float]:
        return lambda name: seconds * self._factor(name)

    def cloud(self, seconds: float, protocol: Protocol, rates: Rates) -> Cloud:
        return Cloud(
            luck=self,
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
    """A start of its own for each task, and an address that is paid for."""

    luck: Luck
    protocol: Protocol
    early: float = 0.0
    """So many seconds before they answer, tasks are RUNNING."""

    @asynccontextmanager
    async def backend(self, timeouts: Timeouts, tier: Tier) -> AsyncGenerator[Backend]:
        """With what the real one says of itself."""
        async with super().backend(timeouts, tier) as backend:
            yield replace(
                backend,
                kind=fargate_kind(tier, self.protocol, "X86_64", AWS),
                performance=fargate_performance(tier, self.protocol),
                usd_per_second=self.rates.task_usd_per_second(tier) if self.rates else Decimal(),
                encode_timeout_factor=10.0 if self.protocol is Protocol.ONESTEP else 0.0,
            )

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:
        status = await super().describe(task, refresh=refresh)
        if status.usage is not None:
            status = replace(status, usage=replace(status.usage, public_ipv4=True))
        launched = self.running.get(task)
        if (
            launched is None
            or anyio.current_time() >= launched + self.luck.start(task, self.protocol) - self.early
        ):
            return status
        return replace(status, state=TaskState.STARTING, address=None)


def rates(capacity: str) -> Rates:
    return read_prices().rates(DEFAULT_REGION, capacity=capacity)


async def ours(cloud: Cloud, measurements: Measurements) -> Came:
    sounds = dict.fromkeys(NAMES, SOUND)
    report = await rendered(
        [cloud], sounds, limits=Limits(workers=TASKS), measurements=measurements
    )
    report.raise_for_failures()
    billed = [worker for worker in report.workers if worker.cost is not None]
    return Came(report.wall_seconds, report.cost.usd if report.cost else Decimal(), len(billed))


async def old(luck: Luck) -> Came:
    """Simulate the old client on the public image."""
    cloud = luck.cloud(PUBLIC, Protocol.ONESTEP, rates("FARGATE"))
    cloud.early = API
    began, bills, ends = anyio.current_time(), list[Decimal](), list[float]()
    share = SCENES // TASKS

    async def batch(number: int) -> None:
        ended, usage = await _batch(cloud, luck, NAMES[number * share : (number + 1) * share])
        ends.append(ended)
        bills.append(seconds_billed(usage) * usage.usd_per_second)

    async with anyio.create_task_group() as tasks:
        for number in range(TASKS):
            tasks.start_soon(batch, number)
    return Came(max(ends) - began, sum(bills, Decimal()), TASKS)


async def _batch(cloud: Cloud, luck: Luck, names: Sequence[str]) -> tuple[float, Usage]:
    """One task from launch to stop; when StopTask was answered, and what is billed."""
    secrets = new_key()
    request = LaunchRequest(spec=TaskSpec(tier=TIER), token=secrets.key, secrets=secrets)
    launched = anyio.current_time()
    task = await cloud.launch(request)
    while (await cloud.describe(task)).state is not TaskState.RUNNING:  # noqa: ASYNC110 - as it does
        await anyio.sleep(10)
    while anyio.current_time() < launched + luck.start(task, cloud.protocol):  # noqa: ASYNC110 - as it does
        await anyio.sleep(30)
    async with cloud.connect(task, secrets=secrets) as renderer:
        for name in names:
            scene = Scene(name=name, image=Path(f"{name}.png"), audio=Path(f"{name}.mp3"))
            upload = await renderer.upload(scene, RenderOptions())
            output = await renderer.encode(upload, progress=lambda _: None)
            await renderer.download(output, Path(f"{name}.mp4"))
    await cloud.stop(task, reason="Batch processing completed")
    return anyio.current_time(), await _stopped(cloud, task)


async def _stopped(cloud: FakeCloud, task: TaskId) -> Usage:
    while (status := await cloud.describe(task)).state is not TaskState.STOPPED:  # noqa: ASYNC110 - as it does
        await anyio.sleep(1)
    assert status.usage is not None
    return status.usage


def new(
    protocol: Protocol, *, twice: bool = True, capacity: str = "FARGATE"
) -> Callable[[Luck], Awaitable[Came]]:
    """Our client, with figures of an earlier run or with none."""
    seconds = PUBLIC if protocol is Protocol.ONESTEP else OURS

    async def way(luck: Luck) -> Came:
        measurements = Measurements()
        if twice:
            before = Luck(~luck.seed)
            await ours(before.cloud(seconds, protocol, rates(capacity)), measurements)
        return await ours(luck.cloud(seconds, protocol, rates(capacity)), measurements)

    return way


def main() -> int:
    parser = argparse.ArgumentParser(description="What eight scenes cost.")
    parser.add_argument("--seeds", type=int, default=100)
    said = parser.parse_args()
    ways: dict[str, Callable[[Luck], Awaitable[Came]]] = {
        "old client, public image": old,
        "ours, public image": new(Protocol.ONESTEP),
        "ours, our service, first run": new(Protocol.NATIVE, twice=False),
        "ours, our service": new(Protocol.NATIVE),
        "ours, our service, Spot": new(Protocol.NATIVE, capacity="FARGATE_SPOT"),
    }
    print(f"{SCENES} scenes; a scene: {PUBLIC:.0f} s there, {OURS:.1f} s on a vCPU with ours")
    print(f"{'':38} {'wall':>7} {'bill':>9} {'tasks':>5} {'of the old bill':>16} {'and wall':>9}")
    first: Came | None = None
    met: list[bool] = []
    for name, way in ways.items():
        came = [in_virtual_time(partial(way, Luck(seed))) for seed in range(said.seeds)]
        usual = Came(
            median(each.wall for each in came),
            median(each.usd for each in came),
            round(median(each.tasks for each in came)),
        )
        first = first or usual
        bill, wall = float(usual.usd / first.usd), usual.wall / first.wall
        print(f"{name:38} {usual.wall:5.0f} s ${usual.usd:8.4f} {usual.tasks:5}", end=" ")
        print(f"{bill:16.3f} {wall:9.3f}", flush=True)
        if name == "ours, our service":
            met = [bill <= BILL_GOAL, wall <= WALL_GOAL]
    for what, good in zip(("an eighth of the bill", "a third of the time"), met, strict=True):
        print(f"{'met   ' if good else 'MISSED'} {what}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
