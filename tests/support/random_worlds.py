"""All that a seed decides: accounts, runs, the lives of their client, and what goes wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

import anyio
import anyio.lowlevel

from cloudburst.errors import (
    AccessDeniedError,
    CapacityError,
    NoAnswerError,
    Remedy,
    ThrottledError,
)
from cloudburst.models.limits import Limits
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.models.task import usd_amount
from support.harness import working
from support.interrupted_runs import MemoryJournal
from support.queueing_cloud import QueueingCloud, QueueingRenderer

ATTEMPTS = 6
HARMFUL = 4
"""Faults of one world that may cost a scene an attempt, or a backend a start in a row: with the
neighbourhood of a deadly scene they are fewer than ``ATTEMPTS``."""
LISTED_WITHIN = 10.0
"""Seconds: less than those for which a run that goes on looks for tasks."""


class AskedTwiceError(AssertionError):
    """A scene is rendered although its result was acknowledged."""


@dataclass(eq=False, kw_only=True)
class Account(QueueingCloud):
    """A fake with more that goes wrong, and a memory of what it has encoded."""

    listed_after: float = 0.0
    """Seconds after its launch from which a task is listed."""
    hiccups: dict[str, list[Exception]] = field(default_factory=dict)
    """Raised by the next calls of ``describe``, ``find`` and ``stop``, one each."""
    slow_scenes: dict[str, float] = field(default_factory=dict)
    """The next encode of a scene takes so many times as long: a copy would be quick."""
    works: dict[str, float] = field(default_factory=dict)
    """Seconds of an encode by scene."""
    acknowledged: set[str] = field(default_factory=set)
    """Scenes whose result was written down, and their client knew it."""
    encodes: list[list] = field(default_factory=list)
    """Task, scene, begin and end of each encode."""
    queues_jobs: bool = False
    """Its workers queue jobs."""
    usual_boot: float = 0.0
    """Seconds of a start that is neither early nor late."""
    jitter: Callable[[str], float] = lambda _: 1.0
    """Factor of a task's start."""
    active: dict[str, int] = field(default_factory=dict)
    """Encodes in progress by scene, in this life of the client."""
    client: list = field(default_factory=list)
    """Tasks that this life of the client has launched, on all accounts."""
    limit: int | None = None
    """Largest number of tasks that this life of the client may have at once."""
    wrong: list[str] = field(default_factory=list)
    """What must not have happened: the client would take an exception for a failed worker."""

    def __post_init__(self):
        self.encode = lambda scene: self.works[scene] * self.slow_scenes.pop(scene, 1.0)
        self.usual_boot = self.boot
        self.boot = lambda task: self.usual_boot * self.jitter(task)

    @asynccontextmanager
    async def backend(self, timeouts, tier):
        async with super().backend(timeouts, tier) as backend:
            yield replace(backend, queues_jobs=self.queues_jobs)

    async def launch(self, request):
        new = request.token not in self.launched
        client, limit = self.client, self.limit
        try:
            return await super().launch(request)
        finally:
            if new and request.token in self.launched:
                client.append((self, self.launched[request.token]))
                mine = [
                    task
                    for account, task in client
                    if account.is_running(task)
                    and bool(account.rates) == bool(self.rates)
                    and not account._stop_announced(task, anyio.current_time())
                ]
                if limit is not None and len(mine) > limit:
                    self.wrong.append(f"{len(mine)} tasks, and Limits.workers is {limit}")

    def hiccup(self, call):
        if self.hiccups.get(call):
            raise self.hiccups[call].pop(0)

    async def describe(self, task, *, refresh=False):
        self.hiccup("describe")
        return await super().describe(task, refresh=refresh)

    async def stop(self, task, *, reason):
        self.hiccup("stop")
        await super().stop(task, reason=reason)

    async def find(self, run):
        self.hiccup("find")
        now = anyio.current_time()
        return [
            one
            for one in await super().find(run)
            if now >= self._requests[one.task][1] + self.listed_after
        ]

    @asynccontextmanager
    async def connect(self, address, *, secrets):
        async with super().connect(address, secrets=secrets):
            yield _Renderer(self, address)

    def killers(self, scene):
        """Tasks that ended by themselves while they encoded the scene."""
        return {
            task
            for task, encoded, began, ended in self.encodes
            if encoded == scene
            and task in self.crashing_tasks
            and f"crash {task}" in self.log
            and began <= self.ended[task] <= (math.inf if ended is None else ended) + 1e-6
        }

    def billed(self, task):
        """Seconds and USD of a task that has ended, by AWS's rules."""
        request, created = self._requests[task]
        pull, end = created + self.pull_after, self.ended[task]
        if self.rates is None or pull > end:
            return 0, Decimal()
        seconds = max(60, math.ceil(round(end - pull, 3)))
        rate = self.rates.task_usd_per_second(request.spec.tier, public_ipv4=False)
        return seconds, usd_amount(seconds * rate)

    def tasks_of(self, run):
        return {task for task, (request, _) in self._requests.items() if request.spec.run == run}


