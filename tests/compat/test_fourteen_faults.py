"""The fourteen faults of cloudburst-fargate, by their numbers in ``docs/reference/old-calls.md``.

Each is looked for here in the smallest thing that could still have it. What else can go wrong in
the same place is tested beside the code that deals with it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import wave
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from cloudburst import (
    Client,
    FargateOperationV1,
    Limits,
    Settings,
    Status,
    Tier,
    Timeouts,
    calculate_fargate_cost,
    execute_parallel_batches,
    fargate,
)
from cloudburst.aws.setup import doctor
from cloudburst.cli.runs import list_runs
from cloudburst.errors import CredentialsError, LaunchError
from cloudburst.models import task as billing
from cloudburst.testing import FakeCloud, Fault, TaskFault, VirtualClockLoop
from support.cluster_with_runs import launch
from support.harness import engine

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

in_virtual_time = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})], ids=["virtual time"]
)
ROLE = "arn:aws:iam::123456789012:role/renderer"
SECOND = 2 * Decimal("0.04048") / 3600 + 4 * Decimal("0.004445") / 3600 + Decimal("0.005") / 3600
"""USD for a STANDARD task with its address: x86 in us-east-1, https://aws.amazon.com/fargate/pricing/
and https://aws.amazon.com/vpc/pricing/ (2026-11)."""


def calls(aws, operation):
    return [call for call in aws.calls if call.operation == operation]


def sizes(files):
    return [Path(file).stat().st_size for file in files]


def kinds(folder):
    """The endings of all files in it."""
    return {path.suffix for path in Path(folder).rglob("*") if path.is_file()}


async def until(check, seconds=30.0):
    """What ``check`` answers once it is true."""
    with anyio.fail_after(seconds):
        while not (answer := check()):  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return answer


async def test_fault_01_execute_batch_never_leaves_a_task(cloud, scenes):
    operation = FargateOperationV1()
    assert (await operation.execute_batch(scenes(2))).success
    assert (await operation.execute_batch(scenes(1), auto_terminate=False)).success
    cloud.broken_scenes = {"scene 0"}
    assert not (await operation.execute_batch(scenes(1))).success
    assert len(cloud.launched) == 3
    assert not cloud.running


@pytest.mark.parametrize("subtitle", [{}, {"subtitle_path": None}, {"subtitle_path": ""}])
async def test_fault_02_a_scene_needs_no_subtitle(cloud, scenes, subtitle):
    (scene,) = scenes(1)
    assert (await execute_parallel_batches([scene | subtitle])).success
    assert cloud.seen["scene 0"][0].subtitle is None


async def test_fault_03_each_task_has_a_key_of_its_own_and_refuses_all_others(emulated, scenes):
    async def knock(task, key):
        """Ask for a video with this key; ``None`` while nobody listens."""
        url = f"http://{task.address}:5000/create_video_onestep"
        async with httpx.AsyncClient(trust_env=False) as stranger:
            try:
                answer = await stranger.post(
                    url, json={}, headers={"X-Authentication-Key": key} if key else {}
                )
            except httpx.ConnectError:
                return None
        return answer.status_code

    async def answered(task, key):
        while (status := await knock(task, key)) is None:  # noqa: ASYNC110
            await anyio.sleep(0.05)
        return status

    results = []

    async def render():
        results.append(await execute_parallel_batches(scenes(2), 1, 2, 1))

    with emulated(worker_environment={"STUB_GENERATE_SECONDS": "2"}) as aws:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(render)
            one, other = await until(lambda: len(aws.tasks) == 2 and aws.tasks)
            own = one.environment["AUTHENTICATION_KEY"]
            assert len(own) > 20
            assert own != other.environment["AUTHENTICATION_KEY"]
            await until(lambda: all(task.address for task in aws.tasks))
            one, other = aws.tasks
            with anyio.fail_after(30):
                assert await answered(one, None) == 401
                assert await answered(one, other.environment["AUTHENTICATION_KEY"]) == 401
                assert await answered(one, own) == 400, "it is let in, and has asked for nothing"
    assert results[0].success, "the tasks were sent their keys"


