"""Cancellation at any point: no scene is encoded twice, and no encode is unknown."""

from __future__ import annotations

import asyncio
import gc
import random

import anyio
import pytest

from cloudburst.errors import CloudburstError
from cloudburst.workers.http.public_image import BLOCK_BYTES
from support.checked_scenes import as_checked
from support.fake_public_image import PublicImage, ignore, make, to_image

pytestmark = pytest.mark.anyio

SEEDS = range(30)
LONGEST = 0.12
"""Seconds that the test takes with these pauses, approximately."""


class Ride:
    """Three scenes, two of them at the same time."""

    def __init__(self, make_scene, folder) -> None:
        self.image = PublicImage()
        self.image.pause, self.image.seconds = 0.002, 0.01
        self.folder = folder
        names = ("one", "two", "three")
        self.scenes = [make_scene(n, image=n.encode() + bytes(2 * BLOCK_BYTES)) for n in names]
        self.renderer = None

    async def go(self) -> None:
        async with to_image(self.image) as renderer:
            self.renderer = renderer
            try:
                await make(renderer, self.scenes[0], self.folder / "one.mp4")
                async with anyio.create_task_group() as tasks:
                    for scene in self.scenes[1:]:
                        tasks.start_soon(make, renderer, scene, self.folder / f"{scene.name}.mp4")
            finally:
                self.known = renderer.has_abandoned_encode

    def check(self) -> None:
        assert all(times == 1 for times in self.image.encoded.values()), "never made twice"
        if self.image.at_work:
            assert self.known, "it is at work for nobody, and we do not know"
        assert all(post.ended for post in self.image.posts)
        assert not list(self.folder.glob("*.part"))
        for video in self.folder.glob("*.mp4"):
            assert video.read_bytes() == self.image.video


@pytest.fixture
def ride(make_scene, tmp_path):
    return Ride(make_scene, tmp_path)


@pytest.mark.few(3)
@pytest.mark.parametrize("seed", SEEDS)
async def test_renders_cancelled_by_a_scope_leave_nothing(ride, seed):
    with anyio.move_on_after(random.Random(seed).uniform(0, LONGEST)):
        await ride.go()
    ride.check()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("times", [1, 2])
# A task that is cancelled before its first step leaves anyio's coroutine unused.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.few(2)
@pytest.mark.parametrize("seed", SEEDS)
async def test_renders_cancelled_by_asyncio_leave_nothing(ride, seed, times, everybody):
    rng, others = random.Random(seed), asyncio.all_tasks()
    task = asyncio.get_running_loop().create_task(ride.go())
    await asyncio.sleep(rng.uniform(0, LONGEST))
    for _ in range(times):
        for one in asyncio.all_tasks() - others if everybody else {task}:
            one.cancel()
        await asyncio.sleep(rng.choice([0, 0.001, 0.004]))
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        assert isinstance(error, CloudburstError | asyncio.CancelledError | BaseExceptionGroup)
    ride.check()
    gc.collect()  # here, where that warning is ignored


@pytest.mark.few(3)
@pytest.mark.parametrize("seed", SEEDS)
async def test_one_scene_of_several(ride, seed):
    """The other scenes continue on the same connection."""
    async with to_image(ride.image) as renderer:
        await make(renderer, ride.scenes[0])
        with anyio.move_on_after(random.Random(seed).uniform(0, LONGEST / 3)):
            upload = await renderer.upload(as_checked(ride.scenes[1]))
            await renderer.encode(upload, progress=ignore)
        ride.known = renderer.has_abandoned_encode
        left = [p for p in ride.image.posts if len(p.bytes) == p.length and not p.answered]
        await make(renderer, ride.scenes[2], ride.folder / "three.mp4")
        assert renderer.has_abandoned_encode is bool(left)
    ride.check()
