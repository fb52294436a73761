"""The registry on this machine of runs whose process has ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from cloudburst.aws.fargate.run_registry import (
    ORPHAN_AGE,
    open_run_registry,
    orphans_message,
    registered_runs,
    remove_run,
    runs_folder,
)

pytestmark = pytest.mark.anyio

FACTS = {"region": "us-east-1", "cluster": "c", "endpoint_url": None}


async def test_a_run_is_known_from_before_its_first_launch_until_all_is_given_back():
    async with open_run_registry(**FACTS) as runs:
        assert await registered_runs() == ()
        await runs.record_request("run-1", "token-1")
        (known,) = await registered_runs()
        assert (known.run, known.active, known.pid) == ("run-1", True, os.getpid())
        assert (known.region, known.cluster, known.endpoint_url) == ("us-east-1", "c", None)
        assert known.host == socket.gethostname()
        runs.record_launch("token-1", "task-1")
        await runs.record_request("run-1", "token-2")
        await runs.record_stop("task-1")
        assert len(await registered_runs()) == 1
        await runs.record_refusal("token-2")
        assert await registered_runs() == ()
        await runs.record_request("run-1", "token-3")
        assert len(await registered_runs()) == 1
        await runs.record_refusal("token-3")
    assert list(runs_folder().iterdir()) == []


@pytest.mark.parametrize("answered", [True, False])
async def test_what_was_not_given_back_stays_known_and_is_not_alive(answered):
    async with open_run_registry(**FACTS) as runs:
        await runs.record_request("run-1", "token")
        if answered:
            runs.record_launch("token", "task")
    (known,) = await registered_runs()
    assert not known.active
    await remove_run(known)
    assert await registered_runs() == ()
    assert list(runs_folder().iterdir()) == []


PROGRAM = """
import anyio, sys
from cloudburst.aws.fargate.run_registry import open_run_registry

async def main():
    async with open_run_registry(region="eu-west-1", cluster="c", endpoint_url=None) as runs:
        await runs.record_request("theirs", "token")
        print("held", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_a_killed_process_leaves_a_run_that_is_not_alive():
    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    def kill(process):
        process.send_signal(signal.SIGKILL)
        with process:
            pass

    process = await to_thread.run_sync(start)
    try:
        (known,) = await registered_runs()
        assert known.active
        assert await orphans_message() == ""
        await remove_run(known)  # not while it lives
        assert len(await registered_runs()) == 1
    finally:
        await to_thread.run_sync(kill, process)
    (known,) = await registered_runs()
    assert not known.active
    assert (known.run, known.region) == ("theirs", "eu-west-1")
    expected = "Tasks of 1 killed run may still run, and are billed. Stop them: cloudburst cleanup"
    assert await orphans_message() == expected
    facts = json.loads(known.path.read_text())
    known.path.write_text(json.dumps(facts | {"started": known.started - ORPHAN_AGE}))
    assert await orphans_message() == ""
    await remove_run(known)
    assert await registered_runs() == ()


async def test_another_machines_run_counts_as_alive():
    async with open_run_registry(**FACTS) as runs:
        await runs.record_request("run-1", "token")
    (path,) = await to_thread.run_sync(lambda: list(runs_folder().glob("*.json")))
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "host": "elsewhere"}))
    (known,) = await registered_runs()
    assert known.active


async def test_files_that_are_nothing_of_ours_are_passed_over():
    async with open_run_registry(**FACTS) as runs:
        await runs.record_request("run-1", "token")
        (runs_folder() / "broken.json").write_text("{")
        (runs_folder() / "other.json").write_text('{"run": 1}')
        (runs_folder() / "list.json").write_text("[]")
        assert [known.run for known in await registered_runs()] == ["run-1"]
        await runs.record_refusal("token")


async def test_a_machine_that_keeps_nothing_renders_all_the_same(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    async with open_run_registry(**FACTS) as runs:
        await runs.record_request("run-1", "token")
        runs.record_launch("token", "task")
        await runs.record_stop("task")
    assert "will not find this run on this machine" in caplog.text


async def test_many_launches_of_a_run_at_once_make_one_file():
    async with open_run_registry(**FACTS) as runs:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(runs.record_request, "run-1", f"token-{number}")
        assert len(await registered_runs()) == 1
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(runs.record_refusal, f"token-{number}")
                tasks.start_soon(runs.record_request, "run-1", f"new-{number}")
        assert len(await registered_runs()) == 1
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(runs.record_refusal, f"new-{number}")
        assert await registered_runs() == ()


async def test_a_run_of_any_name_has_a_file():
    async with open_run_registry(**FACTS) as runs:
        await runs.record_request("../../场景 1", "token")
        (known,) = await registered_runs()
        assert known.run == "../../场景 1"
        assert Path(known.path).parent == runs_folder()
        await runs.record_refusal("token")
