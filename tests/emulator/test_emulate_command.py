"""``cloudburst emulate`` as a process: what it prints, and that nothing of it is left."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from cloudburst.cli.emulate import StateLines, emulate_command
from cloudburst.errors import ConfigurationError
from cloudburst.testing import Task
from support.emulator_calls import ask, client, request, until

pytestmark = pytest.mark.real
COMMAND = "import sys, cyclopts; from cloudburst.cli.emulate import emulate_command as e\n"
COMMAND += "app = cyclopts.App(); app.command(e, name='emulate'); sys.exit(app(sys.argv[1:]))"


@contextmanager
def emulating(tmp_path, *options):
    told = tmp_path / "told"
    with told.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "emulate", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "COLUMNS": "100"},
        )
    try:
        environment = {}
        while "ECS_TASK_DEFINITION" not in environment:
            word, line = process.stdout.readline().split(" ", 1)
            assert word == "export"
            name, _, value = shlex.split(line)[0].partition("=")
            environment[name] = value
        url = environment["AWS_ENDPOINT_URL"]
        yield process, SimpleNamespace(environment=environment, url=url), told
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_tells_how_to_reach_it_and_what_tasks_do(tmp_path, signum):
    quick = ["--worker", "stub", "--provisioning", "0.1", "--pending", "0.1", "--tasks", "1"]
    with emulating(tmp_path, *quick) as (process, emulator, told):
        ecs = client(emulator, "ecs")
        answer = ecs.run_task(**request(emulator, count=2))
        assert [len(answer["tasks"]), len(answer["failures"])] == [1, 1]
        until(lambda: "RUNNING" in told.read_text())
        address, pid = told.read_text().split("RUNNING")[1].split("process")[0:2]
        task = SimpleNamespace(address=address.split()[1].strip(","))
        assert ask(task)[0] == 200
        pid = int(pid.split()[0])
        process.send_signal(signum)
        assert process.wait(10) == 0
        until(lambda: not Path(f"/proc/{pid}").exists())
    lines = told.read_text().splitlines()
    assert [line.split()[3] for line in lines[1:4]] == ["PROVISIONING", "PENDING", "RUNNING"]
    assert "2 vCPU, 4 GB, on demand" in lines[1]
    assert lines[-1] == "Stopped, together with 1 task."


def test_runs_our_service_unless_told_otherwise(tmp_path):
    quick = ["--provisioning", "0.1", "--pending", "0.1"]
    with emulating(tmp_path, *quick) as (_, emulator, told):
        ecs = client(emulator, "ecs")
        definition = ecs.describe_task_definition(taskDefinition="cloudburst-task")
        labels = definition["taskDefinition"]["containerDefinitions"][0]["dockerLabels"]
        assert labels == {"cloudburst.protocol": "native"}
        ecs.run_task(**request(emulator))
        until(lambda: "RUNNING" in told.read_text())
        address = told.read_text().split(" at ")[-1].split(",")[0]
        worker = SimpleNamespace(address=address)
        until(lambda: b'"healthy"' in ask(worker, timeout=15)[1], seconds=30)


def test_a_port_that_is_taken_is_told(tmp_path):
    with emulating(tmp_path, "--worker", "stub") as (_, emulator, _):
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match=str(port)):
            emulate_command(port=port, worker="stub")


def test_lines_tell_each_state_once_and_why_it_ended():
    console = Console(width=100, force_terminal=False)
    lines = StateLines(console)
    facts = {"id": "a", "arn": "b", "cluster": "c", "main": "d", "vcpu": 1, "memory_mb": 2048}
    with console.capture() as captured:
        for status in ("PENDING", "PENDING", "STOPPED"):
            lines.on_change(
                Task(
                    **facts,
                    number=7,
                    created=time.time(),
                    last_status=status,
                    stop_code="EssentialContainerExited",
                    stopped_reason="[red]it\x1b[31m ended",
                    exit_codes={"d": 137},
                )
            )
    pending, stopped = captured.get().splitlines()
    assert "task 7" in pending
    assert "PENDING" in pending
    assert stopped.endswith("EssentialContainerExited: [red]it�[31m ended, exit code 137")