class _Renderer(QueueingRenderer):
    async def encode(self, upload, *, progress):
        if upload.scene in self.cloud.acknowledged:
            raise AskedTwiceError(upload.scene)
        if self.cloud.queues_jobs:
            return await super().encode(upload, progress=progress)
        return await self.encode_now(upload, progress=progress)

    async def encode_now(self, upload, *, progress):
        account, active = self.cloud, self.cloud.active
        encode = [self.task, upload.scene, anyio.current_time(), None]
        account.encodes.append(encode)
        active[upload.scene] = active.get(upload.scene, 0) + 1
        if active[upload.scene] > 2:
            account.wrong.append(f"{upload.scene} is encoded more than twice at once")
        try:
            return await super().encode_now(upload, progress=progress)
        finally:
            encode[3] = anyio.current_time()
            active[upload.scene] -= 1


@dataclass(kw_only=True)
class RunFate:
    """A run, its scenes, and what is written down of it."""

    name: str
    scenes: list
    journal: MemoryJournal
    begins: float
    """Seconds after each life of its client."""

    @property
    def names(self):
        return [scene.scene.name for scene in self.scenes]


@dataclass(kw_only=True)
class LifeFate:
    """One life of the client, and how it ends."""

    limits: Limits
    known: bool
    """Figures were kept from other runs."""
    runs: list[RunFate]
    cancelled: dict[str, float] = field(default_factory=dict)
    """Runs that their caller cancels after so many seconds."""
    end: str = "in order"
    """Or ``killed``, ``killed before``, ``killed after`` a step, or ``cut`` by a cancel."""
    seconds: float = 0.0
    step: int = 0
    """Of the calls that change something, the one at which it dies."""
    ticks: int = 0
    down: float = 0.0
    """Seconds until the next life."""
    denied: bool = False
    """The account allows no launches in this life."""
    settles: bool = True
    """The client waits until its tasks are seen to have stopped."""


@dataclass(kw_only=True)
class World:
    """All of it."""

    accounts: list[Account]
    runs: list[RunFate]
    lives: list[LifeFate]
    broken: set[str]
    deadly: set[str]
    faults: list[tuple]
    """Seconds since the last one, kind, account and number of each."""

    def __repr__(self):
        accounts = [
            {name: value for name, value in vars(account).items() if value}
            for account in self.accounts
        ]
        runs = [
            (run.name, run.begins, {s.scene.name: s.audio_seconds for s in run.scenes})
            for run in self.runs
        ]
        told = (accounts, runs, self.lives, self.broken, self.deadly, self.faults)
        return "\n".join(map(str, told))


