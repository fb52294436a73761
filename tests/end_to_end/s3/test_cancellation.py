"""Runs from S3 to S3 that are cancelled after any call of S3: nothing is left anywhere."""

from __future__ import annotations

import asyncio
import random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from cloudburst.aws.s3 import deliveries, remote_files
from support.s3_runs import Told

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.timeout(60),
]

MAX_CALLS = 50
"""Number of calls of S3 of a whole run, roughly."""
MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Videos of more than 5 MB are written in parts."""
    monkeypatch.setattr(remote_files, "MULTIPART_BYTES", 5 * MEGABYTE)
    monkeypatch.setattr(deliveries, "MIN_PART_BYTES", 5 * MEGABYTE)


@pytest.mark.chaos
@pytest.mark.few(1)
@pytest.mark.parametrize("count", [27, *range(MAX_CALLS)])
async def test_cancelled_after_any_call(world, service, count):
    rng = random.Random(count)
    native, checkpoints = rng.random() < 0.5, rng.randrange(300)
    scenes = world.scenes(0, "scene 11MB", "late 0", "scene 1")
    told = Told()
    task = None
    folder = service[1].parent / "service"
    before = files_of_worker(folder)  # a client that was killed in another test has left jobs

    async def cancel(scope):
        while len(world.calls) < count:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        for _ in range(checkpoints):
            await checkpoint()
        if native:
            task.cancel()
        else:
            scope.cancel()

    async def render():
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancel, scope)
                await world.run(scenes, told=told)
                tasks.cancel_scope.cancel()

    task = asyncio.create_task(render())
    with anyio.fail_after(20):
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    hold_bucket(world)
    await hold_worker(folder, before)


def hold_bucket(world):
    """There are whole videos only: no part."""
    assert not [key for key in world.listed() if not key.endswith(".mp4")], world.listed()
    parts = world.s3.list_multipart_uploads(Bucket=world.bucket).get("Uploads", ())
    assert not [one["Key"] for one in parts if one["Key"].startswith(world.folder)]
    for key in world.listed():
        found = world.s3.head_object(Bucket=world.bucket, Key=world.folder + key)
        assert found["Metadata"]["cloudburst-sha256"]


def files_of_worker(folder):
    """Folders of jobs, and files that are being received."""
    jobs = [path for path in folder.glob("*/jobs/*") if path.is_dir()]
    return {*jobs, *folder.glob("*/files/*.part")}


async def hold_worker(folder, before):
    """No new job is left, and no file is half received."""
    with anyio.fail_after(30):
        while files_of_worker(folder) - before:  # noqa: ASYNC110
            await anyio.sleep(0.02)
