"""Encodes that are cancelled or whose answer is lost: the image continues; in virtual time."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio.testing

from cloudburst.errors import WorkerStoppedError
from cloudburst.models.limits import Timeouts
from cloudburst.testing import VirtualClockLoop
from cloudburst.workers.http.public_image import BLOCK_BYTES
from support.checked_scenes import as_checked
from support.fake_public_image import PublicImage, ignore, make, to_image

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """Return a backend whose clock jumps; nothing here has a deadline while threads read files."""
    if request.param == "trio":
        return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
    return ("asyncio", {"loop_factory": VirtualClockLoop})


@pytest.fixture
def image():
    return PublicImage()


async def until(happened):
    while not happened():
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("after", [0.0, 0.5, 29.0])
async def test_an_abandoned_encode_is_recorded(image, make_scene, after):
    async with to_image(image) as renderer:
        image.seconds = 30.0
        upload = await renderer.upload(as_checked(make_scene("two")))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: renderer.encode(upload, progress=ignore))
                await until(lambda: image.at_work)
                assert not renderer.has_abandoned_encode
                await anyio.sleep(after)
                scope.cancel()
        assert renderer.has_abandoned_encode


async def test_an_incomplete_request_is_no_abandoned_encode(image, make_scene):
    async with to_image(image) as renderer:
        image.full = BLOCK_BYTES
        upload = await renderer.upload(as_checked(make_scene("two", image=bytes(3 * BLOCK_BYTES))))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: renderer.encode(upload, progress=ignore))
                await until(lambda: image.posts and len(image.posts[0].bytes) > BLOCK_BYTES)
                scope.cancel()
        assert not renderer.has_abandoned_encode
        image.go.set()
        await until(lambda: image.posts[0].ended)
    assert not image.posts[0].whole
    assert image.posts[0].ended


async def test_an_answer_may_take_any_time(image, make_scene):
    image.seconds = 7200.0
    async with to_image(image) as renderer:
        await make(renderer, make_scene())


async def test_a_request_with_a_lost_answer_is_not_repeated(image, make_scene):
    image.seconds = 100.0
    image.script["POST"] = [httpx.ReadError("reset")]
    async with to_image(image, Timeouts(silence=10)) as renderer:
        with pytest.raises(WorkerStoppedError, match="while the worker encoded") as caught:
            await make(renderer, make_scene())
        assert renderer.has_abandoned_encode
    assert caught.value.retryable
    assert len(image.posts) == 1


async def test_nothing_is_sent_over_a_closed_connection(image, make_scene):
    async with to_image(image) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
    with pytest.raises(WorkerStoppedError, match="being stopped"):
        await renderer.encode(upload, progress=ignore)
    assert not image.posts
