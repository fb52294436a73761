"""Tasks run the image that was pushed to the registry, in namespaces of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cloudburst.emulator.bubblewrap import Sandbox, User
from cloudburst.testing import EmulatorConfig, FargateEmulator
from support.emulator_calls import ask, client, now, reach, run, stop, until
from support.image_account import (
    SHORT,
    ImageAccount,
    processes_with,
    require_bubblewrap,
    status_of,
)
from support.project import TESTS
from support.tiny_images import LOGS, SHELL, TINY, define, lines_of, registry_of

pytestmark = pytest.mark.real
TEMPORARY = Path(tempfile.gettempdir())
SECRET = "a value of this machine"
LONG = str(10**8 + os.getpid())
"""Seconds of a sleep that no other test process has."""
CHECK = """
import socket
with socket.create_connection(("127.0.0.1", 5000)) as line:
    line.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
    answer = line.recv(100)
raise SystemExit(b" 200 " not in answer)
"""
FOREVER = "while true; do sleep 60 & wait; done"


@pytest.fixture(scope="module")
def account(registry_server):
    require_bubblewrap()
    os.environ["CLOUDBURST_TEST_SECRET"] = SECRET
    settings = {"registry": registry_of(registry_server), "moto": False, "buckets": (), **SHORT}
    config = EmulatorConfig.quick(**settings)
    with FargateEmulator(config) as emulator:
        yield ImageAccount(emulator, registry_server)
    del os.environ["CLOUDBURST_TEST_SECRET"]


@pytest.fixture(scope="module")
def worker(account):
    return account.add(TINY)


@pytest.fixture(scope="module")
def shell(account):
    return account.add(SHELL)


class TestConfinement:
    """The process has the files, the user and the process ids of its image."""

    def test_the_worker_of_the_image_runs_as_its_user_in_its_own_root(self, account, worker):
        task = account.start(worker)
        assert ask(task)[0] == 200
        assert Path(f"/proc/{task.pid}/root/opt/stub_worker.py").exists()
        assert not Path(f"/proc/{task.pid}/root/sys").exists()
        status = status_of(task.pid)
        assert int(status["CapEff"], 16) == 0
        assert status["NSpid"].split() == [str(task.pid), "1"]
        assert Path(f"/proc/{task.pid}/uid_map").read_text().split()[::2] == ["10001", "1"]
        for kind in ("user", "mnt", "pid"):
            inner, outer = (Path(f"/proc/{pid}/ns/{kind}") for pid in (task.pid, "self"))
            assert inner.readlink() != outer.readlink()
        pulled = now(account.emulator, task).images["cloudburst-processor"]
        assert pulled.compressed_bytes > 1_000_000

    def test_a_container_sees_files_and_variables_of_its_image_only(self, account, shell):
        script = "id -u; ls /; echo; ls /dev; echo; ls /proc; echo; cat /proc/1/environ"
        given = [{"name": "GIVEN", "value": "1"}]
        task, lines = account.run(shell, script, environment=given)
        assert task.exit_code == 0
        user, root, devices, processes, variables = (
            part.split("\n")
            for part in "\n".join(lines).replace("10001\n", "10001\n\n", 1).split("\n\n")
        )
        assert user == ["10001"]
        assert set(root) == {"bin", "dev", "etc", "open", "proc", "root", "tmp", "usr"} | (
            set(root) & {"lib", "lib64"}
        )
        assert set(devices) >= {"full", "null", "random", "shm", "urandom", "zero"}
        assert not set(devices) & {"mem", "kmsg", "sda", "vda"}
        assert len([name for name in processes if name.isdecimal()]) <= 3
        values = dict(one.split("=", 1) for one in variables[0].split("\0") if one)
        assert values["GIVEN"] == "1"
        assert values["CLOUDBURST_HOST"] == task.address
        assert values["HOME"] == "/"
        assert set(values) == {
            "AWS_EXECUTION_ENV",
            "AWS_REGION",
            "CLOUDBURST_HOST",
            "CLOUDBURST_PORT",
            "GIVEN",
            "HOME",
            "PATH",
            "PWD",
        } - ({"PWD"} - set(values))

    def test_only_its_volumes_are_writable(self, account, shell):
        script = """
            touch /tmp/a && ls /tmp
            for name in /b /etc/b; do touch $name; done
            touch /dev/shm/b && echo shm
        """
        _, lines = account.run(shell, script)
        assert lines[0] == "a"
        assert sum("Read-only file system" in line for line in lines) == 2
        assert lines[-1] == "shm"

    def test_changes_to_the_root_stay_in_the_container(self, account, shell):
        for _ in range(2):
            _, lines = account.run(
                shell,
                "ls /open; touch /open/a && ls /open",
                readonlyRootFilesystem=False,
            )
            assert lines[0] == "a"

    def test_volumes_belong_to_root_unless_the_image_declares_them(self, account):
        image = account.add(SHELL.but(volumes=()))
        task, lines = account.run(image, "touch /tmp/a || exit 9")
        assert task.exit_code == 9
        assert "ermission denied" in lines[0]

    def test_processes_outside_are_out_of_reach(self, account, shell):
        other = account.start(shell, FOREVER)
        script = "for id in 1 2 3 4 5; do kill -9 $id; done; kill -9 -1; ls /proc/[0-9]* -d; id -u"
        _, lines = account.run(shell, script, user="0")
        assert lines[-1] == "0"
        assert len([line for line in lines if line.startswith("/proc/")]) <= 2
        assert now(account.emulator, other).last_status == "RUNNING"
        account.emulator.crash(other)

    def test_tasks_do_not_share_their_volumes(self, account, shell):
        for _ in range(2):
            _, lines = account.run(shell, "ls /tmp; touch /tmp/a; ls /tmp")
            assert lines == ["a"]


class TestLife:
    """Signals, exit codes and faults reach the program of the image."""

    def test_the_program_gets_sigterm_and_its_exit_code_counts(self, account, shell):
        task = account.start(shell, f"trap 'echo got it; exit 3' TERM; echo ready; {FOREVER}")
        until(lambda: lines_of(account.emulator, task) == ["ready"])
        stop(account.emulator, task)
        task, lines = account.end(task)
        assert (task.exit_code, lines) == (3, ["ready", "got it"])

    def test_without_a_handler_process_1_runs_until_sigkill(self, account, shell):
        task = account.start(shell, "exec sleep 60", stopTimeout=1)
        began = time.monotonic()
        stop(account.emulator, task)
        task, _ = account.end(task)
        assert task.exit_code == 137
        assert time.monotonic() - began >= 1

    def test_an_init_process_forwards_signals(self, account, shell):
        script = "echo ready; exec sleep 60"
        task = account.start(shell, script, linuxParameters={"initProcessEnabled": True})
        until(lambda: lines_of(account.emulator, task) == ["ready"])
        stop(account.emulator, task)
        assert account.end(task)[0].exit_code == 143

    def test_a_second_container_runs_in_its_image_and_ends_the_task(self, account, worker, shell):
        watchdog = {
            "name": "watchdog",
            "image": shell,
            "user": "65534",
            "command": ["id -u; sleep 0.3; exit 6"],
            "logConfiguration": LOGS,
        }
        family = define(account.emulator, worker, containers=[watchdog], stopTimeout=1)
        [task] = run(account.emulator, taskDefinition=family)
        task, _ = account.end(task)
        assert task.stop_code == "EssentialContainerExited"
        assert task.exit_codes["watchdog"] == 6
        assert lines_of(account.emulator, task, "watchdog") == ["65534"]

    def test_descendants_end_with_the_program(self, account, shell):
        task = account.start(shell, f"sleep {LONG} & (sleep {LONG} &); sleep 0.2; exit 4")
        assert account.end(task)[0].exit_code == 4
        assert processes_with(LONG) == []

    def test_processes_are_frozen(self, account, worker):
        task = account.start(worker)
        account.emulator.freeze(task, 0.5)
        until(lambda: status_of(task.pid)["State"].startswith("T"))
        until(lambda: status_of(task.pid)["State"].startswith("S"))
        account.emulator.crash(task)
        assert account.end(task)[0].exit_code == 137

    def test_the_health_check_runs_in_the_image(self, account, worker):
        good = ["CMD", "/usr/bin/python", "-S", "-E", "-c", CHECK]
        bad = ["CMD-SHELL", "curl -f http://127.0.0.1:5000/health"]
        for command, healthy in [(good, True), (bad, False)]:
            retries = 50 if healthy else 1  # the first checks may come before the worker listens
            check = {"command": command, "interval": 0.3, "retries": retries, "timeout": 20}
            account.emulator.register(
                family="checked",
                watchdog=False,
                container={"image": worker, "user": "10001", "healthCheck": check},
            )
            [task] = run(account.emulator, taskDefinition="checked")
            until(lambda task=task: now(account.emulator, task).healthy is not None, seconds=30)
            assert now(account.emulator, task).healthy is healthy


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"user": "9" * 5000}, id="user"),
        pytest.param({"user": "\ud800"}, id="user that is no text"),
        pytest.param({"workingDirectory": "/nowhere"}, id="folder"),
    ],
)
def test_definitions_that_cannot_start_stop_their_task_only(account, shell, changes):
    task, _ = account.run(shell, "true", **changes)
    assert task.stop_code == "TaskFailedToStart"
    assert account.run(shell, "echo fine")[1] == ["fine"]


def test_tasks_share_the_files_of_an_image(account):
    image = account.add(SHELL)
    family = define(account.emulator, image)
    tasks = run(account.emulator, taskDefinition=family, count=8)
    tasks = [reach(account.emulator, task, "RUNNING") for task in tasks]
    assert len({task.images[task.main] for task in tasks}) == 1
    for task in tasks:
        account.emulator.crash(task)
        assert account.end(task)[0].exit_code == 137


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_an_emulator_can_end_during_a_pull(registry_server, worker, seconds):
    name = worker.partition("/")[2]
    config = EmulatorConfig.quick(registry=registry_of(registry_server), moto=False)
    with FargateEmulator(config) as emulator:
        client(emulator, "ecr").create_repository(repositoryName=name)
        [task] = run(emulator, taskDefinition=define(emulator, worker))
        reach(emulator, task, "PENDING")
        folder = emulator._inside.account.ecr.images.folder
        time.sleep(seconds)
    assert not folder.exists()


PROGRAM = """
import sys, time
from cloudburst.testing import EmulatedRegistry, EmulatorConfig, FargateEmulator
from support.emulator_calls import client, reach, run
from support.tiny_images import define

