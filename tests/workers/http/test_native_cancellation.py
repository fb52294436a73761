"""Cancelled calls leave no incomplete video here and no job on the worker."""

from __future__ import annotations

import asyncio
import random

import anyio
import pytest

from cloudburst.models.limits import Timeouts
from cloudburst.models.task import Secrets
from cloudburst.workers.http.native import connect
from support.checked_scenes import as_checked
from support.fake_native_service import KEY

pytestmark = pytest.mark.anyio

SEEDS = range(30)
LONGEST = 0.05
"""Seconds that the test takes with these pauses, approximately."""


async def render(studio, scene, to):
    async with connect(
        "http://w", secrets=Secrets(key=KEY), timeouts=Timeouts(), transport=studio.transport
    ) as r:
        upload = await r.upload(as_checked(scene))
        output = await r.encode(upload, progress=lambda share: None)
        await r.download(output, to)


def check(studio, to):
    assert not to.with_name("one.mp4.part").exists()
    if to.exists():
        assert to.read_bytes() == studio.video
    assert not studio.jobs


@pytest.mark.few(3)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_render_cancelled_by_a_scope_leaves_nothing(studio, make_scene, tmp_path, seed):
    studio.pause, to = 0.003, tmp_path / "one.mp4"
    scene = make_scene()
    with anyio.move_on_after(random.Random(seed).uniform(0, LONGEST)):
        await render(studio, scene, to)
    check(studio, to)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.few(3)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_render_cancelled_by_asyncio_leaves_nothing(
    studio, make_scene, tmp_path, seed, times
):
    rng = random.Random(seed)
    studio.pause, to = 0.003, tmp_path / "one.mp4"
    scene = make_scene()
    task = asyncio.get_running_loop().create_task(render(studio, scene, to))
    await asyncio.sleep(rng.uniform(0, LONGEST))
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(rng.choice([0, 0.001, 0.004]))
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None
    check(studio, to)
