"""Post-mortems of Fargate tasks have all that ECS and CloudWatch Logs know, and no secret."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest
from anyio import create_task_group
from hypothesis import given
from hypothesis import strategies as st

from cloudburst import redaction
from cloudburst.aws.client.client import open_aws
from cloudburst.aws.fargate.post_mortem import _without_overrides, build_post_mortem
from cloudburst.aws.fargate.task_definition import describe_task_definition
from cloudburst.engine.open_run import open_run
from cloudburst.engine.pool import WorkerPool
from cloudburst.engine.run import RunSpec
from cloudburst.models.limits import READINESS_BACKOFF, Limits, Timeouts
from cloudburst.models.scene import CheckedScene, Scene
from cloudburst.models.task import TaskId, TaskSpec, TaskState
from cloudburst.testing import TaskFault
from cloudburst.workers.http.certificates import new_secrets
from support.fargate_backend import account, backend_of, request, settings_of, stop, until

pytestmark = pytest.mark.anyio

CHATTER = """
import os, sys
for number in range(130):
    print("line", number, flush=True)
print("my key is", os.environ["AUTHENTICATION_KEY"], flush=True)
print(os.environ.get("CLOUDBURST_PRIVATE_KEY", ""), flush=True)
sys.exit(3)
"""
CHATTERING = {"worker": (sys.executable, "-c", CHATTER)}


async def ended(backend, **more):
    task = await backend.launcher.launch(request("one", **more))
    await until(backend, task, TaskState.STOPPED, seconds=30)
    return task


async def test_a_page_about_a_task_that_crashed():
    with account(**CHATTERING, seed=1) as emulator:
        async with backend_of(emulator) as backend:
            task = await ended(backend)
            page = await backend.launcher.post_mortem(task)
    ident = task.rpartition("/")[2]
    assert page.startswith(
        f"# Task {ident} failed\n\n**The program in the container exited with an error.**\n\n"
    )
    assert "What to do: cloudburst logs shows its output." in page
    assert "- stop code: EssentialContainerExited\n" in page
    assert "cloudburst-processor: exit code 3" in page
    assert "- size: 2 vCPU, 4 GB, FARGATE\n" in page
    assert "- zone: us-east-1a\n" in page
    for told in ("created", "image pull began", "ran", "stopped"):
        assert f"- {told}: 20" in page
    lines = page.partition("## Last lines")[2].partition("## As ECS")[0].strip().splitlines()
    assert len(lines) == 100
    assert "line 129" in "\n".join(lines)
    assert "line 3\n" not in page
    assert f'"taskArn": "{task}"' in page


@pytest.mark.parametrize("by", ["this process", "another one"])
async def test_no_key_lands_there(by):
    secrets = new_secrets()
    with account(protocol="native", **CHATTERING) as emulator:
        async with backend_of(emulator) as backend:
            task = await ended(backend, secrets=secrets)
            if by == "this process":
                page = await backend.launcher.post_mortem(task)
            else:
                redaction._written_forms[redaction.SecretOwner.WORKER].clear()
                settings = settings_of(emulator)
                async with open_aws(settings) as aws:
                    definition = await describe_task_definition(aws, settings.task_definition)
                    page = await build_post_mortem(
                        aws, cluster=settings.cluster, definition=definition, task=task
                    )
    assert "my key is ***" in page
    for secret in (secrets.key, *secrets.private_key.splitlines()[1:-1]):
        assert secret not in page
    assert '"AUTHENTICATION_KEY"' in page, "its name may be there"
    assert "LIFETIME_SECONDS" in page
    assert '"3600.0"' not in page


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    values=st.lists(TEXT, min_size=1, max_size=4),
    command=st.lists(TEXT, max_size=2),
)
def test_overrides_are_shown_without_values(values, command):
    planted = [f"planted {value}" for value in values]
    override = {
        "name": "c",
        "command": [f"planted {word}" for word in command],
        "environment": [{"name": f"N{n}", "value": value} for n, value in enumerate(planted)],
        "environmentFiles": [{"value": "planted", "type": "s3"}],
    }
    overrides = {"cpu": "1024", "taskRoleArn": "planted", "containerOverrides": [override]}
    shown = _without_overrides({"taskArn": "t", "overrides": overrides})
    assert "planted" not in str(shown)
    assert shown["overrides"]["cpu"] == "1024"
    names = shown["overrides"]["containerOverrides"][0]["environment"]
    assert names == [f"N{n}" for n in range(len(values))]


async def test_without_the_permission_it_says_so():
    with account(denied=frozenset({"logs:GetLogEvents"}), **CHATTERING) as emulator:
        async with backend_of(emulator) as backend:
            page = await backend.launcher.post_mortem(await ended(backend))
    assert "may not read them (logs:GetLogEvents)" in page
    assert "exit code 3" in page


async def test_where_there_are_no_lines_it_says_why():
    with account(task_faults={0: TaskFault(no_network_interface=True)}) as emulator:
        async with backend_of(emulator) as backend:
            page = await backend.launcher.post_mortem(await ended(backend))
    assert "**The task got no network interface or no disk, which happens occasionally.**" in page
    assert "There are none in /ecs/cloudburst, stream " in page
    with account(task_faults={0: TaskFault(crash_after=0.1)}) as emulator:
        emulator.register(family="quiet", watchdog=False, container={"logConfiguration": {}})
        async with backend_of(emulator, task_definition="quiet") as backend:
            page = await backend.launcher.post_mortem(await ended(backend))
    assert "The task definition sends no lines to CloudWatch Logs." in page


async def test_a_task_that_still_runs_is_waited_for_and_told_as_it_is():
    with account() as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            await until(backend, task, TaskState.RUNNING)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(crash_soon, emulator)
                page = await backend.launcher.post_mortem(task)
            assert "exit code 137" in page
            other = await backend.launcher.launch(request("two"))
            await until(backend, other, TaskState.RUNNING)
            page = await backend.launcher.post_mortem(other)
            assert "- state: RUNNING: it had not stopped yet" in page
            await backend.launcher.stop(other, reason="done")


async def test_a_task_that_we_stopped_was_not_stopped_by_others():
    with account() as emulator:
        async with backend_of(emulator) as backend:
            task = await backend.launcher.launch(request("one"))
            await until(backend, task, TaskState.RUNNING)
            await backend.launcher.stop(task, reason="cloudburst: done")
            page = await backend.launcher.post_mortem(task)
            assert "A user or program" not in page
            assert "- reason: cloudburst: done" in page
            other = await backend.launcher.launch(request("two"))
            await stop(backend, other, reason="by hand")
            page = await backend.launcher.post_mortem(other)
            assert "**A user or program stopped the task.**" in page


async def crash_soon(emulator):
    await anyio.sleep(0.6)
    await anyio.to_thread.run_sync(emulator.crash)


async def test_a_task_that_aws_has_forgotten_has_no_post_mortem():
    with account() as emulator:
        async with backend_of(emulator) as backend:
            arn = f"arn:aws:ecs:us-east-1:123456789012:task/cloudburst-cluster/{'0' * 32}"
            assert await backend.launcher.post_mortem(TaskId(arn)) is None


class Kept:
    """A journal that keeps pages in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def now(self):
        return 0.0

    async def write(self, *entries):
        """Nothing."""

    async def save_file(self, name, text):
        path = Path(self.folder) / name
        await anyio.Path(path).write_text(text, "utf-8")
        return path


