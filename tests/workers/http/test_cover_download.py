"""Downloads of videos with their covers."""

from __future__ import annotations

import hashlib
import random

import anyio
import anyio.to_thread
import httpx
import pytest

from cloudburst.errors import DownloadError, RenderFailedError, WorkerProtocolError
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import MAX_COVER_BYTES
from support.fake_native_service import Pieces
from support.native_client import CUT, rendered

pytestmark = pytest.mark.anyio

COVER = RenderOptions(cover=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("o.n.e"))


async def test_both_files_are_verified_before_either_has_its_name(studio, make_scene, tmp_path):
    to = tmp_path / "o.n.e.mp4"
    seen = []

    async def on_verified(video):
        listed = await anyio.to_thread.run_sync(names, tmp_path)
        seen.append((video.cover, video.cover_sha256, listed))

    video = await rendered(studio, make_scene(), to, options=COVER, on_verified=on_verified)
    sha256 = hashlib.sha256(studio.cover).hexdigest()
    cover = tmp_path / "o.n.e.jpg"
    assert seen == [(cover, sha256, ["o.n.e.jpg.part", "o.n.e.mp4.part"])]
    assert (video.cover, video.cover_sha256) == (cover, sha256)
    assert names(tmp_path) == ["o.n.e.jpg", "o.n.e.mp4"]
    assert cover.read_bytes() == studio.cover
    assert to.read_bytes() == studio.video


async def test_without_the_option_no_cover_is_requested(studio, make_scene, tmp_path):
    video = await rendered(studio, make_scene(), tmp_path / "o.n.e.mp4")
    assert (video.cover, video.cover_sha256) == (None, None)
    assert names(tmp_path) == ["o.n.e.mp4"]
    assert "GET cover" not in studio.calls


async def test_a_broken_download_is_resumed(studio, make_scene, tmp_path):
    tag = hashlib.sha256(studio.cover).hexdigest()
    part = httpx.Response(
        200, headers={"ETag": f'"{tag}"'}, stream=Pieces(studio.cover[:1000], CUT)
    )
    studio.script["GET cover"] = [part]
    await rendered(studio, make_scene(), tmp_path / "o.n.e.mp4", options=COVER)
    assert (tmp_path / "o.n.e.jpg").read_bytes() == studio.cover
    asked = [r.headers.get("Range") for r in studio.requests if r.url.path.endswith("cover")]
    assert asked == [None, "bytes=1000-"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("reported", "content", "expected"),
    [
        (None, b"", (RenderFailedError, "without the cover that was requested")),
        ({"size": MAX_COVER_BYTES + 1}, b"", (WorkerProtocolError, "cover.size")),
        ({"sha256": "../x"}, b"", (WorkerProtocolError, "cover.sha256")),
        ({"sha256": "0" * 64}, b"", (DownloadError, "the cover of one was replaced")),
        ({}, b"GIF89a" + bytes(50) + b"\xff\xd9", (DownloadError, "is not a JPEG")),
        ({}, b"\xff\xd8\xff cut", (DownloadError, "is not a JPEG")),
        ({}, b"\xff", (DownloadError, "is not a JPEG")),
    ],
)
async def test_covers_that_are_refused(  # noqa: PLR0917
    studio, make_scene, tmp_path, reported, content, expected
):
    studio.reported_cover = reported
    studio.cover = content or studio.cover
    error, text = expected
    with pytest.raises(error, match=text):
        await rendered(studio, make_scene("one"), tmp_path / "o.n.e.mp4", options=COVER)
    assert names(tmp_path) == []
    assert not studio.jobs


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_video_that_cannot_be_downloaded_leaves_no_cover(studio, make_scene, tmp_path):
    studio.video = b"not a video"
    with pytest.raises(DownloadError, match="the video of one cannot be played"):
        await rendered(studio, make_scene("one"), tmp_path / "o.n.e.mp4", options=COVER)
    assert names(tmp_path) == []


@pytest.mark.parametrize("seed", range(12))
async def test_a_cancelled_download_leaves_both_files_or_none(studio, make_scene, tmp_path, seed):
    studio.pause = 0.002
    scene = make_scene()
    with anyio.move_on_after(random.Random(seed).uniform(0, 0.06)):
        await rendered(studio, scene, tmp_path / "o.n.e.mp4", options=COVER)
    assert names(tmp_path) in ([], ["o.n.e.jpg", "o.n.e.mp4"])
    assert not studio.jobs
