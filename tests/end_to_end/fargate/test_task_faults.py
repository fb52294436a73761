"""What goes wrong with a task: another one takes over, and the bill tells what was wasted."""

from __future__ import annotations

import anyio
import pytest

from cloudburst import Client, Limits, Timeouts, fargate
from cloudburst.aws.client.client import open_aws
from cloudburst.events import (
    SceneEncoded,
    SceneEncoding,
    SceneRetried,
    SceneStarted,
    WorkerReady,
)
from cloudburst.testing import TaskFault
from support.emulator_settings import settings_of
from support.run_invariants import HURRIED, first, hold, tried

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("by_the_second"),
]

SLOWLY = {"STUB_GENERATE_SECONDS": "0.6"}
SLOW_DOWNLOADS = {"STUB_VIDEO_BYTES": "1000000", "STUB_WRITE_BYTES_PER_SECOND": "700000"}
ONE = Limits(workers=1)


@pytest.mark.few(2, spread=True)
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (TaskFault(registry_unreachable=True), "CannotPullContainerError"),
        (TaskFault(no_network_interface=True), "network interface provisioning"),
        (TaskFault(no_public_address=True), "public address"),
        (TaskFault(black_hole=True), "ready in time"),
        (TaskFault(never_healthy=True), "ready in time"),
    ],
    ids=["image pull", "network interface", "no public address", "black hole", "never healthy"],
)
async def test_a_task_never_becomes_ready(account, scenes, out, fault, told):
    with account(task_faults={0: fault}, worker_environment=SLOWLY) as aws:
        timeouts = Timeouts(ready=8, settle=15)
        trial = await tried(aws, scenes(2), out, limits=ONE, timeouts=timeouts)
    hold(trial)
    assert told in trial.errors()[0]
    assert len(trial.tasks) == 2
    worker = next(w for w in trial.final.workers if w.task == trial.tasks[0].arn)
    assert worker.cost.wasted == worker.cost.usd


AGENT = "aws-guardduty-agent-x1y2z3"
FORBIDDEN = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve "
    "ref 593207742271.dkr.ecr.us-east-1.amazonaws.com/aws-guardduty-agent-fargate:v1.6.0: "
    "unexpected status from HEAD request: 403 Forbidden"
)


@pytest.mark.few(1)
@pytest.mark.parametrize("end", [FORBIDDEN, 0], ids=["403", "exit code 0"])
async def test_a_container_that_aws_added_does_not_explain_a_crash(account, scenes, out, end):
    """GuardDuty's container ends in its own way; only our containers decide about a task."""
    faults = {0: TaskFault(crash_after=0.0)}
    with account(foreign_containers={AGENT: end}, task_faults=faults) as aws:
        trial = await tried(aws, scenes(2), out, limits=ONE)
    hold(trial)
    assert len(trial.tasks) == 2
    (page,) = out.glob(".cloudburst/*/post-mortem-*.md")
    page = page.read_text().partition("## As ECS")[0]
    assert "**The container was killed" in page
    for told in (trial.errors()[0], page):
        assert "exit code 137" in told
        assert AGENT not in told


async def test_a_worker_behind_a_rule_for_another_address_ends_the_run(account, scenes, out):
    with account(worker_sources=("203.0.113.9/32",)) as aws:
        trial = await tried(aws, scenes(2), out, limits=ONE, timeouts=Timeouts(reach=1, settle=15))
    hold(trial, failed=["scene 0", "scene 1"])
    assert len(trial.tasks) == 1, "another task would not be reached either"
    assert (
        "; port 5000 lets in 203.0.113.9/32, and this machine is 127.0.0.1: run cloudburst init"
    ) in trial.final.scenes[0].error


async def test_no_task_ever_becomes_ready(account, scenes, out):
    """The run gives up, says why, and has paid for no more tasks than it may try."""
    with account(task_faults=dict.fromkeys(range(9), TaskFault(registry_unreachable=True))) as aws:
        trial = await tried(aws, scenes(3), out, limits=Limits(workers=1, attempts=3))
    hold(trial, failed=["scene 0", "scene 1", "scene 2"])
    assert len(trial.tasks) == 3
    assert all("CannotPullContainerError" in entry.error for entry in trial.final.scenes)


async def spot(aws, scenes, out, **more):
    return await tried(aws, scenes, out, settings={"capacity": "FARGATE_SPOT"}, **more)


