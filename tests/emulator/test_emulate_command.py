"""``cloudburst emulate`` as a process: what it prints, and that nothing of it is left."""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from cloudburst.cli.emulate import StateLines, emulate_command, next_steps
from cloudburst.errors import ConfigurationError
from cloudburst.models.task import PROTOCOL_VERSION
from cloudburst.testing import ImagePull, Task
from support.emulator_calls import ask, client, request, until

pytestmark = pytest.mark.real
COMMAND = "import sys, cyclopts; from cloudburst.cli.emulate import emulate_command as e\n"
COMMAND += "app = cyclopts.App(); app.command(e, name='emulate'); sys.exit(app(sys.argv[1:]))"


@contextmanager
def emulating(tmp_path, *options, last="ECS_TASK_DEFINITION", **variables):
    told = tmp_path / "told"
    with told.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "emulate", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "COLUMNS": "100", **variables},
        )
    try:
        environment = {}
        while last not in environment:
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


@pytest.mark.few(1)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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
        assert process.wait(30) == 0
        until(lambda: not Path(f"/proc/{pid}").exists())
    lines = told.read_text().splitlines()
    assert [line.split()[3] for line in lines[1:4]] == ["PROVISIONING", "PENDING", "RUNNING"]
    assert "2 vCPU, 4 GB, on demand" in lines[1]
    assert lines[-1] == "Stopped, together with 1 task."


def test_signals_that_are_ignored_at_its_start_do_not_end_it(tmp_path):
    """As in the background of a shell script, at whose other programs Ctrl-C is aimed."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with emulating(tmp_path, "--worker", "stub") as (process, emulator, _):
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            assert client(emulator, "ecs").list_clusters()["clusterArns"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_runs_our_service_unless_told_otherwise(tmp_path):
    with emulating(tmp_path) as (_, emulator, _):
        ecs = client(emulator, "ecs")
        definition = ecs.describe_task_definition(taskDefinition="cloudburst-task")
        labels = definition["taskDefinition"]["containerDefinitions"][0]["dockerLabels"]
        assert labels == {
            "cloudburst.protocol": "native",
            "cloudburst.protocol-version": str(PROTOCOL_VERSION),
        }


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"api_port: {port};.* address already in use"):
            emulate_command(port=port, worker="stub")


@pytest.mark.nightly
def test_ends_with_its_containers(tmp_path):
    with emulating(tmp_path, "--worker", "stub") as (process, _, told):
        children = "".join(
            one.read_text() for one in Path(f"/proc/{process.pid}/task").glob("*/children")
        )
        os.kill(int(children), signal.SIGKILL)
        assert process.wait(30) != 0
        assert "their runtime process was killed; start the emulator again" in told.read_text()


@pytest.mark.registry
def test_starts_a_registry_whose_images_tasks_run(tmp_path):
    quick = ["--registry", "--provisioning", "0.1", "--pending", "0.1"]
    with emulating(tmp_path, *quick, last="NO_PROXY") as (process, emulator, told):
        until(lambda: "cloudburst render" in told.read_text())
        assert "cloudburst init" in told.read_text()
        ecr = client(emulator, "ecr")
        assert ecr.describe_repositories()["repositories"] == []  # an account before init
        [login] = ecr.get_authorization_token()["authorizationData"]
        user, _, password = base64.b64decode(login["authorizationToken"]).decode().partition(":")
        url = f"{login['proxyEndpoint']}/v2/"
        with httpx.Client(trust_env=False) as plain:
            assert plain.get(url).status_code == 401
            assert plain.get(url, auth=(user, password)).status_code == 200
            process.kill()  # without a chance to stop the registry
            process.wait()
            until(lambda: is_refused(plain, url))


def is_refused(plain, url):
    try:
        plain.get(url)
    except httpx.TransportError as error:
        return isinstance(error, httpx.ConnectError)
    return False


def test_a_registry_without_the_other_services_of_aws_is_told(monkeypatch):
    monkeypatch.setattr("cloudburst.emulator.moto.moto_is_installed", lambda: False)
    with pytest.raises(ConfigurationError, match=r"cloudburst-sdk\[testing\]"):
        emulate_command(registry=True)


def test_a_registry_without_its_program_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="install docker-registry and apache2-utils"):
        emulate_command(registry=True, worker="stub")


def test_images_that_are_not_run_are_named():
    registry = SimpleNamespace(url="http://127.0.0.1:5001")
    text = "\n".join(map(str, next_steps(SimpleNamespace(registry=registry, not_confined="why"))))
    assert "Images are not run here: why." in text
    assert "Tasks run the service of this installation." in text
    assert list(next_steps(SimpleNamespace(registry=None))) == []


def test_the_size_of_an_image_is_told():
    image = ImagePull(digest="sha256:1", compressed_bytes=92_310_000)
    task = Task(
        id="a",
        arn="b",
        cluster="c",
        main="d",
        number=0,
        vcpu=1,
        memory_mb=2048,
        created=0.0,
        last_status="RUNNING",
        address="127.1.2.3",
        pids={"d": 4},
        images={"d": image},
    )
    expected = "at 127.1.2.3, process 4; image of 92.3 MB"
    assert str(StateLines.line(task)).endswith(expected)


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


def test_the_printed_key_has_only_the_policies_of_the_files(tmp_path):
    allowed = {"Effect": "Allow", "Action": "ecs:ListClusters", "Resource": "*"}
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    files[0].write_text(json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    files[1].write_text(json.dumps({"Statement": {**allowed, "Action": "ec2:DescribeVpcs"}}))
    options = [word for file in files for word in ("--policy", str(file))]
    with emulating(tmp_path, "--worker", "stub", *options) as (_, emulator, _):
        assert client(emulator, "ecs").list_clusters()["clusterArns"]
        assert client(emulator, "ec2").describe_vpcs()["Vpcs"]
        with pytest.raises(ClientError, match="ecs:DescribeClusters"):
            client(emulator, "ecs").describe_clusters()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"Statement": []}', "3"])
def test_a_file_without_a_policy_is_refused(tmp_path, content):
    path = tmp_path / "policy.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"policy\.json; expected a JSON file"):
        emulate_command(worker="stub", policies=[path])
