"""``cloudburst serve`` as a process: page, key, signals, mistakes."""

import signal
import socket
import time
from pathlib import Path

import anyio
import pytest

from cloudburst import Client
from cloudburst.cli.app import app, run
from cloudburst.cli.serve import standing_jobs
from cloudburst.jobs import JobQueue
from cloudburst.testing import FakeCloud
from support.standing_server import standing_server
from support.web_apps import browser

pytestmark = pytest.mark.real

LOCAL = ("--backend", "local")


def start_long_job(http, make_scene):
    """Submit a job of some minutes, and wait until it is encoding."""
    with Path(make_scene("p")["image_path"]).open("rb") as picture:
        image = http.post("/api/uploads", content=picture.read()).json()["id"]
    scene = {
        "name": "a",
        "image": image,
        "duration": 600,
        "options": {"effects": ["zoom_in"], "size": "320x240"},
    }
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
    key = "a-key-of-32-characters-or-more-1"
    environment = watch.environment | {"CLOUDBURST_SERVE_KEYS": key}
    with standing_server(tmp_path, *LOCAL, **environment) as server:
        with server.http() as http:
            assert http.get("/").status_code == 200
            http.headers["authorization"] = f"Bearer {key}"
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
    assert not any(key in line for line in server.lines), "a key of the user is not printed"
    assert watch.left_after(5) == {}

    async def later():
        async with (
            Client(FakeCloud().backend) as client,
            JobQueue(client, tmp_path / "jobs") as queue,
        ):
            return await queue.wait(job["id"])

    assert anyio.run(later).state == "complete"


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


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("image", "to", "refused"),
    [
        ("s3://films/in/a.png", "s3://films/other/", "to"),
        ("s3://shared/a.png", "s3://films/other/", "to"),
        ("s3://films/out/a.png", "s3://films/out/", "image"),
    ],
)
async def test_folders_in_s3_are_those_of_the_options(image, to, refused, tmp_path):
    words = ["serve", *LOCAL, "--source", "s3://films/in/", "--source", "s3://shared/"]
    words += ["--destination", "s3://films/out/"]
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    jobs = standing_jobs(bound.arguments["options"], tmp_path)
    job = {"scenes": [{"name": "a", "image": image, "duration": 1}], "to": to}
    async with jobs.lifespan(), browser(jobs.app, {}) as http:
        answer = await http.post("/jobs", json=job)
    assert [fault["field"] for fault in answer.json()["faults"]] == [refused]
