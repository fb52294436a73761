"""The calls of cloudburst-fargate on an emulated account, with a real process for each task."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from children import stopped

from cloudburst import FargateOperationV1, execute_parallel_batches

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

PROGRAM = """
import json, sys
from cloudburst.blocking import execute_parallel_batches

execute_parallel_batches(json.load(sys.stdin), scenes_per_batch=1, min_scenes_per_batch=1)
print("not reached")
"""


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A folder whose ``.env`` names the account."""

    def named(emulator):
        monkeypatch.chdir(tmp_path)
        lines = (f"{name}={value}\n" for name, value in emulator.environment.items())
        (tmp_path / ".env").write_text("".join(lines))

    return named


async def test_two_tasks_with_their_tags_and_keys(account, scenes, here):
    with account() as aws:
        here(aws)
        tags = {}
        aws.on_change(lambda task: tags.setdefault(task.arn, task.tags))
        result = await execute_parallel_batches(
            scenes(4), 2, 2, language="english", config_priority=1
        )
        assert result.success, result
        assert {task.arn for task in aws.tasks} == {t["task_arn"] for t in result["task_results"]}
        assert result.tasks_used == 2
        for task in aws.tasks:
            assert tags[task.arn] == {
                "CreatedBy": "animagent",
                "Purpose": "video-generation",
                "Project": "CloudBurst",
                "Language": "english",
                "Scene": "scene 3",
                "cloudburst:run": result.run,
            }
            assert task.started_by == f"cloudburst/{result.run}"
            assert task.stop_code == "UserInitiated"
        keys = {task.environment["AUTHENTICATION_KEY"] for task in aws.tasks}
        assert len(keys) == 2
        assert all(map(os.path.getsize, result["downloaded_files"]))
        hour = 0.09874 + 0.005
        assert result.total_cost_usd == pytest.approx(2 * hour / 60, rel=0.001)
        assert 0 < result.efficiency.processing_efficiency <= 100


async def test_the_fixed_key(account, scenes, here, monkeypatch):
    with account() as aws:
        here(aws)
        monkeypatch.setenv("VIDEO_API_AUTH_KEY", "fixed-key-0123456789")
        assert (await FargateOperationV1().execute_batch(scenes(1))).success
        (task,) = aws.tasks
        assert task.environment["AUTHENTICATION_KEY"] == "fixed-key-0123456789"
        assert task.stop_code == "UserInitiated"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_every_task(signum, account, scenes, here, tmp_path):
    with account(worker_environment={"STUB_GENERATE_SECONDS": "20"}) as aws:
        here(aws)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        try:
            process.stdin.write(json.dumps(scenes(3)).encode())
            process.stdin.close()
            process.stdin = None
            end = time.monotonic() + 30
            while sum(task.last_status == "RUNNING" for task in aws.tasks) < 3:
                assert time.monotonic() < end
                assert process.poll() is None, process.stderr.read().decode()
                time.sleep(0.02)
            process.send_signal(signum)
            out, errors = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == -signum, errors.decode()
        assert b"not reached" not in out
        assert (b"KeyboardInterrupt" in errors) is (signum == signal.SIGINT)
        assert not aws.live
        assert {task.stop_code for task in stopped(aws)} == {"UserInitiated"}
    assert not list((tmp_path / "state").rglob("*.json")), "the run is not known any more"
