"""Random mixes of faults, each drawn by a seed, that a run of five attempts must get over."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudburst.emulator.faults import NO_CAPACITY
from cloudburst.testing import CapacityShortage, Fault, TaskFault

YOUNG_ROLE = (
    "ECS was unable to assume the role "
    "'arn:aws:iam::123456789012:role/cloudburst-execution-us-east-1' that was provided for this "
    "task. Please verify that the role being passed has the proper trust relationship and "
    "permissions and that your IAM user has permissions to pass this role."
)

ATTEMPTS = 5
HARMFUL = ATTEMPTS - 1
"""Faults that may cost a scene an attempt, or the backend a start: with fewer than there are
attempts, every scene must come through."""
HITS = {"RunTask": 5, "StopTask": 4, "DescribeTasks": 4, "DescribeNetworkInterfaces": 3}
"""Calls of an operation that are hit in one mix, so that they are through before deadlines."""
TASKS = 5
"""The first tasks may have faults."""
LOSING = 0.5
"""Share of the mixes in which tasks lose their interface by chance, as one in 200 does at AWS."""
CUTTING = {"cut", "cut download", "freeze"}
"""What may break a download, so that a video is asked for again."""


@dataclass(slots=True, kw_only=True)
class Mix:
    """Everything that a seed decides."""

    scenes: int
    workers: int
    settings: dict[str, Any]
    config: dict[str, Any]
    calls: list[Fault] = field(default_factory=list)
    tasks: dict[int, TaskFault] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def resumed(self) -> bool:
        return bool(CUTTING & self.kinds.keys())

    @property
    def crashing(self) -> set[int]:
        """Numbers of the tasks that end by themselves, maybe while they encode."""
        return {
            number
            for number, fault in self.tasks.items()
            if fault.crash_after is not None or "STUB_CRASH_CREATE" in fault.environment
        }


def drawn(seed: int) -> Mix:
    """The mix of a seed."""
    rng = random.Random(seed)
    mix = Mix(
        scenes=rng.randint(1, 12),
        workers=rng.randint(1, 4),
        settings={
            "capacity": rng.choice(["FARGATE", "FARGATE_SPOT"]),
            "public_address": rng.random() < 0.7,
        },
        config={
            "provisioning": rng.uniform(0.1, 0.3),
            "pending": rng.uniform(0.1, 0.4),
            "deprovisioning": rng.uniform(0.05, 0.3),
            "jitter": rng.choice([0, 0.2, 0.5]),
            "latency": rng.choice([0, 0, 0.02, 0.15]),
            "new_task_invisible": rng.choice([0.05, 0.05, 0.5, 1.2]),
            "disagreement": rng.choice([0.05, 0.05, 0.5, 1.2]),
            "interruption_lag": rng.choice([-0.5, 0, 0.1, 1]),
            "interface_timeout": rng.uniform(0.5, 3),
            "cpu_spread": rng.choice([0, 0.3, 1]),
            "wrap_throttling": rng.random() < 0.3,
            "worker_environment": {
                "STUB_BOOT_SECONDS": f"{rng.uniform(0, 0.5):.2f}",
                "STUB_GENERATE_SECONDS": f"{rng.uniform(0.02, 0.4):.2f}",
                "STUB_VIDEO_BYTES": str(rng.randint(2_000, 400_000)),
                "STUB_TERM": rng.choice(["", "", "drain", "die", "ignore"]),
            },
            "moto": False,
            "seed": seed,
        },
    )
    if not mix.settings["public_address"]:
        mix.config["way_out"] = "nat"
    wanted = rng.randint(3, 8)
    while mix.kinds.total() < wanted:
        rng.choice([add_call, add_call, add_task, add_place])(mix, rng)
    mix.config["task_faults"] = mix.tasks
    if rng.random() < LOSING:
        add_lost_interfaces(mix, rng)
    return mix


def add_lost_interfaces(mix: Mix, rng: random.Random) -> None:
    """Let a share of the tasks never get an interface: one of the first, and never too many."""
    share = rng.choice([0.05, 0.1, 0.2])
    # A place without room costs two starts: one to learn of it, and one in a wrong subnet.
    left = HARMFUL - len(mix.tasks) - (2 if PLACES.keys() & mix.kinds.keys() else 0)
    if left < 1:
        return
    while True:
        seed = rng.randrange(1_000_000)
        lost = lost_tasks(seed, share, 3 * TASKS)
        if lost and min(lost) < min(mix.scenes, mix.workers) and len(lost) <= left:
            break
    mix.config |= {"lost_interfaces": share, "seed": seed}
    mix.kinds["lost interface"] += 1


def lost_tasks(seed: int, share: float, count: int) -> list[int]:
    """Numbers of the tasks, of so many, that an emulator with this seed gives no interface."""
    chance = random.Random(seed)
    # For each task it draws three numbers: for the interface, the processor and the pace.
    drawn = [[chance.random() for _ in range(3)] for _ in range(count)]
    return [number for number, (first, *_) in enumerate(drawn) if first < share]


def add_place(mix: Mix, rng: random.Random) -> None:
    """A place without room, if there is none yet; the others have enough."""
    kind = rng.choice(list(PLACES))
    if kind in mix.kinds or PLACES.keys() & mix.kinds.keys():
        return
    if kind.startswith("Spot") and "FARGATE_SPOT" not in mix.settings["capacity"]:
        return
    mix.config.update(PLACES[kind](rng))
    mix.kinds[kind] += 1


def add_call(mix: Mix, rng: random.Random) -> None:
    """Another fault of the API, if there may be one of the kind that is drawn."""
    operation = rng.choice(list(HITS))
    kind = rng.choice(["lost", "dropped", "delay", "throttled", "5xx", "special"])
    left = HITS[operation] - sum(f.times for f in mix.calls if f.operation == operation)
    if left < 1:
        return
    more: Mapping[str, Any] = {"kind": kind}
    match kind, operation:
        case "throttled", _:
            more = {"code": "RequestLimitExceeded" if "Net" in operation else "ThrottlingException"}
        case "5xx", _:
            more = {"code": "ServerException", "status": 500, "message": "Unexpected"}
        case "delay", _:
            more = {"kind": "delay", "seconds": round(rng.uniform(0.2, 3), 2)}
        case "special", "RunTask":
            more = rng.choice([{"kind": "doubled"}, {"kind": "failures"}])
        case "special", _:
            more = {"kind": "doubled"}
    times = rng.randint(1, min(left, 3))
    # The first DescribeTasks only asks for the cluster.
    skip = rng.randint(0, 3) + (operation == "DescribeTasks")
    mix.calls.append(Fault(operation=operation, skip=skip, times=times, **more))
    mix.kinds[f"{operation} {kind}"] += 1


def add_task(mix: Mix, rng: random.Random) -> None:
    """A fault of another task, if there may be one of the kind that is drawn."""
    free = [number for number in range(TASKS) if number not in mix.tasks]
    kind = rng.choice(list(TASK_FAULTS))
    if not free or len(mix.tasks) >= HARMFUL:
        return
    if kind == "interrupt" and mix.settings["capacity"] == "FARGATE":
        return
    mix.tasks[free[rng.randrange(min(3, len(free)))]] = TASK_FAULTS[kind](rng)
    mix.kinds[kind] += 1


def _at(rng: random.Random) -> float:
    return round(rng.uniform(0, 2.5), 2)


def _environment(name: str) -> Callable[[random.Random], TaskFault]:
    return lambda rng: TaskFault(environment={name: str(rng.randint(0, 1))})


PLACES: Mapping[str, Callable[[random.Random], dict[str, Any]]] = {
    "zone without Fargate": lambda rng: {
        "zones_without_fargate": {rng.choice(["use1-az6", "use1-az1"])}
    },
    "zone without room": lambda rng: {
        "capacity_shortages": [
            CapacityShortage(zone=rng.choice("ab"), as_stopped_task=rng.random() < 0.5)
        ]
    },
    "Spot without room": lambda _: {
        "capacity_shortages": [CapacityShortage(provider="FARGATE_SPOT")]
    },
    "Spot quota": lambda rng: {"spot_vcpu_quota": rng.choice([2.0, 4.0])},
    "vCPU quota": lambda rng: {"vcpu_quota": rng.choice([2.0, 4.0])},
}
"""Where the account has no room; with an attempt or two a run finds another place."""
TASK_FAULTS: Mapping[str, Callable[[random.Random], TaskFault]] = {
    "image pull": lambda _: TaskFault(registry_unreachable=True),
    "network interface": lambda _: TaskFault(no_network_interface=True),
    "never attached": lambda _: TaskFault(never_attached=True),
    "no room after all": lambda _: TaskFault(stopped_reason=NO_CAPACITY),
    "young role": lambda _: TaskFault(stopped_reason=YOUNG_ROLE),
    "no public address": lambda _: TaskFault(no_public_address=True),
    "black hole": lambda _: TaskFault(black_hole=True),
    "never healthy": lambda _: TaskFault(never_healthy=True),
    "late": lambda rng: TaskFault(start_delay=_at(rng)),
    "crash": lambda rng: TaskFault(crash_after=_at(rng)),
    "interrupt": lambda rng: TaskFault(interrupt_after=_at(rng)),
    "freeze": lambda rng: TaskFault(freeze=(_at(rng), _at(rng))),
    "slow": lambda rng: TaskFault(slow=rng.choice([2, 4])),
    "cut": lambda rng: TaskFault(
        cut_connections={n: rng.randint(100, 60_000) for n in rng.sample(range(1, 9), 2)}
    ),
    "fail": _environment("STUB_FAIL_CREATE"),
    "crash at work": _environment("STUB_CRASH_CREATE"),
    "fail download": _environment("STUB_FAIL_DOWNLOAD"),
    "cut download": _environment("STUB_CUT_DOWNLOAD"),
}
