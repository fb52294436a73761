"""Twenty scenes on this machine, on Fargate, and on both at once: how long, and for how much.

    python benchmarks/burst.py [--seeds 20]

In virtual time, with `cloudburst.testing.FakeCloud`, whose workers do not share an encode: one
local worker with two cores, which answers after 1.5 s, and up to four tasks of 2 vCPU, which need
40 s and encode two scenes at once. Speeds are measured ones. A second of work, which is about a
second of sound (see `cloudburst.engine.forecast.scene_work.scene_work`), takes our service 0.235 s
of a core (``benchmarks/plan.py --work``); a vCPU does 0.63 of a core's work when all are busy
(AWS's "Graviton performance runbook", of c6i, 2026-11); the public image takes 18.5 times as long
as our service (``benchmarks/render.py --peer``) and encodes one scene at a time. Files take a
second each way to a task, and a tenth of that here. A task is billed from 8 s after its launch to
15 s after its stop, at list prices of us-east-1.

Each seed draws lengths, log-normal with sigma 1, and lets each encode take a tenth more or less.
All three ways know the figures of an earlier run, and follow the same rule for when a task is
worth its start. Told are seconds, USD and tasks in the mean, by the length that half of the scenes
have at most. Goals, for each seed: burst takes no more than 1.02 of the faster of the other two,
and costs no more than Fargate only. Exits with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from cloud.virtual import in_virtual_time, log_normal, rendered, scene

from cloudburst.engine.forecast.measurements import Measurements
from cloudburst.engine.forecast.scene_work import scene_work
from cloudburst.models.limits import Limits
from cloudburst.models.performance import Sample
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.report import Report, Status
from cloudburst.testing import FakeCloud

SCENES, CORES, TASKS = 20, 2, 4
CORE, VCPU, IMAGE = 0.235, 1 / 0.63, 18.5
"""Seconds of a core for a second of work; of a vCPU for one of a core; times as long."""
START, LOCAL_START, PULL, STOP = 40.0, 1.5, 8.0, 15.0
LIMITS = Limits(workers=TASKS)
SLOWER = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is rendered, and how tasks do it."""

    name: str
    middle: float
    """Seconds of sound that half of the scenes have at most."""
    ratio: float = CORE * VCPU
    """Seconds that a task needs for a second of work."""
    encoders: int = 2


CASES = (
    Case(name="5 s", middle=5.0),
    Case(name="15 s", middle=15.0),
    Case(name="30 s", middle=30.0),
    Case(name="60 s", middle=60.0),
    Case(name="240 s", middle=240.0),
    Case(name="30 s, public image", middle=30.0, ratio=CORE * VCPU * IMAGE, encoders=1),
)


def here(taken: Mapping[str, float]) -> FakeCloud:
    return FakeCloud(
        name="here",
        capacity=1,
        encoders=CORES,
        boot=LOCAL_START,
        upload=0.1,
        encode=lambda name: CORE * taken[name],
        download=0.1,
    )


def there(case: Case, taken: Mapping[str, float]) -> FakeCloud:
    return FakeCloud(
        name="there",
        encoders=case.encoders,
        boot=START,
        pull_after=PULL,
        upload=1.0,
        encode=lambda name: case.ratio * taken[name],
        download=1.0,
        stop_takes=0.2,
        ends_after=STOP,
        rates=US_EAST_1_RATES,
    )


def earlier_run(case: Case) -> Measurements:
    """Return the measurements that an earlier run has left."""
    known = Measurements()
    for kind, start, ratio, moving, stop in (
        ("here", LOCAL_START, CORE, 0.2, 0.0),
        ("there", START, case.ratio, 2.0, STOP),
    ):
        for number in range(1, 41):
            took = ratio * number * (0.9 if number % 2 else 1.1)
            known.add(Sample(kind=kind, measure="encode", seconds=took, work=number))
        known.add(Sample(kind=kind, measure="startup", seconds=start))
        known.add(Sample(kind=kind, measure="transfer", seconds=moving))
        known.add(Sample(kind=kind, measure="stop", seconds=stop))
    return known


async def three_ways(case: Case, seed: int) -> dict[str, Report]:
    sounds = {f"s{n}": s for n, s in enumerate(log_normal(seed, SCENES, middle=case.middle))}
    rng = random.Random(~seed)
    taken = {
        name: scene_work(scene(name, sound)) * rng.uniform(0.9, 1.1)
        for name, sound in sounds.items()
    }
    ways = {
        "local": [here(taken)],
        "fargate": [there(case, taken)],
        "burst": [here(taken), there(case, taken)],
    }
    return {
        way: await rendered(clouds, sounds, limits=LIMITS, measurements=earlier_run(case))
        for way, clouds in ways.items()
    }


def usd(report: Report) -> Decimal:
    return report.cost.usd if report.cost else Decimal()


def measure(case: Case, seeds: int) -> list[bool]:
    reports = [in_virtual_time(partial(three_ways, case, seed)) for seed in range(seeds)]
    assert all(r.status is Status.COMPLETE for ways in reports for r in ways.values())
    cells = list[str]()
    for way in ("local", "fargate", "burst"):
        seconds = sum(ways[way].wall_seconds for ways in reports) / seeds
        price = sum(usd(ways[way]) for ways in reports) / seeds
        tasks = sum(w.cost is not None for ways in reports for w in ways[way].workers) / seeds
        cells.append(f"{seconds:8.1f} s ${price:.4f} {tasks:4.1f}")
    print(f"{case.name:20} {'  '.join(cells)}", flush=True)
    slower = [
        ways["burst"].wall_seconds / min(ways["local"].wall_seconds, ways["fargate"].wall_seconds)
        for ways in reports
    ]
    dearer = [usd(ways["burst"]) - usd(ways["fargate"]) for ways in reports]
    return [
        verdict(
            f"at most {SLOWER} of the faster: {max(slower):.3f} at worst",
            met=max(slower) <= SLOWER,
        ),
        verdict(
            f"never dearer than Fargate only: {max(dearer):+.4f} USD at worst",
            met=max(dearer) <= 0,
        ),
    ]


def verdict(what: str, *, met: bool) -> bool:
    print(f"  {'met   ' if met else 'MISSED'} {what}", flush=True)
    return met


def heads(names: Sequence[str]) -> str:
    return "  ".join(f"{name:>23}" for name in names)


def main() -> int:
    parser = argparse.ArgumentParser(description="This machine, Fargate, and both at once.")
    parser.add_argument("--seeds", type=int, default=20)
    said = parser.parse_args()
    print(f"{'half at most':20} {heads(('local only', 'Fargate only', 'burst'))}")
    met = [done for case in CASES for done in measure(case, said.seeds)]
    print("\ngoals: all met" if all(met) else f"\ngoals: {met.count(False)} MISSED")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
