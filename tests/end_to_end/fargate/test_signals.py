"""Interrupted at any moment and in any way: every task is stopped, or ends, or is found."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time

import anyio
import pytest

from cloudburst import Client, Limits, fargate
from cloudburst.aws.fargate.run_registry import registered_runs
from cloudburst.aws.setup.running_tasks import cleanup
from cloudburst.programs import REPEAT_WINDOW
from cloudburst.testing import Fault
from support.emulator_settings import settings_of
from support.killable_render import CLI, rendering, stopped

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

SEEDS = range(30)
WORKING = {"STUB_GENERATE_SECONDS": "1"}
SPAN = 4.5
"""Seconds that a run of six scenes on three tasks takes, roughly, with the start of Python."""
STOP = 5.0
"""Seconds from a signal until every stop is accepted, and from there until a task has stopped."""
LOST = Fault(operation="RunTask", kind="lost", seconds=0.4, times=3)
ENDS = {
    "SIGINT": ("script", signal.SIGINT),
    "SIGTERM cli": ("cli", signal.SIGTERM),
    "SIGHUP cli": ("cli", signal.SIGHUP),
}


def answers_are_lost(case, seed):
    """Whether the launches of this one get no answer; so it is for every other."""
    return (seed + len(case)) % 2 == 1


def all_given_back(emulator, since):
    """Each task was stopped by us, in time, and did not ignore that."""
    for task in stopped(emulator):
        assert task.stop_code == "UserInitiated", task
        assert task.stopping - since < STOP, f"stopped {task.stopping - since:.1f} s later"
        assert task.stopped - task.stopping < STOP


@pytest.mark.chaos
@pytest.mark.few(2)
@pytest.mark.parametrize("ending", ENDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_signals(ending, seed, account, scenes, tmp_path):
    (program, signum), lost = ENDS[ending], answers_are_lost(ending, seed)
    rng = random.Random(f"{ending} {seed}")
    moment = rng.uniform(0, SPAN)
    with account(worker_environment=WORKING) as aws:
        if lost:
            aws.add_fault(LOST)
        with rendering(aws, scenes(6), tmp_path, program=program) as child:
            time.sleep(moment)
            child.send(signum)
            code = child.end()
        case = f"{ending}, lost: {lost}, seed {seed}, after {moment:.2f} s: {child}"
        try:
            assert not aws.live
            all_given_back(aws, child.signalled or time.time())
        except AssertionError as exc:
            exc.add_note(case)
            raise
    whole = {event.get("scene") for event in child.events if event["type"] == "scene.completed"}
    if child.events and len(whole) < 6 and child.signalled:
        assert code == (128 + signum if program == "cli" else -signum), case
        assert not list((tmp_path / "out").glob("*.part")), case
    assert not list((tmp_path / "state").rglob("*.json")), f"the run is not known any more: {case}"


@pytest.mark.nightly
@pytest.mark.parametrize("count", [8, 2])
def test_signals_in_quick_succession_count_once(count, account, scenes, tmp_path):
    """A terminal and a wrapper both send it, or somebody presses Ctrl-C several times."""
    with account(worker_environment=WORKING, latency=0.2) as aws:
        with rendering(aws, scenes(6), tmp_path, program="cli") as child:
            child.until("scene.encoding", count=2)
            for number in range(count):
                child.send((signal.SIGINT, signal.SIGTERM)[number % 2])
                time.sleep(0.1)
            assert child.end() == 128 + signal.SIGINT, str(child)
        assert not aws.live, child
        assert child.events[-1]["status"] == "interrupted"
        assert "may still run" not in "".join(child.errors)
    assert not list((tmp_path / "state").rglob("runs/*.json"))


def test_a_terminal_that_is_closed_ends_the_command_line(account, scenes, tmp_path):
    """As when an SSH connection breaks; the command cannot write to the terminal any more."""
    (tmp_path / "scenes.json").write_text(json.dumps(scenes(3)))
    command = [sys.executable, *CLI, "--to", str(tmp_path / "out"), str(tmp_path / "scenes.json")]
    with account(worker_environment=WORKING) as aws:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(sys.executable, command, os.environ | aws.environment)
        screen = b""
        while b"scene.completed" not in screen:
            screen += os.read(terminal, 65536)
        assert aws.live
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
        assert not aws.live
    assert not list((tmp_path / "state").rglob("runs/*.json"))


def test_a_command_whose_readers_have_gone_ends(account, scenes, tmp_path):
    """As when its parent process has died. Its first output after that is a warning of the log."""
    (tmp_path / "scenes.json").write_text(json.dumps(scenes(3)))
    command = [sys.executable, *CLI, "--to", str(tmp_path / "out"), str(tmp_path / "scenes.json")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with account(worker_environment=WORKING, pending=1.0) as aws:
        aws.add_fault(Fault(operation="DescribeTasks", kind="lost", times=3))
        with subprocess.Popen(command, env=os.environ | aws.environment, **pipes) as process:
            while b"worker.launched" not in process.stdout.readline():
                pass
            process.stdout.close()
            process.stderr.close()
            try:
                assert process.wait(20) == 128 + signal.SIGPIPE
            finally:
                process.kill()
        assert not aws.live


def test_the_command_line_is_interrupted_twice(account, scenes, tmp_path):
    """A second signal after two seconds ends it at once: it says what is left and stops that."""
    with account(worker_environment=WORKING) as aws:
        aws.add_fault(Fault(operation="StopTask", kind="delay", seconds=30, times=3))
        with rendering(aws, scenes(6), tmp_path, program="cli") as child:
            child.until("scene.encoding", count=3)
            child.send(signal.SIGINT)
            time.sleep(REPEAT_WINDOW + 0.1)
            child.send(signal.SIGTERM)
            left_at = time.time()
            assert child.end() == 128 + signal.SIGTERM, child
            assert time.time() - left_at < 2
        left = {task.arn for task in aws.live}
        assert len(left) == 3
        said = "".join(child.errors)
        assert "up to 3 Fargate tasks may still run. Stop them: cloudburst cleanup" in said
        assert [run.active for run in anyio.run(registered_runs)] == [False]
        anyio.run(cleanup, settings_of(aws))
        all_given_back(aws, time.time())


@pytest.mark.nightly
def test_a_worker_that_ignores_sigterm_is_killed(account, scenes, tmp_path):
    """Without an init process, the first process of a container is deaf to SIGTERM."""
    with account(worker_environment=WORKING) as aws:
        aws.register(init=False, stop_timeout=2)
        with rendering(aws, scenes(3), tmp_path) as child:
            child.until("scene.encoding")
            child.send(signal.SIGINT)
            child.end()
        for task in stopped(aws):
            assert task.exit_code in {137, None}, task
            assert not task.started or task.stopped - task.stopping > 1.9


@pytest.mark.anyio
@pytest.mark.chaos
@pytest.mark.few(3)
@pytest.mark.parametrize("how", ["scope", "task", "task twice"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_cancelled(how, seed, account, scenes, out):
    rng, lost = random.Random(f"{how} {seed}"), answers_are_lost(how, seed)
    moment = rng.uniform(0, SPAN - 1)

    async def render():
        limits = Limits(workers=3)
        async with Client(fargate(settings_of(aws)), limits=limits) as client:
            await client.render_all(scenes(6), to=out)

    with account(worker_environment=WORKING) as aws:
        if lost:
            aws.add_fault(LOST)
        if how == "scope":
            with anyio.move_on_after(moment) as scope:
                await render()
            since = time.time() if not scope.cancelled_caught else None
            since = since or time.time() - STOP
        else:
            task = asyncio.create_task(render())
            await asyncio.sleep(moment)
            since = time.time()
            task.cancel()
            if how == "task twice":
                await asyncio.sleep(rng.uniform(0, 0.3))
                task.cancel()
            await asyncio.wait([task])
        assert not aws.live, f"after {moment:.2f} s"
        all_given_back(aws, since)
    assert not await registered_runs()


@pytest.mark.few(1)
@pytest.mark.parametrize("protocol", ["onestep", "native"])
def test_killed_its_tasks_end_by_themselves(protocol, account, quick_account, make_scene, tmp_path):
    """A container that only sleeps, or the service's own limit, ends what nobody can stop."""
    opened = account if protocol == "onestep" else quick_account
    scenes = [make_scene(f"late {n}", seconds=0.3) for n in range(9)]  # each takes a second
    lifetime = 4
    with opened(**({"worker_environment": WORKING} if protocol == "onestep" else {})) as aws:
        with rendering(aws, scenes, tmp_path, CLOUDBURST_LIFETIME=str(lifetime)) as child:
            child.until("scene.encoding", count=2)
            child.send(signal.SIGKILL)
        assert aws.live, "nobody was there to stop them"
        for task in stopped(aws, seconds=lifetime + 15):
            assert task.stop_code == "EssentialContainerExited"
            # Our service counts from when Python has come up in it.
            assert lifetime - 0.1 < task.stopping - task.started < lifetime + 10


@pytest.mark.anyio
@pytest.mark.chaos
@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_its_tasks_are_found(seed, account, scenes, tmp_path):
    """At once, by anybody on this machine, as those of a run whose process is gone."""
    rng = random.Random(seed)
    with account(worker_environment=WORKING, latency=0.1) as aws:
        with rendering(aws, scenes(6), tmp_path) as child:
            await anyio.to_thread.run_sync(child.until, "scene.queued")
            await anyio.sleep(rng.uniform(0, SPAN - 2))
            child.send(signal.SIGKILL)
        runs, left = await registered_runs(), {task.arn for task in aws.live}
        assert not any(run.active for run in runs)
        began = time.time()
        swept = await cleanup(settings_of(aws))
        assert left <= {task.task_arn for task in swept.stopped}
        assert set(swept.forgotten_runs) == {run.run for run in runs}
        assert not aws.live
        all_given_back(aws, began)
    assert not await registered_runs()
