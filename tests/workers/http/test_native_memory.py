"""Files are never completely in memory, and the loop never waits for a disk."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.project import TESTS

SCENES, MEGABYTES = 2, 50

CLIENT = """
import json, resource, sys, time
from pathlib import Path
import anyio
from cloudburst.workers.http.native import connect
from cloudburst.models.task import Secrets
from cloudburst.models.limits import Timeouts
from cloudburst.models.scene import CheckedScene, Scene

port, folder, scenes, megabytes = int(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
lags = []

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

async def watch():
    while True:  # CPU time, to which other processes add nothing
        began = time.thread_time()
        await anyio.sleep(0.01)
        lags.append(time.thread_time() - began)

async def one(renderer, name, content):
    image, audio, video = (folder / f"{name}.{kind}" for kind in ("png", "mp3", "mp4"))
    audio.write_bytes(b"sound")
    with image.open("wb") as file:
        file.write(content)
        file.truncate(megabytes * 1_000_000)
    scene = Scene(name=name, image=image, audio=audio)
    checked = CheckedScene(scene=scene, audio_seconds=1, image_bytes=1)
    upload = await renderer.upload(checked)
    output = await renderer.encode(upload, progress=lambda share: None)
    await renderer.download(output, video)
    video.unlink()
    return upload.sent

async def main():
    address = f"http://127.0.0.1:{port}"
    async with connect(address, secrets=Secrets(key="k"), timeouts=Timeouts()) as renderer:
        await one(renderer, "warm", b"x" * 100)
        before = peak()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            async with anyio.create_task_group() as work:
                for number in range(scenes):
                    work.start_soon(one, renderer, f"s{number}", b"%d" % number)
            tasks.cancel_scope.cancel()
        print(json.dumps({"grown": peak() - before, "lag": max(lags)}))

anyio.run(main)
"""


@pytest.mark.real
@pytest.mark.timeout(120)
def test_several_scenes_of_fifty_megabytes(tmp_path):
    sink = [sys.executable, "-m", "support.discarding_service"]
    with subprocess.Popen(sink, stdout=subprocess.PIPE, text=True, cwd=TESTS) as server:
        try:
            port = server.stdout.readline().strip()
            client = [sys.executable, "-c", CLIENT, port, tmp_path, str(SCENES), str(MEGABYTES)]
            said = subprocess.run(client, stdout=subprocess.PIPE, check=True, timeout=100).stdout
        finally:
            server.kill()
    facts = json.loads(said)
    assert facts["grown"] < 40, facts
    assert facts["lag"] < 0.1, facts
