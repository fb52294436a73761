"""Scenes on the public image: requests, responses and the meaning of its errors."""

from __future__ import annotations

import base64
import logging
import pickle

import httpx
import pytest

from cloudburst.errors import (
    CloudburstError,
    DownloadError,
    EncodeError,
    KeyRefusedError,
    RenderFailedError,
    UploadError,
    WorkerDiskFullError,
    WorkerError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models.options import RenderOptions
from cloudburst.models.video_format import Effect
from cloudburst.workers.http.public_image import BLOCK_BYTES
from support.checked_scenes import as_checked
from support.fake_native_service import KEY, Pieces, mp4
from support.fake_public_image import PublicImage, ignore, make, to_image
from support.native_client import CUT, left_in
from support.substation import ass, dialogue, style

pytestmark = pytest.mark.anyio


@pytest.fixture
def image():
    return PublicImage()


async def test_a_scene_becomes_a_video(image, make_scene, tmp_path):
    shares = []
    async with to_image(image) as renderer:
        assert await renderer.is_healthy()
        upload = await renderer.upload(as_checked(make_scene()))
        assert not image.posts, "nothing is sent in advance"
        output = await renderer.encode(upload, progress=shares.append)
        download = await renderer.download(output, tmp_path / "one.mp4")
        assert not renderer.has_abandoned_encode
    assert (upload.sent, shares) == (image.posts[0].length, [0.0, 1.0])
    assert (output.size, output.sha256) == (len(image.video), None)
    assert (tmp_path / "one.mp4").read_bytes() == image.video
    assert download.size == len(image.video)
    assert left_in(tmp_path) == ["one.mp4"]


async def test_all_requests_but_the_health_check_carry_the_key(image, make_scene, tmp_path):
    async with to_image(image) as renderer:
        await renderer.is_healthy()
        await make(renderer, make_scene(), tmp_path / "one.mp4")
    sent = [(r.method, r.headers.get("X-Authentication-Key")) for r in image.requests]
    assert sent == [("GET", None), ("POST", KEY), ("GET", KEY)]


@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 7]
)
async def test_files_of_every_length_arrive_as_they_are(image, make_scene, size):
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    scene = make_scene(image=content)
    async with to_image(image) as renderer:
        await make(renderer, scene)
    (post,) = image.posts
    assert post.image == content
    assert base64.b64decode(post.asked["input_audio"]) == scene.audio.read_bytes()
    assert base64.b64decode(post.asked["subtitle"]) == b"1\n"
    assert "watermark" not in post.asked


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, {"language": "chinese", "background_box": True, "background_opacity": 0.2,
              "font_size": None, "outline_color": "&H00000000", "is_portrait": None}),
        ({"is_portrait": True}, {"is_portrait": True}),
        ({"is_portrait": False}, {"is_portrait": None}),
        ({"enable_zoom": False}, {"effects": []}),
        ({"effects": ("pan_left",)}, {"effects": ["pan_left"]}),
        ({"language": "english", "background_box": False, "background_opacity": 1,
          "font_size": 40, "outline_color": "&H0000ff00"},
         {"language": "english", "background_box": False, "background_opacity": 1.0,
          "font_size": 40, "outline_color": "&H0000ff00"}),
    ],
)  # fmt: skip
async def test_options_have_the_names_of_the_image(image, make_scene, options, told):
    async with to_image(image) as renderer:
        await make(renderer, make_scene(), options=RenderOptions.model_validate(options))
    assert image.posts[0].asked.items() >= told.items()


@pytest.mark.parametrize(
    ("subtitle", "sent"),
    [
        ("1\n00:00:01,000 --> 00:00:02,000\n{\\an8}a\n", None),
        (
            "WEBVTT\n\n00:01.000 --> 00:02.000 line:0\n<i>a</i> &amp; <00:01.500>b\n\nc",
            "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<i>a</i> & b\n",
        ),
        (
            "[00:01]{\\an9} --> \\N\n[00:01]b\n[00:02]",
            "1\n00:00:01,000 --> 00:00:02,000\n{\u2060\\an9} -\u2060-> \\\u2060N\nb\n",
        ),
        (
            ass(dialogue("{\\i1\\pos(1,2)}a\\N\\Nb"), styles=(style(alignment=5),)),
            "1\n00:00:01,000 --> 00:00:03,000\n{\\an5}<i>a\n\u00a0\nb\n",
        ),
    ],
    ids=["srt", "vtt", "lrc", "ass"],
)
async def test_subtitles_are_sent_in_the_only_form_that_the_image_reads(
    image, make_scene, subtitle, sent
):
    scene = make_scene(subtitle=subtitle.encode())
    async with to_image(image) as renderer:
        await make(renderer, scene)
    (post,) = image.posts
    assert base64.b64decode(post.asked["subtitle"]).decode() == (sent or subtitle)
    assert post.length == len(post.bytes)


