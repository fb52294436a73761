"""The service as a process: how it starts, and each way in which it ends."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloudburst.service.cpu import usable_cores
from support.project import ROOT, TESTS
from support.service_caller import KEY, alive, read_pids, service_settings, until_gone

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

SERVICE = (sys.executable, str(TESTS / "support" / "serve_stand_in.py"))


class Process:
    """A service and a client of it."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        self.url = line.split()[-1]
        self.process = process
        self.folder = folder
        self.http = httpx.Client(
            base_url=self.url, headers={"X-Authentication-Key": KEY}, timeout=20
        )

    def put(self, content: bytes) -> str:
        sha = hashlib.sha256(content).hexdigest()
        assert self.http.put(f"/files/{sha}", content=content).status_code in {200, 201}
        return sha

    def start(self, todo: dict[str, Any]) -> str:
        image, audio = self.put(json.dumps(todo).encode()), self.put(b"sound")
        answer = self.http.post("/jobs", json={"name": "s", "image": image, "audio": audio})
        assert answer.status_code == 201, answer.text
        ident: str = answer.json()["id"]
        return ident

    def forked(self, tmp_path: Path, *, deaf: bool = False) -> list[int]:
        """Start a job with a grandchild; its process ids."""
        self.start({"do": "fork", "pids": str(tmp_path / "pids"), "deaf": deaf})
        pids = read_pids(tmp_path / "pids")
        assert all(map(alive, pids))
        return pids

    def ended(self, within: float) -> int:
        start = time.monotonic()
        code = self.process.wait(within)
        assert time.monotonic() - start < within
        return code


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    folder = tmp_path / "service"
    folder.mkdir()
    started: list[Process] = []

    def start(command: tuple[str, ...] = SERVICE, fds: tuple[int, ...] = (), **env: str) -> Process:
        given = os.environ | service_settings(folder, **{"encoders": "2"} | env)
        process = subprocess.Popen(
            command, env=given, stdout=subprocess.PIPE, text=True, pass_fds=fds
        )
        started.append(Process(process, folder))
        return started[-1]

    yield start
    for service in started:
        service.http.close()
        service.process.kill()
        service.process.wait()
        assert service.process.stdout is not None
        service.process.stdout.close()


@contextmanager
def events(service: Process, job: str) -> Generator[list[dict[str, Any]]]:
    """Read a job's events aside; the list is complete when this is left."""
    lines: list[dict[str, Any]] = []

    def read() -> None:
        with service.http.stream("GET", f"/jobs/{job}/events") as stream:
            lines.extend(json.loads(line) for line in stream.iter_lines())

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.2)
    yield lines
    reader.join(20)
    assert not reader.is_alive()


@pytest.mark.nightly
def test_sigterm_without_work_ends_at_once(start: Start) -> None:
    service = start()
    assert service.http.get("/health").status_code in {200, 500}
    service.process.send_signal(signal.SIGTERM)
    assert service.ended(within=8) == 0
    assert list(service.folder.iterdir()) == []