def drawn(seed: int, *, varied: bool) -> World:
    """The world of a seed, with or without what `_vary` adds."""
    rng = random.Random(seed)
    works = {}
    accounts = [_account(rng, number, works) for number in range(rng.choice([1, 1, 2, 3]))]
    if all(account.rates is None for account in accounts):
        accounts[-1].rates = US_EAST_1_RATES
    runs = []
    for number in range(rng.choice([1, 1, 1, 2, 3])):
        name = f"run{number + 1}"
        mine = {f"{name}-{n}": rng.choice([4, 8, 12, 20, 40]) for n in range(rng.randint(1, 8))}
        works |= mine
        begins = rng.choice([0.0, 0.0, rng.uniform(0, 90)])
        scenes = [working(scene, work) for scene, work in mine.items()]
        runs.append(RunFate(name=name, scenes=scenes, journal=MemoryJournal(), begins=begins))
    broken = {scene for scene in works if rng.random() < 0.06}
    rest = sorted(works.keys() - broken)
    deadly = set(rng.sample(rest, min(len(rest), rng.choice([0, 0, 0, 0, 1, 1, 2]))))
    for account in accounts:
        account.broken_scenes = broken
        account.crashing_scenes = {s: works[s] * rng.uniform(0.1, 0.9) for s in sorted(deadly)}
    span = max(account.usual_boot for account in accounts) + sum(works.values()) / rng.choice(
        [1, 2, 3]
    )
    lives = [_life(rng, runs, span) for _ in range(rng.choice([1, 1, 2]))]
    lives.append(LifeFate(limits=_limits(rng), known=rng.random() < 0.5, runs=runs))
    world = World(
        accounts=accounts,
        runs=runs,
        lives=lives,
        broken=broken,
        deadly=deadly,
        faults=_faults(rng, accounts, span),
    )
    if varied:
        _vary(world, random.Random(f"{seed} varied"), span)
    return world


def _vary(world, rng, span):
    """Add slow and late tasks, queues of workers, files that are read late, and values of time."""
    for account in world.accounts:
        spread = rng.choice([0.0, 0.0, 0.3, 1.0])
        account.jitter = _jitter(rng.random(), spread)
        account.queues_jobs = rng.random() < 0.6
        account.request = rng.choice([0.0, 0.05, 1.0])
        account.progress_every = rng.choice([0.5, 2.0, 2.0, math.inf])
        for number in range(1, 30):
            if rng.random() < 0.12:
                account.slow_tasks[f"{account.name}-{number}"] = rng.uniform(1.5, 6)
    if rng.random() < 0.3:  # at most one: a silent task costs a start in a row
        rng.choice(world.accounts).silent_tasks.add(f"{world.accounts[0].name}-{rng.randint(1, 3)}")
    for life in world.lives:
        hour_usd = rng.choice([Decimal(1), Decimal(0), Decimal("0.1"), Decimal(20)])
        life.limits = replace(life.limits, hour_usd=hour_usd)
        last = life is world.lives[-1]
        if not last and rng.random() < 0.4:
            life.end, life.settles = "in order", False


def _jitter(salt, spread):
    def jitter(task):
        return 1 + spread * random.Random(f"{salt} {task}").uniform(-0.5, 2)

    return jitter


def _account(rng, number, works):
    boot = rng.choice([0.0, rng.uniform(0, 60)])
    return Account(
        name=f"cloud{number}",
        boot=boot,
        upload=rng.choice([0.0, rng.uniform(0, 3)]),
        download=rng.choice([0.0, rng.uniform(0, 3)]),
        encoders=rng.choice([1, 1, 2, 4]),
        cancels_encodes=rng.random() < 0.7,
        capacity=rng.choice([None, None, 1, 3]),
        rates=rng.choice([US_EAST_1_RATES, US_EAST_1_RATES, None]),
        pull_after=rng.uniform(0, boot),
        ends_after=rng.choice([0.0, rng.uniform(0, 20)]),
        stop_takes=rng.choice([0.0, 0.0, 0.5, 3.0]),
        post_mortem_takes=rng.choice([0.0, 3.0, 20.0]),
        native=rng.random() < 0.7,
        listed_after=rng.choice([0.0, 0.0, rng.uniform(0, LISTED_WITHIN)]),
        works=works,
    )


def _limits(rng, *, max_usd=None):
    return Limits(
        workers=rng.randint(1, 5),
        attempts=ATTEMPTS,
        idle=rng.choice([0.0, 0.0, 0.0, 30.0, 200.0]),
        max_usd=max_usd,
        deadline=rng.choice([None, None, rng.uniform(20, 300)]),
        speculative_copies=rng.random() < 0.85,
    )


