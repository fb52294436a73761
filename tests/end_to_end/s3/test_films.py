"""Films in S3: the credentials end, the run is cancelled, or the worker is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path

import anyio
import pytest

from cloudburst import Status, local
from cloudburst.aws.s3 import deliveries, remote_files, request_waits
from cloudburst.emulator.s3 import multipart
from cloudburst.engine import attempt_context, recovery
from cloudburst.testing import Fault
from support.s3_account import account
from support.s3_runs import World, impatient, running_service

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.chaos,
    pytest.mark.timeout(120),
]

SEEDS = range(30)
NAMES = ["scene 0", "scene 1"]
VIDEOS = {f"{name}.mp4" for name in NAMES}
CALLS = 11
"""Number of calls of S3 from the first one about the film to its verification, roughly."""


@pytest.fixture(scope="module")
def real_service(tmp_path_factory):
    """A worker that renders, because a film needs real videos."""
    folder = tmp_path_factory.mktemp("real")
    with running_service(folder, sys.executable, "-m", "cloudburst.service") as address:
        yield address


@pytest.fixture
def small_parts(monkeypatch):
    """Small films, too, are written in several parts."""
    impatient(monkeypatch)
    monkeypatch.setattr(remote_files, "MULTIPART_BYTES", 1500)
    monkeypatch.setattr(deliveries, "part_size", lambda _: 3000)
    monkeypatch.setattr(multipart, "MIN_PART_BYTES", 1000)


@pytest.fixture
def world(real_service, small_parts):
    with account() as emulator:
        yield World(emulator, real_service, "films")


async def after_calls(world, count):
    """Wait for a number of calls about the film."""
    while len(world.film_calls) < count:  # noqa: ASYNC110
        await anyio.sleep(0.001)


async def resumed(world, scenes, **more):
    return await world.run(scenes, name="run", resume=True, film=f"{world.to}film.mp4", **more)


@pytest.mark.nightly
@pytest.mark.parametrize("case", [(6, True), *product(range(1, CALLS), [True, False])])
async def test_credentials_that_end(world, profile, told_at_debug, monkeypatch, case):
    """The run waits for new ones; without them, the videos stay, and the film has an error."""
    count, returns = case
    if not returns:
        monkeypatch.setattr(request_waits, "CREDENTIALS_TIMEOUT", 0.5)
        monkeypatch.setattr(attempt_context, "WRITE_TIMEOUT", 0.5)
    settings, write = profile
    scenes = world.scenes(0, *NAMES)
    await world.run(scenes, name="run", settings=settings)

    async def expire():
        await after_calls(world, count)
        keys = world.expire_credentials()
        await anyio.sleep(0.3)
        if returns:
            write(keys)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expire)
        told = await resumed(world, scenes, settings=settings)
    report = told.report
    assert report.status is Status.COMPLETE
    world.hold_objects(report)
    world.hold_secrets(told_at_debug(), report.model_dump_json(), repr(told))
    if returns:
        assert report.film_error is None
        world.hold_clean({*VIDEOS, "film.mp4", "film.jpg"})
    else:
        assert "the credentials have expired: sign in again" in report.film_error


@pytest.mark.few(1)
@pytest.mark.parametrize("case", [(6, True), *product(range(1, CALLS), [True, False])])
async def test_a_run_that_is_cancelled(world, monkeypatch, case):
    """No part of the film is left, and the next run makes only the film."""
    monkeypatch.setattr(recovery, "LISTING_DELAY", 0.0)  # no task of AWS may appear late
    count, native = case
    scenes = world.scenes(0, *NAMES)
    await world.run(scenes, name="run")
    scope = anyio.CancelScope()

    async def render():
        with scope:
            await resumed(world, scenes)

    task = asyncio.create_task(render())
    await after_calls(world, count)
    if native:
        task.cancel()
    else:
        scope.cancel()
    with anyio.fail_after(30):
        await asyncio.wait([task])
    left = set(world.listed())
    world.hold_clean(VIDEOS | left & {"film.mp4", "film.jpg"})
    told = await resumed(world, scenes)
    assert told.report.film_error is None
    assert set(told.report.skipped) == set(NAMES)
    world.hold_clean({*VIDEOS, "film.mp4", "film.jpg"})


@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.usefixtures("small_parts")
async def test_a_worker_that_is_killed_while_it_writes_parts(emulator, tmp_path, seed):
    """Another worker takes its place, and the client deletes the parts of the first one."""
    rng = random.Random(f"parts {seed}")
    world = World(emulator, "", f"parts-{tmp_path.name}", backend=local(workers=1))
    what, count = rng.choice(["film.mp4", "scene"]), rng.randrange(1, 5)
    scenes, killed = world.scenes(0, *NAMES), []
    slow = Fault(kind="slow", operation="s3:UploadPart", seconds=0.1, times=None)
    world.emulator.add_fault(slow)

    def parts():
        names = [call.resource for call in world.calls if call.operation == "UploadPart"]
        return [name for name in names if what in name]

    async def kill():
        while len(parts()) < count:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        for pid in services():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill)
        told = await world.run(scenes, film=f"{world.to}film.mp4")
    world.clear_faults()
    assert killed
    assert told.report.status is Status.COMPLETE
    assert told.report.film_error is None
    world.hold_objects(told.report)
    world.hold_clean({*VIDEOS, "film.mp4", "film.jpg"})
    done = [
        call.resource
        for call in world.calls
        if call.operation == "CompleteMultipartUpload" and call.status == 200
    ]
    assert len(done) == len(set(done)), "nothing is written twice"


def services():
    """Return the ids of the render services that are children of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = []
    for pid in map(int, children):
        with suppress(FileNotFoundError):  # it has ended meanwhile
            if b"cloudburst.service" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