def test_sigterm_before_it_serves_ends_it_too(tmp_path: Path) -> None:
    """Process 1 of a container ignores a signal for which it has no handler."""
    (tmp_path / "anyio.py").write_text("import time; print('slow', flush=True); time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-m", "cloudburst.service"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "slow\n"
        process.terminate()
        assert process.wait(8) == 128 + signal.SIGTERM


def test_sigterm_lets_what_runs_end_and_be_fetched(start: Start) -> None:
    service = start(encoders="1", stop_seconds="10")
    running = service.start({"do": "render", "seconds": 1.5})
    queued = service.start({"do": "render"})
    with events(service, running) as told:
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        image = service.put(b"x")
        refused = service.http.post("/jobs", json={"name": "s", "image": image, "audio": image})
        assert refused.status_code == 503
        assert service.http.get(f"/jobs/{queued}").json()["state"] == "interrupted"
    assert told[-1]["state"] == "done"
    assert service.http.get(f"/jobs/{running}/video").status_code == 200
    assert service.ended(within=8) == 0
    assert list(service.folder.iterdir()) == []


def test_sigterm_interrupts_what_takes_too_long_and_says_so(start: Start, tmp_path: Path) -> None:
    service = start(stop_seconds="2")
    pids = service.forked(tmp_path)
    job = service.start({"do": "hang"})
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as reader, events(service, job) as told:
        reader.sendall(head("GET", f"/jobs/{job}/events"))  # it takes nothing of the answer
        time.sleep(0.2)
        service.process.send_signal(signal.SIGTERM)
        assert service.ended(within=8) == 0
    assert told[-1]["state"] == "interrupted"
    assert not any(map(alive, pids))
    assert list(service.folder.iterdir()) == []


@pytest.mark.few(1)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(start: Start, tmp_path: Path, second: signal.Signals) -> None:
    service = start(stop_seconds="60")
    pids = service.forked(tmp_path)
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert service.process.poll() is None
    service.process.send_signal(second)
    assert service.ended(within=8) == 128 + second
    assert not any(map(alive, pids))
    assert list(service.folder.iterdir()) == []


def test_children_end_when_the_server_is_killed(start: Start, tmp_path: Path) -> None:
    service = start()
    pids = service.forked(tmp_path)
    service.process.kill()
    until_gone(pids)


def test_all_ends_with_the_parent(start: Start, tmp_path: Path) -> None:
    theirs, ours = os.pipe()
    try:
        service = start(fds=(theirs,), parent_fd=str(theirs))
        pids = service.forked(tmp_path, deaf=True)
        assert service.process.poll() is None
    finally:
        os.close(ours)
        os.close(theirs)
    assert service.ended(within=8) == 1
    until_gone(pids)
    assert list(service.folder.iterdir()) == []


@pytest.mark.nightly
def test_a_service_ends_after_its_lifetime(start: Start) -> None:
    service = start(lifetime_seconds="1", stop_seconds="1")
    job = service.start({"do": "hang"})
    with events(service, job) as told:
        assert service.ended(within=8) == 0
    assert told[-1]["state"] == "interrupted"


STRANGERS = [
    ("GET", "/health"),
    ("GET", "/nowhere"),
    ("HEAD", f"/files/{'0' * 64}"),
    ("DELETE", "/jobs"),
]
"""What anybody can ask without the key."""


def test_a_service_ends_when_idle_and_not_before(start: Start) -> None:
    service = start(idle_seconds="1")
    job = service.start({"do": "render", "seconds": 1.6})
    time.sleep(1.4)
    service.start({"do": "render"})  # a job is no idleness: it is not even stopping
    with events(service, job):
        pass
    began = time.monotonic()
    with httpx.Client(base_url=service.url) as stranger:
        while service.process.poll() is None and time.monotonic() - began < 10:
            for method, path in STRANGERS:  # none of them counts as a request
                with suppress(httpx.TransportError):
                    stranger.request(method, path)
            time.sleep(0.05)
    assert service.ended(within=8) == 0
    assert 0.8 < time.monotonic() - began < 5


def test_the_containers_check_tells_a_service_from_none(start: Start) -> None:
    service = start()
    port = service.url.rsplit(":", 1)[1]
    check = [sys.executable, "-m", "cloudburst.service.health"]
    env = {**os.environ, "CLOUDBURST_PORT": port}
    assert subprocess.run(check, env=env, check=False, timeout=20).returncode == 0
    service.process.send_signal(signal.SIGTERM)
    service.ended(within=3)
    assert subprocess.run(check, env=env, check=False, timeout=20).returncode == 1


def test_the_image_installs_what_the_service_may_use() -> None:
    project = ROOT
    listed = subprocess.run(
        [sys.executable, str(project / "docker" / "requirements.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {re.split(r"[^a-z-]", line)[0] for line in listed.splitlines()}
    assert {"uvicorn", "starlette", "pydantic", "av", "httpx", "noto-cjk-sans-otc"} <= names
    assert not {"aioboto", "cryptography", "cloudburst-sdk"} & names


def test_a_port_in_use_and_bad_settings_are_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for env, named in [
            ({"CLOUDBURST_PORT": port}, "in use"),
            ({"CLOUDBURST_FOLDER": "/nowhere"}, "folder"),
        ]:
            done = subprocess.run(
                [sys.executable, "-m", "cloudburst.service"],
                env={**os.environ, "CLOUDBURST_HOST": "127.0.0.1", "AUTHENTICATION_KEY": KEY} | env,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            assert done.returncode != 0
            assert named in done.stderr
            assert KEY not in done.stderr
            assert "Traceback" not in done.stderr


def talk(service: Process, raw: bytes) -> bytes:
    """Send raw bytes and read until the server closes."""
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(raw)
        answer = b""
        while piece := line.recv(65536):
            answer += piece
        return answer


def head(method: str, path: str, *lines: str) -> bytes:
    key = f"X-Authentication-Key: {KEY}"
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", key, *lines, "", ""]).encode()


def test_a_service_with_arguments_does_not_start() -> None:
    command = [sys.executable, "-m", "cloudburst.service", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == "the service has no arguments: environment variables configure it\n"


def cut_line(service: Process) -> None:
    """Cut the connection in the middle of an upload, and wait until nothing of it is left."""
    host, port = service.url.removeprefix("http://").split(":")
    files = service.folder.rglob("*.part")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(head("PUT", f"/files/{'0' * 64}", "Content-Length: 9000000"))
        line.sendall(b"x" * 3_000_000)
        for _ in range(100):
            if any(path.stat().st_size for path in service.folder.rglob("*.part")):
                break
            time.sleep(0.02)
        else:
            pytest.fail("the upload did not begin")
    for _ in range(100):
        if not list(service.folder.rglob("*.part")):
            break
        time.sleep(0.02)
    assert list(files) == []


def test_malformed_requests_get_an_answer_and_a_cut_line_leaves_nothing(start: Start) -> None:
    service = start(stall_seconds="1")
    sha = "0" * 64
    close = "Connection: close"
    for raw, status in [
        (b"nonsense\r\n\r\n", 400),
        (head("PUT", f"/files/{sha}", "Content-Length: -5", close), 400),
        (head("PUT", f"/files/{sha}", "Content-Length: x", close), 400),
        (head("PUT", f"/files/{sha}", "Content-Length: 1", "Content-Length: 2", close), 400),
        (head("PUT", f"/files/{sha}", f"Content-Length: {'9' * 18}", close), 413),
        (head("PUT", f"/files/{sha}", close), 411),
        (head("PUT", f"/files/{sha}", "Transfer-Encoding: chunked", close) + b"zz\r\n", 400),
        (head("PUT", f"/files/{sha}", "Content-Length: 5", close) + b"ab", 408),
        (head("GET", "/jobs/" + "x" * 10_000, close), 404),
        (head("GET", "/jobs/x", "X-Long: " + "x" * 10_000, close), 404),
        (head("POST", "/jobs", "Content-Length: 2", "Content-Type: \xff", close) + b"{}", 400),
        (head("BREW", "/health", close), 405),
        (head("GET", "/jobs/x/events", "Upgrade: websocket", "Connection: Upgrade, close"), 404),
    ]:
        answer = talk(service, raw)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), (raw[:200], answer[:200])
    assert service.http.get("/jobs/x").status_code == 404
    assert list(service.folder.rglob("*.part")) == []
    cut_line(service)


def test_a_refused_upload_hears_why_although_it_is_still_sending(start: Start) -> None:
    service = start(body_bytes="1000")
    sha = "0" * 64
    request = head("PUT", f"/files/{sha}", "Content-Length: 20000000", "Connection: close")
    answer = talk(service, request + b"x" * 20_000_000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"limit":1000' in answer


def memory(pid: int) -> int:
    """The most that a process ever held, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


@pytest.mark.timeout(120)
def test_large_files_pass_through_a_small_server(start: Start) -> None:
    service = start()
    service.start({"do": "render"})
    before = memory(service.process.pid)
    block = os.urandom(1024 * 1024)
    for number in range(2):
        name = number.to_bytes(4, "big")
        digest = hashlib.sha256(name)
        for _ in range(50):
            digest.update(block)

        def content(name: bytes = name) -> Generator[bytes]:
            yield name
            for _ in range(50):
                yield block

        path = f"/files/{digest.hexdigest()}"
        assert service.http.put(path, content=content()).status_code == 201
    assert memory(service.process.pid) - before < 60 * 1024 * 1024


def cgroup(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name.replace("cpu_", "cpu.")).write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu_max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu_max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu_max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a__cpu_max": "100000 100000\n", "a__b__cpu_max": "max 100000\n"}, 1),
        ("4:cpu,cpuacct:/a\n",
         {"cpu__a__cpu_cfs_quota_us": "100000\n", "cpu__a__cpu_cfs_period_us": "100000\n"}, 1),
        ("4:cpu,cpuacct:/a\n",
         {"cpu__a__cpu_cfs_quota_us": "-1\n", "cpu__a__cpu_cfs_period_us": "100000\n"}, None),
        ("4:memory:/a\n",
         {"cpu__a__cpu_cfs_quota_us": "100000\n", "cpu__a__cpu_cfs_period_us": "100000\n"}, None),
        ("", {}, None),
    ],
)  # fmt: skip
def test_cores_are_those_of_the_container(
    tmp_path: Path, membership: str, files: dict[str, str], cores: int | None
) -> None:
    (tmp_path / "self").write_text(membership)
    expected = len(os.sched_getaffinity(0)) if cores is None else cores
    found = usable_cores(cgroup(tmp_path / "cgroup", **files), tmp_path / "self")
    assert found == expected
    assert len(os.sched_getaffinity(0)) > 1, "on one core this test shows nothing"