def _life(rng, runs, span):
    """One that has an end."""
    some = [run for run in runs if rng.random() < 0.85]
    max_usd = rng.choice([None, None, None, Decimal(str(round(rng.uniform(0.002, 0.05), 4)))])
    return LifeFate(
        limits=_limits(rng, max_usd=max_usd),
        known=rng.random() < 0.5,
        runs=some or runs,
        cancelled={run.name: rng.uniform(0, span) for run in runs if rng.random() < 0.1},
        end=rng.choice(
            ["killed", "killed", "killed before", "killed after", "killed after", "cut"]
        ),
        seconds=rng.choice([rng.uniform(0, span), rng.uniform(0, 1.3 * span)]),
        step=rng.randint(1, 20),
        ticks=rng.randint(0, 30),
        down=rng.choice([0.0, 0.0, rng.uniform(0, 5), rng.uniform(0, 300)]),
        denied=rng.random() < 0.08,
    )


def _faults(rng, accounts, span):
    harm = rng.randint(0, 2)
    faults = [(0.0, "slow", rng.randrange(len(accounts)), rng.randrange(1000)) for _ in range(harm)]
    for _ in range(rng.randint(0, 14)):
        kind = rng.choice([*_HARMFUL, *_HARMLESS])
        harm += kind in _HARMFUL
        if kind not in _HARMFUL or harm <= HARMFUL:
            after = rng.choice([0.0, rng.uniform(0, span / 4)])
            faults.append((after, kind, rng.randrange(len(accounts)), rng.randrange(1000)))
    return faults


async def befall(world: World) -> None:
    """Let the faults happen, each at its time, whatever the client does or is."""
    for after, kind, account, number in world.faults:
        await anyio.sleep(after)
        (_HARMFUL | _HARMLESS)[kind](world.accounts[account], number)
        await anyio.lowlevel.checkpoint()


def _one_of(account, number):
    alive = sorted(task for task in tuple(account.running) if account.is_running(task))
    return alive[number % len(alive)] if alive else None


def _dies(account, number):
    if task := _one_of(account, number):
        age = anyio.current_time() - account.running[task]
        account.crashing_tasks.setdefault(task, age + number % 50)


def _is_taken(account, number):
    task = _one_of(account, number)
    if task and task not in account.crashing_tasks:
        age = anyio.current_time() - account.running[task]
        account.interrupted_tasks.setdefault(task, (age, 1.0 + number % 120))


def _is_mute(account, number):
    if task := _one_of(account, number):
        account.silent_tasks.add(task)


def _is_slow(account, number):
    begun = {scene for _, scene, _, _ in account.encodes}
    if names := sorted(account.works.keys() - begun):
        account.slow_scenes[names[number % len(names)]] = 3.0 + number % 30


def _has_no_room(account, number):
    account.refuse += [CapacityError("full")] * (1 + number % 3)


def _is_full(account, _):
    full = CapacityError("the quota is used up")
    full.remedy = Remedy.FEWER_TASKS
    account.refuse.append(full)


def _is_asked_too_often(account, number):
    errors = [ThrottledError("slowly"), NoAnswerError("lost on the way there")]
    error = errors[number % 2]
    match number % 5:
        case 0:
            account.refuse.append(error)
        case 1 | 2:
            account.hiccups.setdefault("describe", []).append(error)
        case 3:
            account.hiccups.setdefault("stop", []).append(error)
        case _:
            account.hiccups.setdefault("find", []).append(error)


def _loses_launches(account, number):
    account.stalls = 1 + number % 2


def _loses_stops(account, number):
    account.lost_stops = 1 + number % 2


_HARMFUL = {"dies": _dies, "mute": _is_mute, "slow": _is_slow, "full": _is_full}
_HARMLESS = {
    "taken": _is_taken,
    "no room": _has_no_room,
    "throttled": _is_asked_too_often,
    "lost launches": _loses_launches,
    "lost stops": _loses_stops,
}


def deny(account: Account, *, denied: bool) -> None:
    """Whether it refuses a launch for good."""
    account.refuse = [e for e in account.refuse if not isinstance(e, AccessDeniedError)]
    if denied:
        account.refuse.insert(0, AccessDeniedError("not allowed"))
