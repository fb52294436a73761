"""Killed at any moment, a run on Fargate goes on: no task is left, and each is on the bill."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

import anyio
import pytest

from cloudburst import Client, Limits, RenderOptions, Status, fargate
from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.events import SceneCompleted, WorkerLaunched, WorkerReady
from support.emulator_settings import settings_of
from support.killable_render import rendering, stopped
from support.run_invariants import bill

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.timeout(90),
    pytest.mark.usefixtures("by_the_second"),
]

SEEDS = range(30)
STILL = RenderOptions(effects=())
"""Options of ``cloudburst render --no-zoom``."""
WORKING = {"STUB_GENERATE_SECONDS": "1"}
SPAN = 4.0
"""Seconds that a run of six scenes on three tasks takes, roughly, from its first event on."""


@pytest.fixture
def opened(account, quick_account):
    """An account by the protocol of its workers."""
    return {
        "onestep": lambda **facts: account(worker_environment=WORKING, **facts),
        "native": quick_account,
    }


@pytest.fixture
def late_scenes(make_scene):
    """So many scenes, for each of which the quick service takes a second."""
    return lambda count: [make_scene(f"late {n}", seconds=0.3) for n in range(count)]


async def resumed(aws, scenes, out, **more):
    """Events and settled report of a life in this process."""
    limits = Limits(workers=3)
    async with (
        Client(fargate(settings_of(aws)), limits=limits, options=STILL) as client,
        client.stream(scenes, to=out, resume=True, **more) as run,
    ):
        events = [event async for event in run]
        return events, await run.settled()


def hold(aws, report, events, told):
    """What must be so however the first life has ended."""
    assert report.status is Status.COMPLETE
    done = Counter(event.scene for event in events if isinstance(event, SceneCompleted))
    assert set(done.values()) == {1}
    skipped = {e.scene for e in events if isinstance(e, SceneCompleted) and e.skipped}
    assert told <= skipped, "what was told to be done is not done again"
    assert not aws.live
    tasks = stopped(aws)
    costs = {worker.task: worker.cost for worker in report.workers if worker.task}
    assert set(costs) == {task.arn for task in tasks}, "the tasks of both lives"
    for task in tasks:
        assert (costs[task.arn].billed_seconds, costs[task.arn].usd) == bill(task, public=True)
    assert report.cost.final
    assert {task.started_by for task in tasks} == {f"cloudburst/{report.run}"}


@pytest.mark.chaos
@pytest.mark.nightly
@pytest.mark.parametrize("protocol", ["onestep", "native"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_at_any_moment(protocol, seed, opened, late_scenes, tmp_path):
    rng = random.Random(f"{protocol} {seed}")
    moment, invisible = rng.uniform(0, SPAN), rng.choice([0, 0.5])
    six = late_scenes(6)
    with opened[protocol](new_task_invisible=invisible, latency=rng.choice([0, 0.1])) as aws:
        with rendering(aws, six, tmp_path, program="cli") as child:
            await anyio.to_thread.run_sync(child.until, "scene.queued")
            await anyio.sleep(moment)
            child.send(signal.SIGKILL)
        told = {e["scene"] for e in child.events if e["type"] == "scene.completed"}
        try:
            events, report = await resumed(aws, six, tmp_path / "out")
            hold(aws, report, events, told)
        except BaseException as exc:
            exc.add_note(f"{protocol}, seed {seed}, killed after {moment:.2f} s: {child}")
            raise
    assert not await registered_runs(), "nobody need look for tasks of it any more"
    assert not list((tmp_path / "out").glob("*.part"))


async def test_workers_of_ours_are_taken_over(quick_account, late_scenes, tmp_path):
    six = late_scenes(6)
    with quick_account() as aws:
        with rendering(aws, six, tmp_path, program="cli") as child:
            await anyio.to_thread.run_sync(lambda: child.until("worker.ready", count=3))
            child.send(signal.SIGKILL)
        began = time.time()
        events, report = await resumed(aws, six, tmp_path / "out")
        hold(aws, report, events, set())
        assert len(aws.tasks) == 3, "no task was started"
        assert min(task.stopping for task in aws.tasks) > began
        assert sum(isinstance(event, WorkerLaunched) for event in events) == 3
        assert sum(isinstance(event, WorkerReady) for event in events) == 3
        keys = {variable for task in aws.tasks for variable in keys_of(task)}
    kept = [path for path in (tmp_path / "out" / ".cloudburst").iterdir() if path.is_file()]
    assert len(keys) == 3
    assert not [key for key in keys for path in kept if key.encode() in path.read_bytes()]


def keys_of(task):
    """What opens a task, as it was told to AWS."""
    for container in task.overrides["containerOverrides"]:
        for variable in container.get("environment", ()):
            if variable["name"] == "AUTHENTICATION_KEY":
                yield variable["value"]


@pytest.mark.nightly
async def test_the_public_image_s_tasks_are_stopped(account, scenes, tmp_path):
    six = scenes(6)
    with account(worker_environment=WORKING) as aws:
        with rendering(aws, six, tmp_path, program="cli") as child:
            await anyio.to_thread.run_sync(lambda: child.until("scene.encoding", count=2))
            child.send(signal.SIGKILL)
        before = {task.arn for task in aws.tasks}
        events, report = await resumed(aws, six, tmp_path / "out")
        hold(aws, report, events, set())
        used = {worker.task for worker in report.workers if worker.scenes}
        assert not used & before or any(e.skipped for e in events if isinstance(e, SceneCompleted))
        assert {task.arn for task in aws.tasks} > before


@pytest.mark.nightly
async def test_killed_twice(quick_account, late_scenes, tmp_path):
    six = late_scenes(6)
    with quick_account() as aws:
        for _ in range(2):
            program = "cli" if not (tmp_path / "out").exists() else "resume"
            with rendering(aws, six, tmp_path, program=program) as child:
                await anyio.to_thread.run_sync(child.until, "worker.ready")
                child.send(signal.SIGKILL)
        events, report = await resumed(aws, six, tmp_path / "out")
        hold(aws, report, events, set())
    assert not await registered_runs()