async def test_a_spot_task_that_is_reclaimed_and_drains_is_replaced(account, scenes, out):
    """With its notice the worker finishes what it encodes; nothing of it is wasted."""
    env = {"STUB_GENERATE_SECONDS": "1.5", "STUB_TERM": "drain"}
    with account(worker_environment=env) as aws:
        watch = first(SceneEncoding, lambda event: aws.interrupt(event.task))
        trial = await spot(aws, scenes(2), out, watch=watch, limits=ONE)
    hold(trial)
    assert trial.tasks[0].stop_code == "SpotInterruption"
    assert all(task.spot for task in trial.tasks)


@pytest.mark.nightly
async def test_a_spot_task_that_is_reclaimed_and_dies_is_replaced(account, scenes, out):
    with account(worker_environment=SLOWLY) as aws:
        watch = first(SceneEncoding, lambda event: aws.interrupt(event.task, notice=1))
        trial = await spot(aws, scenes(3), out, watch=watch)
    hold(trial)
    assert sum(task.stop_code == "SpotInterruption" for task in trial.tasks) == 1
    assert len(trial.errors()) == 1


@pytest.mark.nightly
async def test_spot_tasks_reclaimed_one_after_the_other_are_replaced(account, scenes, out):
    faults = {n: TaskFault(interrupt_after=0.8) for n in range(4)}
    with account(worker_environment={"STUB_GENERATE_SECONDS": "1"}, task_faults=faults) as aws:
        limits = Limits(workers=1, attempts=2)
        trial = await spot(aws, scenes(1), out, limits=limits)
    hold(trial)
    assert len(trial.tasks) == 5


async def test_a_worker_crashes_while_idle(account, scenes, out):
    with account() as aws:
        limits = Limits(workers=1, idle=30)
        async with Client(fargate(settings_of(aws)), limits=limits, timeouts=HURRIED) as client:
            one, two = scenes(2)
            await client.render(one, to=out)
            aws.crash()
            await anyio.sleep(0.3)
            video = await client.render(two, to=out)
        assert video.path.stat().st_size == video.size
        assert len(aws.tasks) == 2
        assert not aws.live


@pytest.mark.nightly
async def test_a_worker_crashes_before_it_is_used(account, scenes, out):
    with account() as aws:
        watch = first(WorkerReady, lambda event: aws.crash(event.task))
        trial = await tried(aws, scenes(2), out, watch=watch)
    hold(trial)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", [SceneEncoding, SceneStarted, SceneEncoded])
async def test_a_worker_crashes_at_work(account, scenes, out, kind):
    env = SLOWLY | SLOW_DOWNLOADS
    with account(worker_environment=env) as aws:
        watch = first(kind, lambda event: aws.crash(event.task))
        trial = await tried(aws, scenes(4), out, watch=watch)
    hold(trial)
    assert trial.told(SceneRetried)
    assert any(task.exit_code == 137 for task in trial.tasks)
    assert trial.final.cost.wasted > 0


@pytest.mark.nightly
async def test_a_worker_crashes_while_one_scene_encodes_and_another_uploads(account, scenes, out):
    env = {"STUB_GENERATE_SECONDS": "0.8", "STUB_READ_BYTES_PER_SECOND": "20000"}
    with account(worker_environment=env) as aws:
        # The third on one worker: the second encodes.
        watch = first(SceneStarted, lambda event: aws.crash(event.task), skip=2)
        trial = await tried(aws, scenes(4), out, watch=watch, limits=ONE)
    hold(trial)
    assert len(trial.tasks) == 2


@pytest.mark.nightly
async def test_a_host_is_slow(account, scenes, out):
    with account(worker_environment=SLOWLY, task_faults={0: TaskFault(slow=5)}) as aws:
        trial = await tried(aws, scenes(4), out)
    hold(trial)
    assert len(trial.tasks) == 2


async def test_a_host_freezes_while_a_video_travels(account, scenes, out):
    """For longer than a worker may be silent: the scene goes elsewhere."""
    with account(worker_environment=SLOW_DOWNLOADS) as aws:
        watch = first(SceneEncoded, lambda event: aws.freeze(event.task, 20))
        timeouts = Timeouts(silence=1.5, stop=8, settle=15)
        trial = await tried(aws, scenes(2), out, watch=watch, timeouts=timeouts)
    hold(trial)
    assert any("1.5 s" in error for error in trial.errors().values())


@pytest.mark.nightly
async def test_a_host_freezes_for_a_moment(account, scenes, out):
    with account(worker_environment=SLOW_DOWNLOADS) as aws:
        watch = first(SceneEncoded, lambda event: aws.freeze(event.task, 1))
        trial = await tried(aws, scenes(2), out, watch=watch)
    hold(trial)
    assert not trial.errors()


