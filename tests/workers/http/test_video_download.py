"""Downloads of videos to their final paths."""

from __future__ import annotations

import logging

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from cloudburst.errors import (
    DownloadError,
    OutputWriteError,
    WorkerError,
)
from support.checked_scenes import as_checked
from support.fake_native_service import Pieces, mp4
from support.native_client import CUT, ignore, left_in, rendered, to_studio

pytestmark = pytest.mark.anyio


ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""Mark for tests that do not read a body to its end: httpx leaves generators, and trio warns."""


def piece(studio, start, stop, *more, status=200, headers=None):
    return httpx.Response(
        status,
        headers=headers or {"ETag": f'"{studio.sha256}"'},
        stream=Pieces(studio.video[start:stop], *more),
    )


@pytest.mark.parametrize("at", [0, 1, 7, 8, 500, 32_000])
async def test_a_download_resumes_where_it_broke(studio, make_scene, tmp_path, at):
    studio.script["GET video"] = [piece(studio, 0, at, CUT)]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video
    asked = [
        request.headers.get("Range")
        for request in studio.requests
        if request.url.path.endswith("video")
    ]
    assert asked == [None, f"bytes={at}-" if at else None]


@pytest.mark.parametrize(
    "second",
    [
        lambda studio: piece(studio, 0, None),
        lambda studio: httpx.Response(416, json={"error": "no byte"}),
        lambda studio: piece(studio, 4, None, status=206, headers={"Content-Range": "bytes 4-9/9"}),
    ],
)
async def test_a_response_that_does_not_continue_begins_again(studio, make_scene, tmp_path, second):
    studio.script["GET video"] = [piece(studio, 0, 1000, CUT), second(studio)]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video


async def test_a_damaged_download_is_repeated_once(studio, make_scene, tmp_path):
    damaged = httpx.Response(200, stream=Pieces(studio.video[:-1], b"?"))
    studio.script["GET video"] = [damaged]
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video
    assert studio.calls.count("GET video") == 2


@ASYNCIO
async def test_a_video_is_verified_before_it_has_its_name(studio, make_scene, tmp_path):
    told = []

    async def on_verified(download):
        await anyio.lowlevel.checkpoint()
        part, final = tmp_path / "one.mp4.part", tmp_path / "one.mp4"
        content = await anyio.to_thread.run_sync(part.read_bytes)
        told.append((download, content, await anyio.to_thread.run_sync(final.exists)))

    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        output = await renderer.encode(upload, progress=ignore)
        download = await renderer.download(output, tmp_path / "one.mp4", on_verified=on_verified)
    assert told == [(download, studio.video, False)]
    assert download.sha256 == studio.sha256
    assert left_in(tmp_path) == ["one.mp4"]


@pytest.mark.parametrize("error", [OSError("no"), KeyError("defect")])
async def test_a_video_gets_no_name_if_the_callback_fails(studio, make_scene, tmp_path, error):
    async def on_verified(_):
        await anyio.lowlevel.checkpoint()
        raise error

    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        output = await renderer.encode(upload, progress=ignore)
        with pytest.raises(type(error)):
            await renderer.download(output, tmp_path / "one.mp4", on_verified=on_verified)
    assert left_in(tmp_path) == []


async def test_jobs_are_discarded(studio, make_scene):
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        await renderer.encode(upload, progress=ignore)
        assert studio.jobs
        await renderer.discard_jobs()
        assert not studio.jobs


@ASYNCIO
@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(405, json={"error": "an older service"}),
        lambda: httpx.Response(503, json={"error": "it stops"}),
        lambda: CUT,
    ],
)
async def test_a_worker_whose_jobs_cannot_be_discarded_is_not_adopted(studio, answer):
    studio.script["DELETE job"] = [answer()]
    async with to_studio(studio) as renderer:
        with pytest.raises(WorkerError):
            await renderer.discard_jobs()


@ASYNCIO
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda s: httpx.Response(200, stream=Pieces(s.video[:-1], b"?")), "has the hash"),
        (lambda s: httpx.Response(200, stream=Pieces(s.video, b"?")), "more than"),
        (
            lambda s: httpx.Response(200, stream=Pieces(s.video[:0])),
            "cannot be downloaded beyond byte 0",
        ),
        (
            lambda s: httpx.Response(200, headers={"ETag": '"b"'}, stream=Pieces(s.video)),
            "was replaced",
        ),
        (lambda s: httpx.Response(404, json={"error": "deleted"}), "deleted"),
        (lambda s: httpx.Response(409, json={"error": "not done"}), "not done"),
    ],
)
async def test_a_video_that_cannot_be_downloaded_completely(
    studio, make_scene, tmp_path, answer, message
):
    studio.script["GET video"] = [answer(studio) for _ in range(20)]
    with pytest.raises(DownloadError, match=message) as caught:
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (caught.value.retryable, caught.value.scene) == (True, "one")
    assert left_in(tmp_path) == []
    assert not studio.jobs


@pytest.mark.parametrize(
    "video",
    [b"text" * 100, mp4(order=["ftyp", "mdat", "moov"]), mp4(order=["ftyp", "moov"]), mp4()[:-5]],
)
async def test_a_file_that_cannot_be_played_is_refused(studio, make_scene, tmp_path, video):
    studio.video = video
    with pytest.raises(DownloadError, match="cannot be played"):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert left_in(tmp_path) == []


async def test_a_folder_that_is_not_there(studio, make_scene, tmp_path):
    with pytest.raises(OutputWriteError, match="No such file") as caught:
        await rendered(studio, make_scene(), tmp_path / "no" / "one.mp4")
    assert not caught.value.retryable
    assert "one.mp4" in str(caught.value)


@ASYNCIO
async def test_a_disk_that_is_full(studio, make_scene, tmp_path):
    import resource

    studio.video = mp4(bytes(3_000_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        with pytest.raises(OutputWriteError, match="too large"):
            await rendered(studio, make_scene(), tmp_path / "one.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left_in(tmp_path) == []


async def test_a_video_may_replace_another(studio, make_scene, tmp_path):
    (tmp_path / "one.mp4").write_bytes(b"old")
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert (tmp_path / "one.mp4").read_bytes() == studio.video


async def test_a_delete_without_an_answer_delays_little(studio, make_scene, tmp_path, caplog):
    def hang(request):
        studio.pause = 60.0

    studio.script["DELETE job"] = [hang]
    caplog.set_level(logging.INFO, "cloudburst")
    with anyio.fail_after(6):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    (record,) = (one for one in caplog.records if "may still exist" in one.message)
    assert record.levelno == logging.INFO  # its user has nothing to do


@ASYNCIO
async def test_a_video_that_cannot_be_written_stays_on_its_worker(studio, make_scene, tmp_path):
    """The folder was deleted; once it exists again, the video is downloaded and then deleted."""
    folder = tmp_path / "out"
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        output = await renderer.encode(upload, progress=ignore)
        with pytest.raises(OutputWriteError):
            await renderer.download(output, folder / "one.mp4")
        assert studio.jobs
        folder.mkdir()
        await renderer.download(output, folder / "one.mp4")
    assert (folder / "one.mp4").read_bytes() == studio.video
    assert not studio.jobs
