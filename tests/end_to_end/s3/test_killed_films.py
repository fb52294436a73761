"""Clients that are killed while a worker makes the film of their run: the resumed run has it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import anyio
import pytest

from cloudburst import Status
from cloudburst.paths import state_folder
from support.project import TESTS
from support.s3_runs import KEY, World, impatient, running_service

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(150)]

SEEDS = range(int(os.environ.get("CLOUDBURST_SEEDS", "1")))
NAMES = ["scene 0", "scene 1"]
CALLS = 11
"""Number of calls of S3 from the first one about the film to the end of the run, roughly."""
SCRIPT = """
import json, sys, anyio
from cloudburst import Client, Limits, Settings, endpoints
from support.s3_runs import HURRIED, STILL

facts = json.loads(sys.argv[1])

async def main():
    backend = endpoints(facts["address"], key=facts["key"], protocol="native", encoders=2)
    settings, limits = Settings(**facts["settings"]), Limits(workers=1)
    options = {"options": STILL, "limits": limits, "timeouts": HURRIED, "settings": settings}
    async with Client(backend, **options) as client:
        await client.render_all(facts["scenes"], to=facts["to"], film=facts["film"], resume=True)

anyio.run(main)
"""


@pytest.fixture
def world(emulator, tmp_path, monkeypatch):
    """A worker that renders, because a film needs real videos."""
    impatient(monkeypatch)
    with running_service(tmp_path, sys.executable, "-m", "cloudburst.service") as address:
        yield World(emulator, address, f"film-{tmp_path.name}")


@contextmanager
def killed_at_the_end(facts):
    """A client in a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(TESTS)!r})\n{SCRIPT}"
    with subprocess.Popen([sys.executable, "-c", code, json.dumps(facts)]) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def calls_of_film(world):
    """Return the calls since a worker has fetched the first video."""
    of_videos = [
        number
        for number, call in enumerate(world.calls)
        if call.operation == "GetObject" and call.presigned and call.resource.endswith(".mp4")
    ]
    return world.calls[of_videos[0] :] if of_videos else []


@pytest.mark.chaos
@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_while_the_film_is_made(world, seed):
    rng = random.Random(f"film {seed}")
    count = rng.randrange(1, CALLS)
    scenes, film = world.scenes(0, *NAMES), f"{world.to}film.mp4"
    facts = {
        "address": world.address,
        "key": KEY,
        "settings": dict(world.emulator.environment),
        "scenes": scenes,
        "to": world.to,
        "film": film,
    }
    with killed_at_the_end(facts) as process, anyio.fail_after(90):
        while len(calls_of_film(world)) < count and process.poll() is None:  # noqa: ASYNC110
            await anyio.sleep(0.001)
    if rng.random() < 0.5:  # the run is resumed on another machine
        shutil.rmtree(state_folder() / "s3", ignore_errors=True)
    told = await world.run(scenes, film=film, resume=True)
    assert told.report.status is Status.COMPLETE
    assert told.report.film is not None, told.report.film_error
    assert sorted(told.report.skipped) == NAMES
    world.hold_objects(told.report)
    world.hold_clean({*(f"{name}.mp4" for name in NAMES), "film.mp4", "film.jpg"})
    assert world.written()["film.mp4"] <= 2