async def test_fault_04_refused_throttled_and_lost_launches_are_repeated(emulated, scenes):
    faults = [
        Fault(operation="RunTask", kind="failures", reason="RESOURCE:CPU"),
        Fault(operation="RunTask", code="ThrottlingException"),
        Fault(operation="RunTask", kind="lost"),
    ]
    with emulated() as aws:
        for fault in faults:
            aws.add_fault(fault)
        result = await FargateOperationV1().execute_batch(scenes(1))
        assert result.success
        assert len(calls(aws, "RunTask")) == 4
        assert len(aws.tasks) == 1, "the lost one was found by its token"
        assert not aws.live


@in_virtual_time
@pytest.mark.parametrize("boot", [20.0, 20.4, 31.7, 119.9])
async def test_fault_05_no_paid_idleness_between_ready_and_first_upload(boot):
    async with engine(FakeCloud(boot=boot, encode=1), limits=Limits(workers=1)) as e:
        report = await e.render("a")
    idle = report.scenes[0].queued_seconds - boot
    assert 0 <= idle <= 0.5


@in_virtual_time
async def test_fault_05_a_task_that_has_stopped_is_not_waited_for():
    cloud = FakeCloud(encode=1, silent_tasks={"fake-1"}, crashing_tasks={"fake-1": 20})
    async with engine(cloud, limits=Limits(workers=1), timeouts=Timeouts(ready=300)) as e:
        report = await e.render("a")
    assert report.status is Status.COMPLETE
    assert 21 <= report.wall_seconds < 24, "noticed, and another one has rendered"


async def test_fault_06_nobody_waits_for_the_slowest_share(cloud, scenes):
    cloud.encode = lambda scene: 0.6 if scene == "scene 0" else 0.02
    result = await execute_parallel_batches(scenes(6), scenes_per_batch=3, max_parallel_tasks=2)
    assert sorted(task.successful_scenes for task in result.task_results) == [1, 5]


@in_virtual_time
async def test_fault_07_files_travel_while_scenes_encode():
    """Six scenes of 5 s there, 10 s of work and 5 s back: one after the other they take 120 s."""
    cloud = FakeCloud(upload=5, encode=10, download=5)
    async with engine(cloud, limits=Limits(workers=1)) as e:
        report = await e.render("abcdef")
    assert report.status is Status.COMPLETE
    ideal = 5 + 6 * 10 + 5
    assert ideal <= report.wall_seconds <= ideal + 1


@pytest.mark.nightly
async def test_fault_08_no_file_is_whole_in_memory(emulated, scenes, tmp_path):
    """A sound and a video of 40 MB each, and another such scene at the same time."""
    megabytes = 40

    def large(scene):
        path = tmp_path / f"{scene['scene_name']}.wav"
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, 48_000, 0, "NONE", ""))
            file.writeframes(bytes(megabytes << 20))
        return scene | {"audio_path": str(path)}

    both = [large(scene) for scene in scenes(2)]
    size = {"STUB_VIDEO_BYTES": str(megabytes << 20)}
    with emulated(worker_environment=size) as aws:
        await FargateOperationV1().execute_batch(scenes(1))  # modules are loaded by now
        tracemalloc.start()
        try:
            result = await FargateOperationV1().execute_batch(both)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert not aws.live
    assert result.success, result.errors
    assert sizes(result.downloaded_files) == [megabytes << 20] * 2
    assert peak < megabytes << 19, f"{peak >> 20} MB are more than half of one file"


async def test_fault_08_a_cut_download_leaves_no_half_video(emulated, scenes):
    cut = {"STUB_CUT_DOWNLOAD": "*", "STUB_VIDEO_BYTES": "500000"}
    seen = set()

    async def watch():
        while True:
            seen.update(kinds("out"))
            await anyio.sleep(0.001)

    with emulated(worker_environment=cut):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            result = await FargateOperationV1().execute_batch(scenes(1), saving_dir="out")
            tasks.cancel_scope.cancel()
    assert not result.success
    assert result.errors["scene 0"].startswith("DownloadError"), result.errors
    assert ".part" in seen, "half of it was there, under another name"
    assert ".mp4" not in seen
    assert not {".part", ".mp4"} & kinds("out"), "and it went"