async def test_the_effect_is_chosen_here_and_the_same_for_each_attempt(image, make_scene):
    options = RenderOptions(effects=tuple(Effect))
    drawn = {}
    async with to_image(image) as renderer:
        for name in [*"abcdefgh"] * 2:
            await make(renderer, make_scene(name), options=options)
            effects = image.posts[-1].asked["effects"]
            assert effects == drawn.setdefault(name, effects)
    assert all(len(effects) == 1 and effects != ["random"] for effects in drawn.values())
    assert len({effect for (effect,) in drawn.values()}) > 1


async def test_a_watermark_is_sent(image, make_scene, tmp_path):
    (tmp_path / "mark.png").write_bytes(b"mark")
    async with to_image(image) as renderer:
        options = RenderOptions(watermark=tmp_path / "mark.png")
        await make(renderer, make_scene(), options=options)
    assert base64.b64decode(image.posts[0].asked["watermark"]) == b"mark"


@pytest.mark.parametrize("field", ["image", "audio", "subtitle"])
async def test_a_file_that_is_gone(image, make_scene, field):
    scene = make_scene()
    getattr(scene, field).unlink()
    async with to_image(image) as renderer:
        with pytest.raises(UploadError, match="No such file") as caught:
            await renderer.upload(as_checked(scene))
    assert (caught.value.scene, caught.value.field) == ("one", field)


async def test_a_file_that_changes_before_it_is_sent(image, make_scene):
    scene = make_scene("two")
    async with to_image(image) as renderer:
        upload = await renderer.upload(as_checked(scene))
        scene.audio.write_bytes(b"another sound")
        with pytest.raises(UploadError, match="changed since the run began") as caught:
            await renderer.encode(upload, progress=ignore)
        assert caught.value.field == "audio"
        assert not renderer.has_abandoned_encode
    assert not any(post.whole for post in image.posts)


def refused(status, text="why"):
    return httpx.Response(status, json={"error": text})


@pytest.mark.parametrize(
    ("answer", "kind", "field", "abandoned"),
    [
        (refused(400, "No JSON data provided"), EncodeError, "", False),
        (refused(401), KeyRefusedError, None, False),
        (refused(403), KeyRefusedError, None, False),
        (refused(404), WorkerProtocolError, None, False),
        (refused(405), WorkerProtocolError, None, False),
        (refused(408), RenderFailedError, "", False),
        (refused(413), EncodeError, "", False),
        (refused(429), RenderFailedError, "", False),
        (refused(500), RenderFailedError, "", False),
        (httpx.Response(500, text="<html>"), RenderFailedError, "", False),
        (refused(502), WorkerStoppedError, None, True),
        (refused(503), WorkerStoppedError, None, False),
        (refused(504), WorkerStoppedError, None, True),
        (refused(507), WorkerDiskFullError, None, False),
        (httpx.Response(302, headers={"Location": "http://x/"}), WorkerProtocolError, None, False),
        (httpx.Response(400, text="<html>"), WorkerProtocolError, None, False),
        (httpx.Response(413, text="<html>"), WorkerProtocolError, None, False),
        (httpx.Response(200, text="<html>"), WorkerProtocolError, None, False),
        (httpx.Response(200, json={"size": 0}), WorkerProtocolError, None, False),
        (httpx.Response(200, json={"download_endpoint": "//evil/x", "size": 9}),
         WorkerProtocolError, None, False),
        (httpx.Response(200, json={"download_endpoint": "http://evil/x", "size": 9}),
         WorkerProtocolError, None, False),
        (httpx.ReadError("reset"), WorkerStoppedError, None, True),
        (httpx.ReadTimeout("slow"), WorkerStoppedError, None, True),
        (httpx.RemoteProtocolError("no answer"), WorkerStoppedError, None, True),
    ],
)  # fmt: skip
async def test_answers_without_a_video(image, make_scene, *, answer, kind, field, abandoned):
    image.script["POST"] = [answer] * 9
    async with to_image(image) as renderer:
        with pytest.raises(CloudburstError) as caught:
            await make(renderer, make_scene())
        assert renderer.has_abandoned_encode is abandoned
    assert type(caught.value) is kind
    assert getattr(caught.value, "field", None) == field
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(image.posts) == 1, "what was complete is never sent again"


