"""Clients whose machine is suspended for longer than their claims are valid."""

from __future__ import annotations

import json
import sys
import time

import pytest

from cloudburst.aws.s3 import stopwatch
from cloudburst.models.events import SceneCompleted, SceneEncoding
from support.s3_runs import World, impatient, running_service

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(90)]

CLAIM = {"run": "shared", "owner": "other", "host": "far", "pid": 7, "names": [], "ttl": 600}


@pytest.fixture
def suspend(monkeypatch):
    """Return a function that lets another process take a claim over while this machine sleeps."""
    # The task that renews the claims does not notice it.
    monkeypatch.setattr(stopwatch, "PAUSE_CHECK_INTERVAL", 1000)

    def suspend(world, claim):
        key = f"{world.folder}.cloudburst/claims/{claim}"
        world.s3.put_object(Bucket=world.bucket, Key=key, Body=json.dumps(CLAIM).encode())
        monkeypatch.setattr(stopwatch, "wall_clock", lambda: time.time() + 700)

    return suspend


async def test_no_video_is_written_after_the_run_was_taken_over(world, suspend):
    def watch(event):
        if isinstance(event, SceneEncoding):
            suspend(world, "shared.json")

    told = await world.run(world.scenes(1), name="shared", overwrite=True, watch=watch)
    assert told.errors["scene 0"].startswith("OutputClaimedError: run shared (process 7 on far)")
    assert world.listed() == [".cloudburst/claims/shared.json"]


async def test_no_film_is_written_after_it_was_taken_over(emulator, tmp_path, monkeypatch, suspend):
    impatient(monkeypatch)
    with running_service(tmp_path, sys.executable, "-m", "cloudburst.service") as address:
        world = World(emulator, address, f"film-{tmp_path.name}")

        def watch(event):
            if isinstance(event, SceneCompleted):
                suspend(world, "shared.film.json")

        told = await world.run(
            world.scenes(1), name="shared", film=f"{world.to}film.mp4", watch=watch
        )
    assert told.report.film is None
    assert "run shared (process 7 on far) has taken over" in told.report.film_error
    assert world.listed() == [".cloudburst/claims/shared.film.json", "scene 0.mp4"]
