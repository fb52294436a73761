"""The client's process is stopped and goes on, as by Ctrl-Z and ``fg``."""

from __future__ import annotations

import json
import signal
import sys

import anyio
import pytest

from support.bad_workers import DONE, KEY, OPEN, Worker, serving

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

CLIENT = """
import anyio, sys
from cloudburst import Client, Timeouts, endpoints

async def main():
    url, key, image, audio, out = sys.argv[1:]
    backend = endpoints(url, key=key, protocol="native")
    scene = {"name": "one", "image": image, "audio": audio}
    timeouts = Timeouts(silence=1.5, settle=0)
    async with Client(backend, timeouts=timeouts) as client, client.stream([scene], to=out) as run:
        async for event in run:
            print(event.model_dump_json(), flush=True)

anyio.run(main)
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def heartbeats(stream):
    """Four seconds of an encode, of which the worker tells five times a second."""
    await stream.send(OPEN)
    for step in range(20):
        await stream.send(b'{"state": "running", "progress": %.2f}\n' % (step / 20))
        await anyio.sleep(0.2)
    await stream.send(json.dumps({"state": "done", "done": DONE}).encode() + b"\n")


async def test_healthy_workers_are_kept_when_the_client_goes_on_after_a_stop(make_scene, tmp_path):
    scene, told = make_scene("one", seconds=0.1), []
    async with serving(Worker(bad={"GET events": heartbeats})) as worker:
        command = [
            *(sys.executable, "-c", CLIENT, worker.url, KEY),
            *(scene["image_path"], scene["audio_path"], str(tmp_path / "out")),
        ]
        async with await anyio.open_process(command, stderr=None) as client:
            rest = b""
            async for chunk in client.stdout:
                *lines, rest = (rest + chunk).split(b"\n")
                kinds = [json.loads(line)["type"] for line in lines]
                if "scene.progress" in kinds and "scene.progress" not in told:
                    client.send_signal(signal.SIGSTOP)
                    await anyio.sleep(5)
                    client.send_signal(signal.SIGCONT)
                told += kinds
    assert "scene.completed" in told
    assert "worker.failed" not in told
    assert "scene.retried" not in told
    assert worker.calls["POST job"] == 1