async def test_a_wrong_key_is_refused_by_the_worker(image, make_scene, caplog):
    caplog.set_level(logging.DEBUG)
    async with to_image(image, key="k-wrong") as renderer:
        with pytest.raises(WorkerError, match="refused the key") as caught:
            await make(renderer, make_scene())
        assert not renderer.has_abandoned_encode
        assert "k-wrong" not in repr(vars(renderer)) + repr(vars(renderer._connection))
    assert caught.value.retryable, "another worker may take it"
    assert "k-wrong" not in caplog.text + repr(caught.value)


@pytest.mark.few(12, spread=True)
@pytest.mark.parametrize("at", [0, 1, 500, 20_000])
@pytest.mark.parametrize("trouble", [CUT, httpx.WriteError("pipe"), httpx.WriteTimeout("slow")])
async def test_a_broken_request_is_sent_again(image, make_scene, at, trouble):
    image.script["POST"] = [at, trouble, at, trouble]
    async with to_image(image) as renderer:
        await make(renderer, make_scene())
        assert not renderer.has_abandoned_encode
    assert [post.whole for post in image.posts] == [False, False, True]
    assert set(image.encoded.values()) == {1}


async def test_a_request_that_always_breaks_means_a_stopped_worker(image, make_scene, hasty):
    image.script["POST"] = [100, CUT] * 1000
    async with to_image(image, hasty) as renderer:
        with pytest.raises(WorkerStoppedError, match="no useful answer"):
            await make(renderer, make_scene())
        assert not renderer.has_abandoned_encode
    assert not any(post.whole for post in image.posts)


async def test_an_early_refusal_ends_the_body(image, make_scene):
    image.script["POST"] = [100, refused(413)]
    async with to_image(image) as renderer:
        with pytest.raises(EncodeError, match="why"):
            await make(renderer, make_scene(image=bytes(5 * BLOCK_BYTES)))
    assert len(image.posts[0].bytes) < 2 * BLOCK_BYTES


@pytest.mark.parametrize(
    "answer",
    [CUT, refused(500), httpx.Response(200, text="<html>"), httpx.Response(200, json=[]),
     httpx.Response(200, json={"status": "error"}),
     httpx.Response(404, json={"status": "healthy"})],
)  # fmt: skip
async def test_answers_that_are_not_healthy(image, answer):
    image.script["GET health"] = [answer]
    async with to_image(image) as renderer:
        assert not await renderer.is_healthy()
        assert await renderer.is_healthy()


async def test_a_worker_that_requires_no_key_is_reported(image, caplog):
    open_to_all = {"status": "healthy", "authentication": {"mode": "default"}}
    image.script["GET health"] = [httpx.Response(200, json=open_to_all)] * 2
    async with to_image(image, key="") as renderer:
        assert await renderer.is_healthy()
    assert "open to all" not in caplog.text
    async with to_image(image) as renderer:
        assert await renderer.is_healthy()
    assert "open to all" in caplog.text


async def test_broken_download_begins_again(image, make_scene, tmp_path):
    cut = httpx.Response(200, headers={"ETag": '"1"'}, stream=Pieces(image.video[:500], CUT))
    image.script["GET download"] = [cut]
    async with to_image(image) as renderer:
        await make(renderer, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == image.video
    assert all("Range" not in request.headers for request in image.requests)


@pytest.mark.parametrize("video", [b"text" * 100, mp4(order=["ftyp", "moov"]), mp4()[:-5]])
async def test_a_file_that_cannot_be_played_is_refused(image, make_scene, tmp_path, video):
    image.video = video
    async with to_image(image) as renderer:
        with pytest.raises(DownloadError, match="cannot be played"):
            await make(renderer, make_scene(), tmp_path / "one.mp4")
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_video_that_does_not_exist(image, make_scene, tmp_path):
    image.script["GET download"] = [refused(404, "File expired")]
    async with to_image(image) as renderer:
        with pytest.raises(DownloadError, match="File expired") as caught:
            await make(renderer, make_scene(), tmp_path / "one.mp4")
    assert caught.value.retryable
    assert left_in(tmp_path) == []
