"""The public image's own program makes our scenes."""

from __future__ import annotations

import wave

import anyio
import httpx
import pytest
from PIL import Image

from cloudburst.errors import EncodeError, KeyRefusedError
from cloudburst.models.limits import Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.workers.http.onestep import connect
from support import public_image
from support.checked_scenes import as_checked
from support.video_probe import probe

pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.timeout(240),
]

KEY = "k-71c0"
SECONDS = 0.5
CUES = "1\n00:00:00,000 --> 00:00:01,000\nharbour\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image, which wants a key."""
    with public_image.running(tmp_path_factory.mktemp("image"), KEY) as image:
        yield image


@pytest.fixture
def make(tmp_path):
    def make(name, *, noise=(320, 180), subtitle=None):
        Image.effect_noise(noise, 60).convert("RGB").save(tmp_path / f"{name}.png")
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(int(SECONDS * 16_000)))
        if subtitle:
            (tmp_path / f"{name}.srt").write_text(subtitle)
        return Scene(
            name=name,
            image=tmp_path / f"{name}.png",
            audio=tmp_path / f"{name}.wav",
            subtitle=tmp_path / f"{name}.srt" if subtitle else None,
        )

    return make


def to(worker, key=KEY):
    return connect(worker.url, secrets=Secrets(key=key), timeouts=Timeouts())


def ignore(share):
    pass


async def until(happened, seconds=60.0):
    with anyio.fail_after(seconds):
        while not happened():  # noqa: ASYNC110 - a folder rings no bell
            await anyio.sleep(0.05)


async def test_a_scene_becomes_a_video(image, make, tmp_path):
    scene = make("one", noise=(640, 360), subtitle=CUES)
    async with to(image) as renderer:
        assert await renderer.is_healthy()
        upload = await renderer.upload(as_checked(scene, RenderOptions()))
        assert upload.sent > scene.image.stat().st_size
        output = await renderer.encode(upload, progress=ignore)
        download = await renderer.download(output, tmp_path / "one.mp4")
        assert not renderer.has_abandoned_encode
    assert download.seconds == pytest.approx(SECONDS, abs=0.1)
    seen = probe(tmp_path / "one.mp4")
    assert seen.video[0] == "h264"
    assert seen.audio[:2] == ("aac", "LC")
    assert seen.seconds == pytest.approx(SECONDS, abs=0.1)
    assert seen.size[0] / seen.size[1] == pytest.approx(16 / 9, abs=0.01)


@pytest.mark.few(1)
@pytest.mark.parametrize("noise", [(1600, 900), (32, 18)], ids=["large", "small"])
async def test_a_wrong_key_is_refused(image, make, noise):
    scene = make("one", noise=noise)
    async with to(image, key="k-wrong") as renderer:
        assert await renderer.is_healthy()
        upload = await renderer.upload(as_checked(scene))
        with pytest.raises(KeyRefusedError, match="refused the key"):
            await renderer.encode(upload, progress=ignore)
        assert not renderer.has_abandoned_encode


async def test_a_picture_that_is_none(image, make):
    scene = make("one")
    scene.image.write_bytes(b"no picture")
    async with to(image) as renderer:
        upload = await renderer.upload(as_checked(scene))
        with pytest.raises(EncodeError) as caught:
            await renderer.encode(upload, progress=ignore)
        assert not renderer.has_abandoned_encode
    assert str(caught.value)


@pytest.mark.nightly
async def test_a_scene_with_subtitles_and_a_still_picture(image, make, tmp_path):
    scene = make("one", subtitle=CUES)
    async with to(image) as renderer:
        upload = await renderer.upload(as_checked(scene, RenderOptions(effects=())))
        output = await renderer.encode(upload, progress=ignore)
        await renderer.download(output, tmp_path / "one.mp4")
    # On a busy machine, the image's ffmpeg with -shortest repeats a still picture for longer.
    assert SECONDS - 0.1 < probe(tmp_path / "one.mp4").seconds < SECONDS + 2


@pytest.mark.nightly
async def test_left_after_its_last_byte_the_image_goes_on(image, make):
    before = len(image.made)
    async with to(image) as renderer:
        upload = await renderer.upload(as_checked(make("one")))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: renderer.encode(upload, progress=ignore))
            await until(lambda: image.at_work)
            tasks.cancel_scope.cancel()
        assert renderer.has_abandoned_encode
        await until(lambda: len(image.made) > before)


@pytest.mark.nightly
async def test_a_download_goes_on_where_it_was_cut(image, make):
    async with to(image) as renderer:
        upload = await renderer.upload(as_checked(make("one")))
        output = await renderer.encode(upload, progress=ignore)
    async with httpx.AsyncClient(base_url=image.url, trust_env=False) as http:
        whole = await http.get(output.reference)
        headers = {"Range": "bytes=1000-", "If-Range": whole.headers["ETag"]}
        rest = await http.get(output.reference, headers=headers)
    assert rest.status_code == 206
    assert whole.content[1000:] == rest.content
    assert rest.headers["Content-Range"].startswith("bytes 1000-")
