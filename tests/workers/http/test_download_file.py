"""The temporary file of a download: never another user's file, and never left behind."""

from __future__ import annotations

import shutil

import anyio
import anyio.to_thread
import httpx
import pytest

from cloudburst.errors import DownloadError, OutputWriteError
from cloudburst.models.limits import Timeouts
from cloudburst.models.task import Secrets
from cloudburst.workers.http import download_file as part_module
from cloudburst.workers.http.native import connect
from support.checked_scenes import as_checked
from support.fake_native_service import KEY, Pieces, mp4
from support.native_client import CUT, ignore, left_in, rendered, to_studio

pytestmark = pytest.mark.anyio


ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""Mark for tests that do not read a body to its end: httpx leaves generators, and trio warns."""


class Meddling(httpx.AsyncBaseTransport):
    """Transport that breaks the first download and acts before the second."""

    def __init__(self, studio, deed):
        self.studio, self.deed, self.videos = studio, deed, 0

    async def handle_async_request(self, request):
        if request.url.path.endswith("/video"):
            self.videos += 1
            if self.videos == 1:
                return httpx.Response(200, stream=Pieces(self.studio.video[:500], CUT))
            await anyio.to_thread.run_sync(self.deed)
        return await self.studio.answer(request)


async def meddled(studio, scene, to, deed):
    transport = Meddling(studio, deed)
    async with connect(
        "http://w", secrets=Secrets(key=KEY), timeouts=Timeouts(), transport=transport
    ) as renderer:
        output = await renderer.encode(await renderer.upload(as_checked(scene)), progress=ignore)
        await renderer.download(output, to)


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "elsewhere" / "victim"
    path.parent.mkdir()
    path.write_text("precious")
    return path


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
async def test_a_planted_link_is_removed_and_its_target_stays(
    studio, make_scene, tmp_path, victim, link
):
    getattr(tmp_path / "one.mp4.part", link)(victim)
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert victim.read_text() == "precious"
    assert not (tmp_path / "one.mp4").is_symlink()
    assert (tmp_path / "one.mp4").read_bytes() == studio.video
    assert left_in(tmp_path) == ["one.mp4"]


async def test_a_dangling_link_creates_nothing_elsewhere(studio, make_scene, tmp_path, victim):
    (tmp_path / "one.mp4.part").symlink_to(victim.with_name("new"))
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert list(victim.parent.iterdir()) == [victim]


async def test_the_file_of_an_earlier_attempt_is_replaced(studio, make_scene, tmp_path):
    (tmp_path / "one.mp4.part").write_bytes(b"half a video")
    await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert left_in(tmp_path) == ["one.mp4"]


@ASYNCIO
async def test_a_file_that_cannot_be_removed_does_not_hide_the_reason(
    studio, make_scene, tmp_path, caplog, monkeypatch
):
    """As on a disk that has become read-only."""

    def refuse(self, **_):
        raise PermissionError(30, "Read-only file system", str(self))

    def unlink_fails(request):
        monkeypatch.setattr(part_module.Path, "unlink", refuse)

    broken = httpx.Response(200, stream=Pieces(studio.video, b"too much"))
    studio.script["GET video"] = [unlink_fails]
    studio.send = lambda request, content: broken
    with pytest.raises(DownloadError, match="more than"):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert "one.mp4.part cannot be removed: Read-only file system" in caplog.text
    assert not studio.jobs


async def test_a_folder_that_is_removed_meanwhile_is_the_reason(studio, make_scene, tmp_path):
    scene, out = make_scene(), tmp_path / "out"
    out.mkdir()

    with pytest.raises(OutputWriteError, match=r"one\.mp4\.part"):
        await meddled(studio, scene, out / "one.mp4", lambda: shutil.rmtree(out))


async def test_a_video_for_which_there_is_no_room_is_not_downloaded(
    studio, make_scene, tmp_path, monkeypatch
):
    free = shutil.disk_usage(tmp_path)._replace(free=len(studio.video) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(OutputWriteError, match="no room for"):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert "GET video" not in studio.calls
    assert left_in(tmp_path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(total=0, free=0))
    await rendered(studio, make_scene(), tmp_path / "one.mp4")


async def test_millions_of_boxes_are_not_read(studio, make_scene, tmp_path):
    boxes = mp4(b"x", order=["ftyp", "moov"]) + (8).to_bytes(4) + b"free"
    studio.video = boxes + ((8).to_bytes(4) + b"free") * 200_000
    async with to_studio(studio) as renderer:
        output = await renderer.encode(
            await renderer.upload(as_checked(make_scene())), progress=ignore
        )
        with pytest.raises(DownloadError, match="more than 10000 boxes"):
            await renderer.download(output, tmp_path / "one.mp4")


async def test_a_folder_that_takes_the_final_name_is_a_write_error(studio, make_scene, tmp_path):
    async def on_verified(download):
        await anyio.to_thread.run_sync((tmp_path / "one.mp4").mkdir)

    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        output = await renderer.encode(upload, progress=ignore)
        with pytest.raises(OutputWriteError, match="directory"):
            await renderer.download(output, tmp_path / "one.mp4", on_verified=on_verified)
    assert left_in(tmp_path) == ["one.mp4"]