async def test_fault_09_lists_have_pages_and_tags_take_no_call_each(emulated):
    with emulated(provisioning=600) as aws:
        launch(aws, 130, scene="scene 1")
        await anyio.sleep(0.5)  # by then ECS knows them all
        tasks = await FargateOperationV1().list_running_tasks()
        assert len({task["task_arn"] for task in tasks}) == 130
        assert {task["tags"]["Scene"] for task in tasks} == {"scene 1"}
        asked = [call.operation for call in aws.calls if call.operation != "RunTask"]
        assert sorted(asked) == ["DescribeTasks"] * 2 + ["ListTasks"] * 2
        cleaned = await FargateOperationV1().cleanup_all_tasks()
        assert (cleaned["terminated_count"], cleaned["failed_count"]) == (130, 0)
        assert not aws.live


async def test_fault_10_the_bill_is_that_of_aws(emulated, scenes, monkeypatch):
    """By its own times, with the address, and with the task whose image could not be pulled.

    The call returns before AWS has stopped the last task; whoever lists the run later has its bill.
    """
    monkeypatch.setattr(billing, "MINIMUM_BILLED_SECONDS", 0)  # a minute would hide the seconds
    with emulated(
        task_faults={0: TaskFault(registry_unreachable=True)},
        provisioning=1.3,
        pending=1.3,
        deprovisioning=2.0,
    ) as aws:
        result = await FargateOperationV1().execute_batch(scenes(1))
        assert result.success
        assert [task.started is None for task in aws.tasks] == [True, False]
        await until(lambda: all(task.stopped for task in aws.tasks))
        tasks, asked = aws.tasks, len(aws.calls)
        folder = Path(result.downloaded_files[0]).parent
        (listed,) = await anyio.to_thread.run_sync(list_runs, folder, Settings())
        assert [call.operation for call in aws.calls[asked:]] == ["DescribeTasks"]
        again = await anyio.to_thread.run_sync(list_runs, folder, Settings())
        assert len(aws.calls) == asked + 1, "it was written down"
    billed = [math.ceil(round(task.stopped - task.pull_started, 3)) for task in tasks]
    assert min(billed) >= 2
    costs = {task.task_arn: task.total_cost_usd for task in result.task_results}
    assert costs[tasks[0].arn] == pytest.approx(float(billed[0] * SECOND))
    assert result.total_cost_usd <= float(sum(billed) * SECOND)
    assert (listed.final, float(listed.usd)) == (True, pytest.approx(float(sum(billed) * SECOND)))
    assert again == [listed]


def test_fault_10_a_second_costs_a_minute():
    cost = calculate_fargate_cost(1)
    assert cost.billed_seconds == 60
    assert cost.total_cost_usd == pytest.approx(float(60 * SECOND))


async def test_fault_11_a_scene_that_fails_is_no_success(cloud, scenes):
    cloud.broken_scenes = {"scene 1"}
    result = await execute_parallel_batches(scenes(3))
    assert not result.success
    assert result.status is Status.PARTIAL
    assert (result.successful_scenes, result.failed_scenes) == (2, 1)
    assert [Path(file).stem for file in result.downloaded_files] == ["scene 0", "scene 2"]
    assert result.errors == {"scene 1": "EncodeError: the encoder said no"}
    cloud.broken_scenes |= {"scene 0", "scene 2"}
    result = await execute_parallel_batches(scenes(3))
    assert (result.success, result.status) == (False, Status.FAILED)
    assert result.downloaded_files == []


@pytest.mark.parametrize("way", ["scope", "task"])
async def test_fault_12_a_cancelled_coroutine_leaves_no_task(cloud, scenes, way):
    cloud.encode = 30
    if way == "scope":
        with anyio.move_on_after(0.5):
            await execute_parallel_batches(scenes(2), 1, 2, 1)
    else:
        task = asyncio.create_task(execute_parallel_batches(scenes(2), 1, 2, 1))
        await until(lambda: cloud.encoding)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert len(cloud.launched) == 2
    assert not cloud.running


PROGRAM = """
import json, sys
from cloudburst.blocking import execute_parallel_batches

execute_parallel_batches(json.load(sys.stdin), scenes_per_batch=1, min_scenes_per_batch=1)
print("not reached")
"""


