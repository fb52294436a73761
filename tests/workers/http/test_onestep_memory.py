"""A large picture and its base64 are never completely in memory, and the loop never waits."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.project import TESTS

MEGABYTES = 200

CLIENT = """
import json, re, sys, time
from pathlib import Path
import anyio
from cloudburst.workers.http.onestep import connect
from cloudburst.models.task import Secrets
from cloudburst.models.limits import Timeouts
from cloudburst.models.scene import CheckedScene, Scene

port, folder, megabytes = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
lags = []

def peak():
    # The peak that getrusage tells may be that of the process which started this one.
    return int(re.search(r"VmHWM:\\s*(.*) kB", Path("/proc/self/status").read_text())[1]) / 1024

async def watch():
    while True:
        began = time.monotonic()
        await anyio.sleep(0.01)
        lags.append(time.monotonic() - began - 0.01)

async def one(renderer, name, size):
    image, audio = (folder / f"{name}.{kind}" for kind in ("png", "mp3"))
    audio.write_bytes(b"sound")
    with image.open("wb") as file:
        file.truncate(size)
    scene = Scene(name=name, image=image, audio=audio)
    checked = CheckedScene(scene=scene, audio_seconds=1, image_bytes=1)
    upload = await renderer.upload(checked)
    output = await renderer.encode(upload, progress=lambda share: None)
    await renderer.download(output, folder / f"{name}.mp4")
    return upload.sent

async def main():
    address = f"http://127.0.0.1:{port}"
    async with connect(address, secrets=Secrets(key="k"), timeouts=Timeouts()) as renderer:
        await one(renderer, "warm", 100)
        before = peak()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            sent = await one(renderer, "large", megabytes * 1_000_000)
            tasks.cancel_scope.cancel()
        print(json.dumps({"grown": peak() - before, "lag": max(lags), "sent": sent}))

anyio.run(main)
"""


@pytest.mark.nightly
@pytest.mark.real
@pytest.mark.timeout(120)
def test_a_picture_of_two_hundred_megabytes(tmp_path):
    sink = [sys.executable, "-m", "support.discarding_service"]
    with subprocess.Popen(sink, stdout=subprocess.PIPE, text=True, cwd=TESTS) as server:
        try:
            port = server.stdout.readline().strip()
            client = [sys.executable, "-c", CLIENT, port, tmp_path, str(MEGABYTES)]
            said = subprocess.run(client, stdout=subprocess.PIPE, check=True, timeout=100).stdout
        finally:
            server.kill()
    facts = json.loads(said)
    assert facts["sent"] > MEGABYTES * 1_333_333
    assert facts["grown"] < 30, facts
    assert facts["lag"] < 0.25, facts
