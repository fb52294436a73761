"""Workers that answer but cannot render: a run reports it at once, with the reason."""

from __future__ import annotations

import json
import re
import time
import wave
from http.server import BaseHTTPRequestHandler

import pytest
from PIL import Image

from cloudburst import Client, Scene, Timeouts, endpoints, local
from cloudburst.errors import Remedy, WorkerUnfitError
from cloudburst.models.task import Secrets
from cloudburst.workers.http import native, onestep
from support.http_server import http_server

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(60)]

REASON = "ImportError: libstdc++.so.6: cannot open shared object file"


class Unhealthy(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "unhealthy", "error": REASON}).encode()
        self.send_response(500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def unhealthy():
    with http_server(Unhealthy) as server:
        yield server.url


@pytest.fixture
def scene(tmp_path):
    Image.new("RGB", (32, 18)).save(tmp_path / "a.png")
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(4000))
    return Scene(name="a", image=tmp_path / "a.png", audio=tmp_path / "a.wav")


@pytest.mark.parametrize("connect", [native.connect, onestep.connect], ids=["native", "onestep"])
async def test_an_unhealthy_answer_is_an_error_with_its_reason(unhealthy, connect):
    async with connect(unhealthy, secrets=Secrets(key="k"), timeouts=Timeouts()) as renderer:
        with pytest.raises(WorkerUnfitError, match=re.escape(f"cannot render: {REASON}")):
            await renderer.is_healthy()


async def outcome(backend, scene, tmp_path):
    """The one error of a run, and the seconds it took."""
    began = time.monotonic()
    async with Client(backend) as client:
        report = await client.render_all([scene], to=tmp_path)
    (error,) = report.errors
    return error, time.monotonic() - began


async def test_a_run_on_one_unhealthy_address_ends_at_once(unhealthy, scene, tmp_path):
    error, seconds = await outcome(endpoints(unhealthy, key="k"), scene, tmp_path)
    assert REASON in str(error)
    assert not error.retryable
    assert seconds < 10


async def test_a_run_on_this_machine_ends_at_once_where_a_library_is_broken(
    scene, tmp_path, monkeypatch
):
    (tmp_path / "av.py").write_text(f"raise ImportError({REASON.partition(': ')[2]!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error, seconds = await outcome(local(workers=1), scene, tmp_path)
    assert REASON in str(error)
    assert seconds < 20  # half a second on a machine with nothing else to do


KILLED = """
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""
ONCE = """
import os, sys
if "cloudburst.service" in sys.orig_argv:  # its children import av
    try:
        open({first!r}, "x").close()
    except FileExistsError:
        del os.environ["PYTHONPATH"]
"""


async def test_a_killed_test_render_costs_one_worker_and_not_the_run(scene, tmp_path, monkeypatch):
    (tmp_path / "av.py").write_text(KILLED)
    (tmp_path / "sitecustomize.py").write_text(ONCE.format(first=str(tmp_path / "killed")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with Client(local(workers=1)) as client:
        report = await client.render_all([scene], to=tmp_path / "out")
    assert (tmp_path / "killed").exists()
    assert not report.errors
    assert len(report.workers) == 2


async def test_another_address_takes_over_from_an_unhealthy_one(unhealthy):
    async with endpoints(unhealthy, "http://127.0.0.1:1", key="k")(Timeouts(), None) as backend:
        async with backend.connect(unhealthy, secrets=Secrets(key="k")) as renderer:
            with pytest.raises(WorkerUnfitError) as caught:
                await renderer.is_healthy()
        assert caught.value.remedy is Remedy.OTHER_WORKER