@pytest.mark.real
@pytest.mark.timeout(90)
@pytest.mark.nightly
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_fault_12_a_signal_leaves_no_task(signum, emulated, scenes, tmp_path):
    """Killed, nobody is there to stop them: they end by their own limit."""
    killed = signum == signal.SIGKILL
    with emulated(worker_environment={"STUB_GENERATE_SECONDS": "20"}) as aws:
        more = {"XDG_STATE_HOME": str(tmp_path / "state"), "CLOUDBURST_LIFETIME": "4"}
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env=os.environ | more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        ) as process:
            try:
                process.stdin.write(json.dumps(scenes(3)).encode())
                process.stdin.close()
                process.stdin = None
                wait(aws, lambda tasks: [task.last_status for task in tasks] == ["RUNNING"] * 3)
                process.send_signal(signum)
                out, errors = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == -signum, errors.decode()
        assert b"not reached" not in out
        assert (b"KeyboardInterrupt" in errors) is (signum == signal.SIGINT)
        assert bool(aws.live) is killed
        wait(aws, lambda tasks: all(task.last_status == "STOPPED" for task in tasks))
        why = "EssentialContainerExited" if killed else "UserInitiated"
        assert {task.stop_code for task in aws.tasks} == {why}
    assert bool(list((tmp_path / "state").rglob("*.json"))) is killed, "is the run still known?"


def wait(aws, check):
    end = time.monotonic() + 30
    while not check(aws.tasks):
        assert time.monotonic() < end, aws.tasks
        time.sleep(0.02)


async def test_fault_13_no_other_credentials_when_a_role_cannot_be_assumed(
    emulated, scenes, monkeypatch
):
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    with emulated(denied=frozenset({"sts:AssumeRole"})) as aws:
        with pytest.raises(CredentialsError, match=f"the role {ROLE} cannot be assumed"):
            await execute_parallel_batches(scenes(1))
        found = await FargateOperationV1().check_aws_account_validity()
        assert not found["valid"]
        assert "cannot be assumed" in found["message"]
        assert {call.operation for call in aws.calls} == {"AssumeRole"}


async def test_fault_14_what_the_vcpu_quota_has_no_room_for_is_told_before(emulated, scenes):
    """The defaults ask for ten tasks of 16 vCPU; 6 are what a new account has."""
    with emulated(vcpu_quota=6) as aws:
        settings = Settings(**aws.environment)
        told = await doctor(settings, tasks=10, tier=Tier.MAXIMUM_PERFORMANCE, find_address=nowhere)
        (quota,) = [check for check in told.failures if check.name == "quota"]
        assert quota.found.startswith(
            "160 vCPU needed (10 tasks of 16), 6 allowed: no task of this size can start"
        )
        assert "--quota-code L-3032A538 --desired-value 160" in quota.fix
        assert not aws.tasks, "a look starts nothing"


async def nowhere():
    return "203.0.113.7"


async def test_fault_14_without_room_nothing_starts_and_nothing_is_paid(emulated, scenes):
    with emulated(vcpu_quota=6) as aws:
        backend, timeouts = fargate(Settings(**aws.environment)), Timeouts(launch=2)
        async with Client(
            backend,
            tier=Tier.MAXIMUM_PERFORMANCE,
            limits=Limits(workers=10),
            timeouts=timeouts,
        ) as client:
            report = await client.render_all(scenes(2), to="out")
        assert report.status is Status.FAILED
        assert all(isinstance(error, LaunchError) for error in report.errors)
        assert (report.cost.usd, report.cost.final, report.is_billed) == (0, True, False)
        assert not aws.tasks
        assert "The requested CPU configuration is above your limit" in str(report.errors[0])


async def test_fault_14_the_old_calls_say_that_they_ask_for_much(emulated, scenes, caplog):
    with emulated(vcpu_quota=6):
        await execute_parallel_batches(scenes(2), 1, 2, 1, config_priority=1)
        assert "vCPU are" not in caplog.text
        await execute_parallel_batches(scenes(2), 1, 2, 1, config_priority=2)
    assert "2 tasks of 4 vCPUs need 8 vCPUs; the quota of a new account is 6" in caplog.text
    assert "cloudburst doctor --workers 2 --tier 2" in caplog.text


async def test_fault_14_what_has_room_is_used(emulated, scenes):
    with emulated(vcpu_quota=4) as aws:
        result = await execute_parallel_batches(scenes(6), 1, 6, 1, config_priority=1)
        assert result.success
        assert aws.max_live == 2


def test_each_of_the_fourteen_is_here():
    numbers = {int(name[11:13]) for name in globals() if name.startswith("test_fault_")}
    assert numbers == set(range(1, 15))
