"""Processes and connections: real bytes, and nothing that is left."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from cloudburst.emulator import programs
from cloudburst.emulator.errors import EmulatorError
from cloudburst.emulator.programs.runtime import MAX_LOG_EVENT_BYTES, Container
from cloudburst.testing import EmulatorConfig, FargateEmulator, TaskFault
from support.emulator_calls import (
    QUICK,
    ask,
    client,
    lasts,
    logged,
    network,
    reach,
    request,
    run,
    until,
)
from support.project import TESTS

pytestmark = pytest.mark.real
SERVICE = [sys.executable, "-m", "cloudburst.service"]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def body(name="one.mp4", size=1000):
    content = base64.b64encode(os.urandom(size)).decode()
    return {"input_image": content, "input_audio": content, "output_filename": name}


class TestStubWorker:
    """The small worker of the package."""

    def start(self, emulate, **environment):
        emulator = emulate(worker_environment=environment)
        [task] = run(emulator)
        return reach(emulator, task, "RUNNING"), emulator

    def make(self, task, **more):
        status, content = ask(task, "/create_video_onestep", body=body(**more))
        return status, json.loads(content)

    def test_makes_videos_that_clients_find_playable(self, emulate):
        import io

        from cloudburst.workers.http.mp4 import find_playback_problem

        task, _ = self.start(emulate, STUB_VIDEO_BYTES="123456")
        status, answer = self.make(task)
        assert status == 200
        assert answer["success"]
        assert (answer["filename"], answer["size"]) == ("one.mp4", 123456)
        status, video = ask(task, answer["download_endpoint"])
        assert (status, len(video)) == (200, 123456)
        assert find_playback_problem(io.BytesIO(video), len(video)) is None
        assert ask(task, "/download/nobody")[0] == 404

    def test_takes_the_seconds_that_it_was_told(self, emulate):
        table = json.dumps({"long*.mp4": 0.6, "*": 0.1})
        task, _ = self.start(emulate, STUB_GENERATE_SECONDS=table)
        for name, seconds in [("long 1.mp4", 0.6), ("other.mp4", 0.1)]:
            began = time.monotonic()
            assert self.make(task, name=name)[0] == 200
            assert lasts(time.monotonic() - began, seconds)

    def test_paces_its_connections(self, emulate):
        rate = {"STUB_READ_BYTES_PER_SECOND": "400000", "STUB_WRITE_BYTES_PER_SECOND": "200000"}
        task, _ = self.start(emulate, **rate)
        began = time.monotonic()
        _, answer = self.make(task, size=75_000)
        uploaded = time.monotonic()
        ask(task, answer["download_endpoint"])
        assert lasts(uploaded - began, 0.5)
        assert lasts(time.monotonic() - uploaded, 0.5)

    def test_the_stub_fails_where_it_was_told(self, emulate):
        task, emulator = self.start(
            emulate, STUB_FAIL_CREATE="0", STUB_FAIL_DOWNLOAD="0", STUB_CRASH_CREATE="2"
        )
        assert self.make(task)[0] == 500
        status, answer = self.make(task)
        assert status == 200
        assert ask(task, answer["download_endpoint"])[0] == 500
        assert ask(task, answer["download_endpoint"])[0] == 200
        with pytest.raises(OSError):
            self.make(task)
        assert reach(emulator, task, "STOPPED").exit_code == 70

    def test_cuts_a_download(self, emulate):
        task, _ = self.start(emulate, STUB_CUT_DOWNLOAD="0")
        _, answer = self.make(task)
        import http.client

        with pytest.raises(http.client.IncompleteRead):
            ask(task, answer["download_endpoint"])

    def test_refuses_bad_input(self, emulate):
        task, _ = self.start(emulate)
        assert ask(task, "/create_video_onestep", body={"input_image": "x"})[0] == 400


class TestCut:
    """Connections that are cut from outside."""

    def download(self, task):
        """A slow download, and its length until it ended."""
        status, answer = ask(task, "/create_video_onestep", body=body())
        assert status == 200
        got = 0
        url = f"http://{task.address}:5000{json.loads(answer)['download_endpoint']}"
        with httpx.Client(trust_env=False) as session, session.stream("GET", url) as response:
            try:
                for chunk in response.iter_raw():
                    got += len(chunk)
                    yield got
            except httpx.ReadError:
                yield -got

    def test_at_any_moment(self, emulate):
        paced = {"STUB_VIDEO_BYTES": "1000000", "STUB_WRITE_BYTES_PER_SECOND": "500000"}
        emulator = emulate(proxy_connections=True, worker_environment=paced)
        [task] = run(emulator)
        task = reach(emulator, task, "RUNNING")
        going = self.download(task)
        assert next(going) > 0
        assert emulator.cut(task) == 1
        assert -1_000_000 < list(going)[-1] < 0, "it ended with a reset in the middle"
        assert ask(task)[0] == 200, "the worker lives on"

    def test_without_a_proxy_it_is_refused(self, emulate):
        emulator = emulate()
        [task] = run(emulator)
        reach(emulator, task, "RUNNING")
        with pytest.raises(ValueError, match="proxy_connections"):
            emulator.cut(task)

    def test_the_nth_after_so_many_bytes(self, emulate):
        emulator = emulate(
            task_faults={0: TaskFault(cut_connections={2: 300_000})},
            worker_environment={"STUB_VIDEO_BYTES": "1000000"},
        )
        [task] = run(emulator)
        task = reach(emulator, task, "RUNNING")
        assert ask(task)[0] == 200  # connection 0; the next is of the POST
        sizes = list(self.download(task))
        assert -300_000 <= sizes[-1] < 0
        assert list(self.download(task))[-1] == 1_000_000


def test_the_real_service_is_a_worker(emulate):
    emulator = emulate(worker=SERVICE, protocol="native", worker_environment={"X": "{host}"})
    [task] = run(
        emulator,
        overrides={
            "containerOverrides": [
                {
                    "name": "cloudburst-processor",
                    "environment": [{"name": "AUTHENTICATION_KEY", "value": "k"}],
                }
            ]
        },
    )
    task = reach(emulator, task, "RUNNING")
    # "starting", status 503, until its test render is done.
    content = until(lambda: (answer := ask(task, timeout=15))[0] == 200 and answer[1], seconds=30)
    assert json.loads(content)["status"] == "healthy"
    client(emulator, "ecs").stop_task(cluster=task.cluster, task=task.arn)
    assert reach(emulator, task, "STOPPED").exit_code == 0, "it handles SIGTERM"


def test_what_a_container_leaves_behind_ends_with_it_or_with_the_emulator(tmp_path):
    other, group = tmp_path / "other", tmp_path / "group"
    script = (
        f"setsid sh -c 'echo $$ > {other}; exec sleep 77' & sleep 78 & echo $! > {group}; sleep 79"
    )
    config = EmulatorConfig.quick(**QUICK, worker=["sh", "-c", script], watchdog=False)
    with FargateEmulator(config) as emulator:
        [task] = run(emulator)
        task = reach(emulator, task, "RUNNING")
        other, group = (
            int(until(lambda path=path: path.exists() and path.read_text().strip()))
            for path in (other, group)
        )
        emulator.crash(task)
        reach(emulator, task, "STOPPED")
        until(lambda: not alive(group))
        assert alive(other)
    assert not alive(other)


def test_containers_that_end_while_they_speak_end_alone(emulate):
    emulator = emulate(worker=["sh", "-c", "echo last words; exit 3"], watchdog=False)
    for _ in range(10):
        run(emulator, count=10)
    until(lambda: all(task.stopped for task in emulator.tasks), seconds=15)
    assert {task.exit_code for task in emulator.tasks} == {3}
    assert logged(emulator) == ["last words"] * 100


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"a\r\n\nb", ["a", "", "b"]),
        (b"", []),
        (b"x" * (MAX_LOG_EVENT_BYTES + 5) + b"\ny", ["x" * MAX_LOG_EVENT_BYTES, "x" * 5, "y"]),
    ],
    ids=["short", "none", "long"],
)
def test_output_is_split_into_lines(written, lines):
    reads, writes = os.pipe()
    container = Container("name", 0, reads, -1, has_init=False)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(lambda: (os.write(writes, written), os.close(writes)))
        found = []
        while not container.closed:
            found += container.lines()
    os.close(reads)
    assert found + container.lines(last=True) == lines


def test_emulators_live_side_by_side(emulate):
    tasks = []
    for _ in range(3):
        emulator = emulate()
        tasks.append(reach(emulator, run(emulator)[0], "RUNNING"))
    assert len({task.address for task in tasks}) == 3
    assert all(ask(task)[0] == 200 for task in tasks)


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        emulator = FargateEmulator(EmulatorConfig.quick(**QUICK, port=port))
        with pytest.raises(EmulatorError, match=f"port: {port}; workers cannot listen"), emulator:
            pass


@pytest.mark.nightly
def test_a_hundred_workers_run_at_once(emulate):
    emulator = emulate()
    ecs, began = client(emulator, "ecs"), time.monotonic()
    for _ in range(10):
        ecs.run_task(**request(emulator, count=10))
    until(lambda: all(task.last_status == "RUNNING" for task in emulator.tasks), seconds=15)
    assert all(ask(task)[0] == 200 for task in emulator.tasks)
    assert time.monotonic() - began < 15
    assert emulator.max_live == 100
    assert len({task.address for task in emulator.tasks}) == 100


def test_leaving_leaves_nothing():
    with FargateEmulator(EmulatorConfig.quick(**QUICK)) as emulator:
        tasks = run(emulator, count=3, networkConfiguration=network(emulator))
        pids = [pid for t in tasks for pid in reach(emulator, t, "RUNNING").pids.values()]
        assert len(pids) == 6
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


PROGRAM = """
import sys, time
sys.path.insert(0, {here!r})
from support.emulator_calls import QUICK, reach, run
from cloudburst.testing import EmulatorConfig, FargateEmulator
with FargateEmulator(EmulatorConfig.quick(**QUICK)) as emulator:
    tasks = run(emulator, count=3)
    print(*[p for t in tasks for p in reach(emulator, t, "RUNNING").pids.values()], flush=True)
    time.sleep(60)
