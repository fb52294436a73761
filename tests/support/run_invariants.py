"""One run on an emulated account, and everything that must hold whatever goes wrong in it."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import aioboto3
import anyio

from cloudburst import Client, Limits, Report, Status, Timeouts, fargate
from cloudburst.concurrency import collapse_single
from cloudburst.events import (
    Event,
    SceneCompleted,
    SceneEncoded,
    SceneFailed,
    SceneRetried,
    WorkerLaunched,
    WorkerStopped,
)
from cloudburst.testing import Call, FargateEmulator, Task
from support.emulator_settings import settings_of

HURRIED = Timeouts(call=2, launch=30, ready=8, scene=20, silence=3, stop=8, settle=15)
ON_DEMAND = {"vcpu": Decimal("0.04048") / 3600, "gb": Decimal("0.004445") / 3600}
"""USD for a second, x86 in us-east-1: https://aws.amazon.com/fargate/pricing/ (2026-11)."""
SPOT = {name: usd * Decimal("0.3184") for name, usd in ON_DEMAND.items()}
"""The same with the 68.16 % that Spot is off in the package's own table."""
ADDRESS = Decimal("0.005") / 3600
"""A public IPv4 address: https://aws.amazon.com/vpc/pricing/ (2026-11)."""
EXACT = Decimal("1e-12")
PARTS = ("starting", "encoding", "transferring", "idle", "wasted")