@pytest.mark.nightly
async def test_a_host_freezes_while_our_service_encodes(our_account, make_scene, out):
    with our_account() as aws:
        watch = first(SceneEncoding, lambda event: aws.freeze(event.task, 8))
        timeouts = Timeouts(silence=3, stop=8, settle=15)
        scene = make_scene("long", seconds=3)
        trial = await tried(aws, [scene], out, watch=watch, timeouts=timeouts, limits=ONE)
    hold(trial)
    assert len(trial.tasks) == 2


async def test_connections_are_cut_while_a_scene_encodes(account, scenes, out):
    """The answer is lost and the image cannot be told to stop: another worker does it again."""

    async def cut(task):
        await anyio.sleep(0.3)
        assert aws.cut(task), "it was on its way"

    with account(worker_environment={"STUB_GENERATE_SECONDS": "1"}, proxy_connections=True) as aws:
        watch = first(SceneEncoding, lambda event: cut(event.task))
        trial = await tried(aws, scenes(3), out, watch=watch, limits=ONE)
    hold(trial)
    assert len(trial.tasks) == 2


@pytest.mark.nightly
async def test_connections_are_cut_while_a_video_travels(account, scenes, out):
    """It is fetched again from the same worker."""
    faults = {0: TaskFault(cut_connections=dict.fromkeys(range(2, 5), 300_000))}
    env = {"STUB_VIDEO_BYTES": "500000"}
    with account(worker_environment=env, task_faults=faults) as aws:
        trial = await tried(aws, scenes(2), out, limits=ONE)
    hold(trial, resumed=True)
    assert len(trial.tasks) == 1
    assert not trial.told(SceneRetried)


async def test_connections_to_our_service_are_cut(quick_account, make_scene, out):
    """Whatever travels: it goes on where it was, on the same worker."""
    faults = {0: TaskFault(cut_connections=dict.fromkeys(range(2, 12), 8000))}
    scenes = [make_scene(f"{n} 1MB") for n in range(2)]
    with quick_account(task_faults=faults) as aws:
        trial = await tried(aws, scenes, out, limits=ONE)
    hold(trial, resumed=True)
    assert len(trial.tasks) == 1


@pytest.mark.few(1)
@pytest.mark.parametrize("env", ["STUB_FAIL_CREATE", "STUB_CRASH_CREATE", "STUB_CUT_DOWNLOAD"])
async def test_a_worker_fails_at_its_first_scene(account, scenes, out, env):
    faults = {0: TaskFault(environment={env: "0"})}
    with account(worker_environment=SLOWLY, task_faults=faults) as aws:
        trial = await tried(aws, scenes(3), out)
    hold(trial, resumed=env == "STUB_CUT_DOWNLOAD")


async def test_a_task_stopped_by_others_is_replaced(account, scenes, out):
    async def stop(task):
        async with open_aws(settings_of(aws)) as other:
            await other.call("ecs", "stop_task", cluster="cloudburst-cluster", task=task)

    with account(worker_environment={"STUB_GENERATE_SECONDS": "1"}) as aws:
        watch = first(SceneEncoding, lambda event: stop(event.task))
        trial = await tried(aws, scenes(3), out, watch=watch)
    hold(trial)
    (error,) = trial.errors().values()
    assert "UserInitiated" in error


@pytest.mark.nightly
async def test_one_container_has_another_key(account, scenes, out):
    """It is told as what it is, and all scenes are done by whoever takes our key."""
    faults = {0: TaskFault(environment={"AUTHENTICATION_KEY": "another"})}
    with account(worker_environment=SLOWLY, task_faults=faults) as aws:
        trial = await tried(aws, scenes(4), out)
    hold(trial)
    told = {worker.task: worker.error for worker in trial.final.workers}
    assert "refused the key" in told[trial.tasks[0].arn]


async def test_all_containers_have_another_key(account, scenes, out):
    """A key that is fixed in the settings, and another one in the task definition."""
    faults = dict.fromkeys(range(9), TaskFault(environment={"AUTHENTICATION_KEY": "another"}))
    with account(task_faults=faults) as aws:
        trial = await tried(aws, scenes(2), out, settings={"auth_key": "fixed"})
    hold(trial, failed=["scene 0", "scene 1"])
    assert all("refused the key" in entry.error for entry in trial.final.scenes)
    assert len(trial.tasks) <= 4, "after three in a row it is given up"