"""


def test_a_killed_emulator_leaves_nothing():
    program = PROGRAM.format(here=str(TESTS))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 6
        assert all(alive(pid) for pid in pids)
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not any(alive(pid) for pid in pids), seconds=5)


def test_a_lost_runtime_ends_the_emulator():
    pids, refused = [], []

    def use():
        with FargateEmulator(EmulatorConfig.quick(**QUICK)) as emulator:
            [task] = run(emulator)
            pids.extend(reach(emulator, task, "RUNNING").pids.values())
            os.kill(parent(pids[0]), signal.SIGKILL)
            time.sleep(0.5)
            try:
                _ = emulator.tasks
            except RuntimeError as error:
                refused.append(error)

    with pytest.raises(EmulatorError, match="runtime process was killed"):
        use()
    assert "is not running" in str(refused)
    until(lambda: not any(alive(pid) for pid in pids), seconds=3)


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_stub_worker_answers_a_wrong_key_after_the_body():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(programs.__file__).with_name("stub_worker.py")
    environment = {"CLOUDBURST_PORT": str(port), "AUTHENTICATION_KEY": "right"}
    with subprocess.Popen(
        [sys.executable, "-E", "-s", "-S", program], env=environment, stdout=subprocess.PIPE
    ) as process:
        try:
            while b"listening" not in process.stdout.readline():
                pass
            with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
                line.sendall(
                    b"POST /create_video_onestep HTTP/1.1\r\nHost: x\r\n"
                    b"X-Authentication-Key: wrong\r\nContent-Length: 20000000\r\n\r\n"
                )
                line.sendall(bytes(20_000_000))
                answer = line.recv(4096)
        finally:
            process.kill()
    assert answer.startswith(b"HTTP/1.1 401 ")