url, username, password, repository, seconds = sys.argv[1:]
script = f"sleep {seconds} & sleep {seconds}"
registry = EmulatedRegistry(url=url, username=username, password=password)
config = EmulatorConfig.quick(registry=registry, moto=False)
with FargateEmulator(config) as emulator:
    made = client(emulator, "ecr").create_repository(repositoryName=repository)
    image = made["repository"]["repositoryUri"]
    [task] = run(emulator, taskDefinition=define(emulator, image, command=[script]))
    print(reach(emulator, task, "RUNNING").pid, flush=True)
    time.sleep(60)
"""


def test_a_killed_emulator_leaves_no_container(account, shell):
    repository = shell.partition("/")[2]
    login = [account.server.url, account.server.username, account.server.password]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *login, repository, LONG],
        stdout=subprocess.PIPE,
        text=True,
        cwd=TESTS,
    ) as process:
        pid = int(process.stdout.readline())
        until(lambda: len(processes_with(LONG)) >= 2)
        process.kill()
    until(lambda: not processes_with(LONG))
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_an_ordinary_user_runs_images(account, shell):
    task = account.start(shell)
    images = account.emulator._inside.account.ecr.images
    [image] = [one for one in images._unpacked.values() if one.pulled == task.images[task.main]]
    root = shutil.copytree(image.root, tempfile.mkdtemp(), symlinks=True, dirs_exist_ok=True)
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    try:
        Path(root).chmod(0o755)
        sandbox = Sandbox(
            root=Path(root),
            user=User(10001, 0),
            folder="/",
            read_only=False,
            volumes=(),
            has_init=False,
        )
        command = sandbox.running(["/bin/sh", "-c", "id -u; touch /a && ls /a"])
        found = subprocess.run(
            [*(drop if os.geteuid() == 0 else ()), *command],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=lambda: os.dup2(2, 3),
            pass_fds=[3],
        )
    finally:
        shutil.rmtree(root)
    account.emulator.crash(task)
    assert found.stdout == "10001\n/a\n"


def test_volumes_of_tasks_are_removed(account, shell):
    task, lines = account.run(shell, "touch /tmp/a; echo done")
    assert lines == ["done"]
    until(lambda: not list(TEMPORARY.glob(f"cloudburst-emulated-*/tasks/{task.id}")))