async def test_a_run_keeps_them_and_ends_for_an_image_that_is_not_there(make_scene, tmp_path):
    faults = dict.fromkeys(range(9), TaskFault(image_missing=True))
    timeouts, limits = Timeouts(ready=20), Limits(workers=2)
    scenes = [
        CheckedScene(
            scene=Scene.model_validate(make_scene(f"s{number}")),
            audio_seconds=1.0,
            image_bytes=1000,
        )
        for number in range(6)
    ]
    with account(task_faults=faults) as emulator:
        async with backend_of(emulator, timeouts=timeouts) as backend, create_task_group() as tasks:
            pool = WorkerPool(
                tasks,
                [backend],
                spec=TaskSpec(),
                timeouts=timeouts,
                limits=limits,
                backoff=READINESS_BACKOFF,
            )
            async with open_run(
                RunSpec(
                    "run", scenes, lambda name: tmp_path / f"{name}.mp4", journal=Kept(tmp_path)
                ),
                pool,
            ) as run:
                report = await run.until_done()
            await pool.stop_all()
            tasks.cancel_scope.cancel()
        assert len(emulator.tasks) == 2, "those that were under way, and no more"
    assert "check registry, name and tag in DOCKER_IMAGE" in report.problem
    assert all(
        "check registry, name and tag in DOCKER_IMAGE" in entry.error for entry in report.scenes
    )
    kept = [worker.post_mortem for worker in report.workers if worker.post_mortem]
    assert kept
    for path in kept:
        text = path.read_text("utf-8")
        assert "**The image does not exist, or pulling it is not permitted.**" in text
        assert "What to do: check registry, name and tag in DOCKER_IMAGE" in text
