"""The next scene is sent while one encodes, except for its last bytes; in virtual time."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio.testing

from cloudburst.adapters.http.held_request import HOLD_TIMEOUT
from cloudburst.adapters.http.request_body import BLOCK_BYTES
from cloudburst.errors import KeyRefusedError, UploadError, WorkerStoppedError
from cloudburst.models.limits import Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.testing import VirtualClockLoop
from support.fake_public_image import PublicImage, ignore, make, to_image
from support.native_client import CUT, Turns

pytestmark = pytest.mark.anyio

OPTIONS = RenderOptions()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """Return a backend whose clock jumps; nothing here waits for the threads that read files."""
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
    scene = make_scene("two", image=bytes(3 * BLOCK_BYTES))
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        upload = await renderer.upload(scene, OPTIONS)
        length = int(image.requests[-1].headers["Content-Length"])
        assert upload.sent == len(image.posts[1].bytes) == length - 1
        assert not image.posts[1].ended
        assert not renderer.has_abandoned_encode
        await renderer.encode(upload, progress=ignore)
    assert whole(image) == [True, True]


async def test_a_request_waits_for_its_turn(image, make_scene):
    scene, turns = make_scene("two", image=bytes(3 * BLOCK_BYTES)), Turns()
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        upload = await renderer.upload(scene, OPTIONS, turn=turns)
        length = int(image.requests[-1].headers["Content-Length"])
        await renderer.encode(upload, progress=ignore)
    assert (turns.sizes, turns.arrived) == ([length], [length])


async def test_a_request_waits_before_each_block(image, make_scene):
    scene, turns = make_scene("two", image=bytes(3 * BLOCK_BYTES)), Turns()
    turns.open = anyio.Event()
    async with to_image(image) as renderer, anyio.create_task_group() as tasks:
        await make(renderer, make_scene())
        tasks.start_soon(lambda: renderer.upload(scene, OPTIONS, turn=turns))
        await until(turns.paused.is_set)
        assert turns.waits[-1] < 2 * BLOCK_BYTES
        assert turns.arrived == []
        turns.open.set()
    assert turns.waits == sorted(turns.waits)
    assert turns.waits[-1] > 2 * BLOCK_BYTES
    assert turns.arrived == turns.sizes


async def test_a_request_that_breaks_while_it_is_sent_has_not_arrived(image, make_scene):
    scene, turns = make_scene("two", image=bytes(3 * BLOCK_BYTES)), Turns()
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.script["POST"] = [BLOCK_BYTES, CUT]
        await renderer.upload(scene, OPTIONS, turn=turns)
    assert (len(turns.sizes), turns.arrived) == (1, [])


async def test_the_next_scene_is_sent_while_one_encodes(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.done = anyio.Event()
        second = await renderer.upload(make_scene("two"), OPTIONS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: renderer.encode(second, progress=ignore))
            await until(lambda: image.at_work)
            third = await renderer.upload(make_scene("three"), OPTIONS)
            assert image.at_work == 1
            assert third.sent == len(image.posts[2].bytes) > 1000
            image.done.set()
        await renderer.encode(third, progress=ignore)
    assert whole(image) == [True] * 3


async def test_a_scene_held_too_long_is_sent_again(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        upload = await renderer.upload(make_scene("two"), OPTIONS)
        await anyio.sleep(HOLD_TIMEOUT - 0.01)
        assert not image.posts[1].ended
        await anyio.sleep(0.02)
        assert image.posts[1].ended
        await anyio.sleep(1000)
        await renderer.encode(upload, progress=ignore)
        assert not renderer.has_abandoned_encode
    assert whole(image) == [True, False, True]
    assert set(image.encoded.values()) == {2}, "the picture is the same for both scenes"


async def test_a_request_that_is_never_released_makes_no_video(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        await renderer.upload(make_scene("two"), OPTIONS)
        await anyio.sleep(HOLD_TIMEOUT + 1)
        await make(renderer, make_scene("three"))
        assert not renderer.has_abandoned_encode
    assert whole(image) == [True, False, True]
    assert all(post.ended for post in image.posts)


async def test_closing_the_connection_ends_held_requests(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        await renderer.upload(make_scene("two"), OPTIONS)
        assert not image.posts[1].ended
    assert whole(image) == [True, False]
    assert image.posts[1].ended


@pytest.mark.parametrize("at", [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES])
async def test_a_held_request_that_breaks_is_sent_again(image, make_scene, at):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.script["POST"] = [at, CUT]
        upload = await renderer.upload(make_scene("two", image=bytes(3 * BLOCK_BYTES)), OPTIONS)
        assert upload.sent < 3 * BLOCK_BYTES
        await renderer.encode(upload, progress=ignore)
        assert not renderer.has_abandoned_encode
    assert whole(image) == [True, False, True]


async def test_an_upload_that_is_cancelled_ends_its_request(image, make_scene):
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.full = BLOCK_BYTES
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                big = make_scene("two", image=bytes(3 * BLOCK_BYTES))
                tasks.start_soon(renderer.upload, big, OPTIONS)
                await until(
                    lambda: len(image.posts) == 2 and len(image.posts[1].bytes) > BLOCK_BYTES
                )
                scope.cancel()
        await until(lambda: image.posts[1].ended)
        assert image.posts[1].ended
        assert not renderer.has_abandoned_encode
    assert whole(image) == [True, False]


async def test_a_file_that_changes_while_it_is_sent(image, make_scene):
    scene = make_scene("two", image=bytes(3 * BLOCK_BYTES))
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        image.full = BLOCK_BYTES
        async with anyio.create_task_group() as tasks:

            async def upload():
                with pytest.raises(UploadError, match="changed while it was read") as caught:
                    await renderer.upload(scene, OPTIONS)
                assert caught.value.field == "image"

            tasks.start_soon(upload)
            await until(lambda: len(image.posts) == 2 and len(image.posts[1].bytes) > BLOCK_BYTES)
            scene.image.write_bytes(b"?" * 3 * BLOCK_BYTES)
            image.go.set()
        assert not renderer.has_abandoned_encode
    assert whole(image) == [True, False]


@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("after", [0.0, 0.5, 29.0])
async def test_an_abandoned_encode_is_recorded(image, make_scene, proven, after):
    async with to_image(image) as renderer:
        if proven:
            await make(renderer, make_scene())
        image.seconds = 30.0
        upload = await renderer.upload(make_scene("two"), OPTIONS)
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
        upload = await renderer.upload(make_scene("two", image=bytes(3 * BLOCK_BYTES)), OPTIONS)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: renderer.encode(upload, progress=ignore))
                await until(lambda: image.posts and len(image.posts[0].bytes) > BLOCK_BYTES)
                scope.cancel()
        assert not renderer.has_abandoned_encode
        image.go.set()
        await until(lambda: image.posts[0].ended)
    assert whole(image) == [False]
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
        upload = await renderer.upload(make_scene(), OPTIONS)
    with pytest.raises(WorkerStoppedError, match="being stopped"):
        await renderer.encode(upload, progress=ignore)
    assert not image.posts


async def test_a_worker_that_accepts_the_key_gets_the_first_scene_in_advance(image, make_scene):
    image.tells = True
    async with to_image(image) as renderer:
        one = await renderer.upload(make_scene("one"), OPTIONS)
        assert one.sent > 0
        assert [post.whole for post in image.posts] == [False]
        await renderer.encode(one, progress=ignore)
        await make(renderer, make_scene("two"))
    assert len(image.questions) == 1, "it is asked once"
    assert [post.whole for post in image.posts] == [True, True]


async def test_a_worker_that_refuses_the_key_gets_nothing(image, make_scene):
    image.tells = True
    async with to_image(image, key="k-wrong") as renderer:
        with pytest.raises(KeyRefusedError):
            await renderer.upload(make_scene(), OPTIONS)
    assert not image.posts


async def test_an_unclear_answer_to_the_key_check_sends_the_first_scene_at_once(image, make_scene):
    async with to_image(image) as renderer:
        upload = await renderer.upload(make_scene(), OPTIONS)
        assert upload.sent == 0
        await renderer.encode(upload, progress=ignore)
        assert (await renderer.upload(make_scene("two"), OPTIONS)).sent > 0
    assert len(image.questions) == 1
