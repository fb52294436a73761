"""``cloudburst serve`` as a process: page, key, signals, mistakes."""

import signal
import socket
import time
from pathlib import Path

import pytest

from cloudburst.cli.app import run
from support.standing_server import standing_server

pytestmark = pytest.mark.real

LOCAL = ("--backend", "local")


def start_long_job(http, make_scene):
    """Submit a job of some minutes, and wait until it is encoding."""
    with Path(make_scene("p")["image_path"]).open("rb") as picture:
        image = http.post("/api/uploads", content=picture.read()).json()["id"]
    scene = {"name": "a", "image": image, "duration": 600, "options": {"effects": ["zoom_in"]}}
    job = http.post("/api/jobs", json={"scenes": [scene]}).json()
    with http.stream("GET", job["links"]["events"]) as events:
        for line in events.iter_lines():
            if line == "event: scene.encoding":
                return job
    raise AssertionError("it has ended")


@pytest.mark.timeout(60)
@pytest.mark.few(1)
@pytest.mark.parametrize(
    "signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]], ids=["ctrl-c twice", "sigterm"]
)
def test_signal_ends_streams_and_workers_and_the_job_goes_on_later(
    signals, watch, make_scene, tmp_path
):
    with standing_server(tmp_path, *LOCAL, **watch.environment) as server:
        with server.http() as http:
            assert http.get("/").status_code == 200
            job = start_long_job(http, make_scene)
            with http.stream("GET", job["links"]["events"]) as events:
                lines = events.iter_lines()
                next(lines)
                for signum in signals:
                    server.process.send_signal(signum)
                    time.sleep(0.05)
                begin = time.monotonic()
                for _ in lines:
                    pass
                assert time.monotonic() - begin < 3
        assert server.end() == 0, server.lines
    assert watch.left_after(5) == {}
    with standing_server(tmp_path, *LOCAL, **watch.environment) as server, server.http() as http:
        assert http.get(job["links"]["job"]).json()["state"] in {"queued", "running"}
        assert http.post(job["links"]["cancel"]).status_code == 202
    assert watch.left_after(5) == {}


def test_other_hosts_need_the_key_that_is_printed(server):
    assert len(server.key) == 32
    with server.http() as http:
        assert http.get("/api/jobs").status_code == 200
        del http.headers["authorization"]
        assert http.get("/api/jobs").status_code == 401
        assert http.get("/").status_code == 200


@pytest.fixture
def failing(capsys, monkeypatch, tmp_path):
    """Run a command that must not start a server; return what it prints."""

    def run_command(*options):
        monkeypatch.chdir(tmp_path)
        assert run(["serve", *options]) == 2
        return " ".join(capsys.readouterr().err.split())

    return run_command


def test_port_in_use_is_named(failing):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        text = failing(*LOCAL, "--port", port)
    assert f"--port {port}: Address already in use; pass another --port, or 0 for any" in text


@pytest.mark.parametrize("backend", ["fargate", "burst"])
def test_billed_place_needs_a_budget(backend, failing, monkeypatch):
    monkeypatch.setenv("AWS_SUBNET_ID", "subnet-0123456789abcdef0")
    text = failing("--backend", backend)
    assert text.startswith("tasks on Fargate are billed: pass --owner-usd USD")
