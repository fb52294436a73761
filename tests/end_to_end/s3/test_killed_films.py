"""Clients that are killed while a worker makes the film of their run: the resumed run has it."""

from __future__ import annotations

import random
import shutil
import sys

import anyio
import pytest

from cloudburst import Status
from cloudburst.files import state_folder
from support.s3_client_process import rendering
from support.s3_runs import World, impatient, running_service

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(150)]

SEEDS = range(30)
NAMES = ["scene 0", "scene 1"]
CALLS = 11
"""Number of calls of S3 from the first one about the film to the end of the run, roughly."""


@pytest.fixture
def world(emulator, tmp_path, monkeypatch):
    """A worker that renders, because a film needs real videos."""
    impatient(monkeypatch)
    with running_service(tmp_path, sys.executable, "-m", "cloudburst.service") as address:
        yield World(emulator, address, f"film-{tmp_path.name}")


@pytest.mark.chaos
@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
async def test_killed_while_the_film_is_made(world, seed):
    rng = random.Random(f"film {seed}")
    count = rng.randrange(1, CALLS)
    scenes, film = world.scenes(0, *NAMES), f"{world.to}film.mp4"
    with rendering(world, scenes, film=film) as child, anyio.fail_after(90):
        while len(world.film_calls) < count and child.process.poll() is None:  # noqa: ASYNC110
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
