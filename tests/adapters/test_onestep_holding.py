"""The next scene travels while one encodes, but for its last bytes; in virtual time."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio.testing
from image import PublicImage, ignore, make, to_image
from talking import CUT

from cloudburst.adapters.http.body import BLOCK
from cloudburst.adapters.http.post import HOLD
from cloudburst.errors import KeyRefusedError, UploadError, WorkerStoppedError
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Timeouts
from cloudburst.testing import VirtualClockLoop

pytestmark = pytest.mark.anyio

OPTIONS = RenderOptions()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """Clocks that jump; while a thread reads files, nothing here waits for one."""
    if request.param == "trio":
        return ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)})
    return ("asyncio", {"loop_factory": VirtualClockLoop})


@pytest.fixture
def image():
    return PublicImage()


async def until(happened):
    while not happened():
        await anyio.lowlevel.checkpoint()


def whole(image):
    return [post.whole for post in image.posts]


async def test_upload_sends_all_but_the_last_bytes(image, make_scene):
    scene = make_scene("two", image=bytes(3 * BLOCK))
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        upload = await renderer.upload(scene, OPTIONS)
        length = int(image.requests[-1].headers["Content-Length"])
        assert upload.sent == len(image.posts[1].bytes) == length - 1
        assert not image.posts[1].ended
        assert not renderer.abandoned
        await renderer.generate(upload, progress=ignore)
    assert whole(image) == [True, True]


async def test_the_next_scene_travels_while_one_encodes(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.done = anyio.Event()
        second = await renderer.upload(make_scene("two"), OPTIONS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: renderer.generate(second, progress=ignore))
            await until(lambda: image.at_work)
            third = await renderer.upload(make_scene("three"), OPTIONS)
            assert image.at_work == 1
            assert third.sent == len(image.posts[2].bytes) > 1000
            image.done.set()
        await renderer.generate(third, progress=ignore)
    assert whole(image) == [True] * 3


async def test_a_scene_held_too_long_is_sent_anew(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        upload = await renderer.upload(make_scene("two"), OPTIONS)
        await anyio.sleep(HOLD - 0.01)
        assert not image.posts[1].ended
        await anyio.sleep(0.02)
        assert image.posts[1].ended
        await anyio.sleep(1000)
        await renderer.generate(upload, progress=ignore)
        assert not renderer.abandoned
    assert whole(image) == [True, False, True]
    assert set(image.encoded.values()) == {2}, "the picture is the same for both scenes"


async def test_a_scene_that_never_comes_again_is_never_made(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        await renderer.upload(make_scene("two"), OPTIONS)
        await anyio.sleep(HOLD + 1)
        await make(renderer, make_scene("three"))
        assert not renderer.abandoned
    assert whole(image) == [True, False, True]
    assert all(post.ended for post in image.posts)


async def test_the_end_of_the_line_ends_what_is_held(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        await renderer.upload(make_scene("two"), OPTIONS)
        assert not image.posts[1].ended
    assert whole(image) == [True, False]
    assert image.posts[1].ended


@pytest.mark.parametrize("at", [0, 1, BLOCK, 2 * BLOCK])
async def test_a_held_body_that_is_cut_is_sent_anew(image, make_scene, at):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.script["POST"] = [at, CUT]
        upload = await renderer.upload(make_scene("two", image=bytes(3 * BLOCK)), OPTIONS)
        assert upload.sent < 3 * BLOCK
        await renderer.generate(upload, progress=ignore)
        assert not renderer.abandoned
    assert whole(image) == [True, False, True]


async def test_an_upload_that_is_cancelled_ends_its_request(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.full = BLOCK
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                big = make_scene("two", image=bytes(3 * BLOCK))
                tasks.start_soon(renderer.upload, big, OPTIONS)
                await until(lambda: len(image.posts) == 2 and len(image.posts[1].bytes) > BLOCK)
                scope.cancel()
        await until(lambda: image.posts[1].ended)
        assert image.posts[1].ended
        assert not renderer.abandoned
    assert whole(image) == [True, False]


async def test_a_file_that_changes_on_its_way(image, make_scene):
    scene = make_scene("two", image=bytes(3 * BLOCK))
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.full = BLOCK
        async with anyio.create_task_group() as tasks:

            async def upload():
                with pytest.raises(UploadError, match="changed while it was read") as caught:
                    await renderer.upload(scene, OPTIONS)
                assert caught.value.field == "image"

            tasks.start_soon(upload)
            await until(lambda: len(image.posts) == 2 and len(image.posts[1].bytes) > BLOCK)
            scene.image.write_bytes(b"?" * 3 * BLOCK)
            image.go.set()
        assert not renderer.abandoned
    assert whole(image) == [True, False]


@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("after", [0.0, 0.5, 29.0])
async def test_a_scene_that_is_left_encoding_is_known(image, make_scene, proven, after):
    async with to_image(image) as renderer:
        if proven:
            await make(renderer, make_scene())
        image.seconds = 30.0
        upload = await renderer.upload(make_scene("two"), OPTIONS)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: renderer.generate(upload, progress=ignore))
                await until(lambda: image.at_work)
                assert not renderer.abandoned
                await anyio.sleep(after)
                scope.cancel()
        assert renderer.abandoned


async def test_a_scene_that_is_left_before_its_end_is_none(image, make_scene):
    async with to_image(image) as renderer:
        image.full = BLOCK
        upload = await renderer.upload(make_scene("two", image=bytes(3 * BLOCK)), OPTIONS)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: renderer.generate(upload, progress=ignore))
                await until(lambda: image.posts and len(image.posts[0].bytes) > BLOCK)
                scope.cancel()
        assert not renderer.abandoned
        image.go.set()
        await until(lambda: image.posts[0].ended)
    assert whole(image) == [False]
    assert image.posts[0].ended


async def test_an_answer_may_take_as_long_as_it_likes(image, make_scene):
    image.seconds = 7200.0
    async with to_image(image) as renderer:
        await make(renderer, make_scene())


async def test_a_lost_answer_is_no_reason_to_ask_again(image, make_scene):
    image.seconds = 100.0
    image.script["POST"] = [httpx.ReadError("reset")]
    async with to_image(image, Timeouts(silence=10)) as renderer:
        with pytest.raises(WorkerStoppedError, match="while the worker encoded") as caught:
            await make(renderer, make_scene())
        assert renderer.abandoned
    assert caught.value.retryable
    assert len(image.posts) == 1


async def test_a_worker_that_was_given_back_gets_nothing_more(image, make_scene):
    async with to_image(image) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
    with pytest.raises(WorkerStoppedError, match="given back"):
        await renderer.generate(upload, progress=ignore)
    assert not image.posts


async def test_a_worker_that_takes_our_key_gets_the_first_scene_in_advance(image, make_scene):
    image.tells = True
    async with to_image(image) as renderer:
        one = await renderer.upload(make_scene("one"), OPTIONS)
        assert one.sent > 0
        assert [post.whole for post in image.posts] == [False]
        await renderer.generate(one, progress=ignore)
        await make(renderer, make_scene("two"))
    assert len(image.questions) == 1, "it is asked once"
    assert [post.whole for post in image.posts] == [True, True]


async def test_a_worker_that_does_not_gets_nothing(image, make_scene):
    image.tells = True
    async with to_image(image, key="k-wrong") as renderer:
        with pytest.raises(KeyRefusedError):
            await renderer.upload(make_scene(), OPTIONS)
    assert not image.posts


async def test_one_that_does_not_tell_gets_the_first_scene_whole(image, make_scene):
    async with to_image(image) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
        assert upload.sent == 0
        await renderer.generate(upload, progress=ignore)
        assert (await renderer.upload(make_scene("two"), OPTIONS)).sent > 0
    assert len(image.questions) == 1