Watch = Callable[[Event], object]
"""Called with each event; what it returns is awaited aside, if it can be."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """What was seen of a run from outside."""

    limits: Limits
    out: Path
    names: tuple[str, ...]
    events: list[Event] = field(default_factory=list)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    """Token and parameters of each RunTask, as they were sent."""
    downloads: list[str] = field(default_factory=list)
    """Addresses of the videos that workers gave out, once for each answer."""
    report: Report | None = None
    """At the end of the run, before anything is settled."""
    final: Report | None = None
    one_key: bool = False
    """All workers have the same key, by ``VIDEO_API_AUTH_KEY``."""
    public: bool = True
    """Workers are reached, and billed, with a public address."""
    # Of the account, as soon as the client was left.
    tasks: tuple[Task, ...] = ()
    calls: tuple[Call, ...] = ()
    max_live: int = 0

    @property
    def tokens(self) -> Counter[str]:
        return Counter(token for token, _ in self.requests)

    def told(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def errors(self) -> dict[str, str]:
        """Of workers, by the number of their task."""
        numbers = {task.arn: task.number for task in self.tasks}
        return {numbers[w.task]: w.error for w in self.final.workers if w.task and w.error}


def first(kind: type[Event], act: Callable[[Any], object], *, skip: int = 0) -> Watch:
    """Do something at the first event of a kind, or at a later one; what it is may take a while."""
    left = skip

    def watch(event: Event) -> object:
        nonlocal left
        if isinstance(event, kind):
            left -= 1
            return act(event) if left == -1 else None
        return None

    return watch


async def tried(
    emulator: FargateEmulator,
    scenes: Collection[Mapping[str, Any]],
    out: Path,
    *,
    watch: Watch = lambda _: None,
    limits: Limits | None = None,
    timeouts: Timeouts = HURRIED,
    settings: Mapping[str, Any] | None = None,
    own_session: bool = True,
) -> Trial:
    """Render all scenes and watch; with a session of ours, whose requests are noted."""
    limits = limits or Limits(workers=2)
    names = tuple(scene["scene_name"] for scene in scenes)
    settings = settings or {}
    trial = Trial(
        limits=limits,
        out=out,
        names=names,
        one_key="auth_key" in settings,
        public=settings.get("public_address", True),
    )
    session = noting_session(emulator, trial.requests) if own_session else None
    backend = fargate(settings_of(emulator, **settings), session=session)

    async def aside(act: Awaitable[object]) -> None:
        await act

    with downloads_noted(trial.downloads), collapse_single():
        async with (
            anyio.create_task_group() as tasks,
            Client(backend, limits=limits, timeouts=timeouts) as client,
            client.stream(scenes, to=out) as run,
        ):
            async for event in run:
                trial.events.append(event)
                if inspect.isawaitable(act := watch(event)):
                    tasks.start_soon(aside, act)
            trial.report = await run.report()
            trial.final = await run.settled()
    trial.tasks, trial.calls = emulator.tasks, emulator.calls
    trial.max_live = emulator.max_live
    return trial


def noting_session(emulator: FargateEmulator, requests: list[tuple[str, bytes]]) -> Any:
    """A session of boto that notes what it asks RunTask for."""
    environment = emulator.environment
    session = aioboto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )

    def note(params: Mapping[str, Any], **_: object) -> None:
        asked = json.loads(params["body"])
        token = asked.pop("clientToken")
        requests.append((token, json.dumps(asked).encode()))

    session.events.register("before-call.ecs.RunTask", note)
    return session


@contextmanager
def downloads_noted(noted: list[str]) -> Iterator[None]:
    """Note each video that a worker begins to give out, as httpx tells it."""
    told = re.compile(r"HTTP Request: GET (\S+/download/\S+) \"HTTP/1.1 200")

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if found := told.match(record.getMessage()):
                noted.append(found.group(1))

    logger, handler = logging.getLogger("httpx"), Noting()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def hold(trial: Trial, *, failed: Collection[str] = (), resumed: bool = False) -> None:
    """Everything that must hold after a run whose tasks could be stopped.

    Args:
        trial: The run, of a client that was left and had no other run.
        failed: Scenes that no healthy worker could have rendered.
        resumed: Whether downloads may have been cut, so that a video is asked for again.
    """
    check_scenes(trial, frozenset(failed))
    check_files(trial, resumed=resumed)
    check_tasks(trial)
    check_requests(trial)
    check_bill(trial)


def check_scenes(trial: Trial, failed: frozenset[str]) -> None:
    """Each scene has one end, and it is the right one."""
    final = trial.final
    done = [name for name in trial.names if name not in failed]
    errors = {entry.scene: entry.error for entry in final.scenes if entry.error}
    assert errors.keys() == failed, errors
    assert [entry.scene for entry in final.scenes] == list(trial.names)
    assert [video.scene for video in final.videos] == done
    assert Counter(event.scene for event in trial.told(SceneCompleted)) == Counter(done)
    assert Counter(event.scene for event in trial.told(SceneFailed)) == Counter(failed)
    right = Status.PARTIAL if done and failed else Status.FAILED if failed else Status.COMPLETE
    assert (trial.report.status, final.status) == (right, right)


def check_files(trial: Trial, *, resumed: bool) -> None:
    """Each video lies there whole, was fetched once, and there is nothing else."""
    videos = trial.final.videos
    there = sorted(path.name for path in trial.out.glob("[!.]*"))
    assert there == sorted(f"{video.scene}.mp4" for video in videos)
    for video in videos:
        content = video.path.read_bytes()
        assert len(content) == video.size
        assert hashlib.sha256(content).hexdigest() == video.sha256
    # An attempt that got as far as its download may have failed there: told as such.
    in_vain = 0
    stage = {}
    for event in trial.events:
        if isinstance(event, SceneEncoded):
            stage[event.scene] = event.task
        elif isinstance(event, SceneRetried | SceneFailed):
            in_vain += stage.pop(event.scene, None) is not None
    if any("/download/" in url for url in trial.downloads):
        fetched = Counter(trial.downloads)
        assert len(videos) <= len(fetched) <= len(videos) + in_vain, fetched
        assert resumed or set(fetched.values()) == {1}, fetched


def check_tasks(trial: Trial) -> None:
    """No task is left, there were never too many, and all are told of."""
    final = trial.final
    assert not [task for task in trial.tasks if task.live]
    assert trial.max_live <= trial.limits.workers
    started = Counter(task.arn for task in trial.tasks)
    assert Counter(worker.task for worker in final.workers if worker.task) == started
    assert Counter(event.task for event in trial.told(WorkerLaunched)) == started
    assert Counter(event.task for event in trial.told(WorkerStopped)) == started
    assert not any(worker.possibly_running for worker in final.workers)
    assert {task.started_by for task in trial.tasks} <= {f"cloudburst/{final.run}"}


def check_requests(trial: Trial) -> None:
    """A token belongs to one request, and that to one task at most."""
    bodies = dict[str, bytes]()
    for token, body in trial.requests:
        assert bodies.setdefault(token, body) == body, "a token was used for two requests"
    assert trial.one_key or len(set(bodies.values())) == len(bodies), "two tokens share a key"
    notes = Counter(call.note for call in trial.calls if call.operation == "RunTask")
    assert not notes["ConflictException"]


def check_bill(trial: Trial) -> None:
    """The report adds up, and is what AWS's own times come to."""
    final = trial.final
    costs = {worker.task: worker.cost for worker in final.workers if worker.task}
    if not costs:
        assert not final.is_billed
        return
    assert final.cost.final
    assert final.cost.usd >= trial.report.cost.usd, "a total never goes down"
    for task in trial.tasks:
        seconds, usd = bill(task, public=trial.public)
        assert costs[task.arn].final
        assert costs[task.arn].billed_seconds == seconds, task
        assert abs(costs[task.arn].usd - usd) <= EXACT, task  # prices per second are rounded
    for part in (*PARTS, "billed_seconds"):
        assert getattr(final.cost, part) == sum(getattr(cost, part) for cost in costs.values())
    shares = sum((entry.usd or Decimal() for entry in final.scenes), Decimal())
    assert shares + final.cost.wasted == final.cost.usd


def bill(task: Task, *, public: bool) -> tuple[int, Decimal]:
    """Seconds and USD of a task that has stopped, by hand: by the second and without a minimum."""
    if task.pull_started is None:
        return 0, Decimal()
    seconds = math.ceil(round(task.stopped - task.pull_started, 3))
    rates = SPOT if task.spot else ON_DEMAND
    memory = Decimal(task.memory_mb) / 1024
    rate = Decimal(str(task.vcpu)) * rates["vcpu"] + memory * rates["gb"]
    rate += ADDRESS if public else 0
    return seconds, (seconds * rate).quantize(EXACT, ROUND_DOWN)
