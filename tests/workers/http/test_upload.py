"""Uploads of files to a worker."""

from __future__ import annotations

import hashlib
import os
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from cloudburst.errors import UploadError, WorkerProtocolError, WorkerStoppedError
from cloudburst.models.file_versions import FileHashes, FileVersion
from cloudburst.models.limits import Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.settings import Settings
from cloudburst.models.task import Secrets
from cloudburst.workers.http import upload
from cloudburst.workers.http.native import connect
from cloudburst.workers.http.upload import READ_BLOCK_BYTES, hash_file
from support.checked_scenes import as_checked
from support.fake_native_service import KEY
from support.native_client import CUT, Turns, to_studio

pytestmark = pytest.mark.anyio


async def test_a_shared_file_is_sent_once(studio, make_scene, tmp_path):
    mark = tmp_path / "mark.png"
    mark.write_bytes(b"mark")
    studio.pause = 0.01
    sent = []

    async def upload(renderer, number):
        scene = make_scene(f"s{number}", image=b"%d" % number)
        sent.append((await renderer.upload(as_checked(scene, RenderOptions(watermark=mark)))).sent)

    async with to_studio(studio) as renderer, anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(upload, renderer, number)
    assert studio.calls.count("PUT file") == 8 + 3  # pictures; sound, subtitle and watermark once
    assert sum(sent) == sum(map(len, studio.files.values()))


async def test_the_files_of_a_scene_are_sent_at_once(studio, make_scene):
    studio.pause = 0.15  # a round trip
    async with to_studio(studio) as renderer:
        began = anyio.current_time()
        await renderer.upload(as_checked(make_scene()))
    assert studio.calls.count("PUT file") == 3
    assert anyio.current_time() - began < 0.4


async def test_files_that_are_sent_wait_for_their_turn(studio, make_scene):
    scene, turns = make_scene(image=bytes(300_000)), Turns()
    sizes = sorted(path.stat().st_size for path in scene.files().values())
    async with to_studio(studio) as renderer:
        await renderer.upload(as_checked(scene), turn=turns)
        assert sorted(turns.sizes) == sorted(turns.arrived) == sizes
        await renderer.upload(as_checked(scene), turn=turns)
    async with to_studio(studio) as renderer:
        studio.script["PUT file"] = [httpx.Response(413, json={"error": "too large"})] * 2
        with pytest.raises(UploadError):
            await renderer.upload(as_checked(scene), turn=turns)
    assert len(turns.arrived) == 3, "a file that the worker has, or refuses, does not count"
    assert turns.sizes.count(300_000) == 1


async def test_a_file_waits_before_each_block(studio, make_scene):
    scene, turns = make_scene(image=bytes(3 * READ_BLOCK_BYTES)), Turns()
    turns.open = anyio.Event()
    async with to_studio(studio) as renderer, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: renderer.upload(as_checked(scene), turn=turns))
        with anyio.fail_after(30):
            await turns.paused.wait()
        assert scene.image.stat().st_size not in turns.arrived
        assert max(turns.waits) == READ_BLOCK_BYTES, "it is paused"
        turns.open.set()
    assert sorted(set(turns.waits)) == [0, READ_BLOCK_BYTES, 2 * READ_BLOCK_BYTES]
    assert scene.image.stat().st_size in turns.arrived


class LateTurns(Turns):
    """The turns come when an event is set."""

    def __init__(self):
        super().__init__()
        self.come = anyio.Event()

    @asynccontextmanager
    async def __call__(self, size):
        await self.come.wait()
        async with super().__call__(size) as sending:
            yield sending


async def test_a_worker_is_in_use_while_its_files_wait_for_their_turn(
    studio, make_scene, monkeypatch
):
    monkeypatch.setattr(upload, "USE_INTERVAL", 0.05)
    turns = LateTurns()
    studio.script["HEAD file"] = [None] * 4 + [lambda _: turns.come.set()]
    async with to_studio(studio) as renderer:
        with anyio.fail_after(30):
            await renderer.upload(as_checked(make_scene()), turn=turns)
        asked = studio.calls.count("HEAD file")
        await anyio.sleep(0.2)
    assert studio.calls.count("HEAD file") == asked, "the files have arrived"


def test_a_worker_is_asked_long_before_it_ends_because_it_is_idle():
    assert Settings().idle / 4 >= upload.USE_INTERVAL


async def test_a_worker_that_is_lost_before_the_turn_of_a_file(
    studio, make_scene, monkeypatch, hasty
):
    monkeypatch.setattr(upload, "USE_INTERVAL", 0.01)
    studio.script["HEAD file"] = [CUT] * 1000
    async with to_studio(studio, hasty) as renderer:
        with pytest.raises(WorkerStoppedError):
            await renderer.upload(as_checked(make_scene()), turn=Never())


class Never(Turns):
    """The turn never comes."""

    @asynccontextmanager
    async def __call__(self, size):
        await anyio.sleep_forever()
        yield self.sent.append


async def test_a_file_that_cannot_be_sent_ends_the_uploads_of_its_scene(studio, make_scene):
    studio.script["PUT file"] = [httpx.Response(413, json={"error": "too large"})]
    studio.pause = 1.0
    async with to_studio(studio) as renderer:
        with pytest.raises(UploadError, match="too large"):
            await renderer.upload(as_checked(make_scene()))


async def test_file_is_hashed_once_for_each_of_its_versions(tmp_path, monkeypatch):
    computed = []

    def compute(version):
        computed.append(version)
        return f"hash {len(computed)}"

    monkeypatch.setattr(FileVersion, "compute_sha256", compute)
    path, hashes = tmp_path / "a", FileHashes()
    path.write_bytes(b"first")
    for _ in range(2):
        assert (await hash_file(path, hashes)).sha256 == "hash 1"
    os.utime(path, ns=(1, 2))
    assert (await hash_file(path, hashes)).sha256 == "hash 2"


async def test_a_large_file_that_the_worker_has_is_not_sent(studio, make_scene):
    scene = make_scene(image=bytes(300_000))
    async with to_studio(studio) as renderer:
        first = await renderer.upload(as_checked(scene))
    async with to_studio(studio) as renderer:
        again = await renderer.upload(as_checked(scene))
    assert first.sent - again.sent == 300_000


@pytest.mark.parametrize("field", ["image", "audio", "subtitle"])
async def test_a_file_that_cannot_be_read(studio, make_scene, field):
    scene = make_scene()
    getattr(scene, field).unlink()
    async with to_studio(studio) as renderer:
        with pytest.raises(UploadError, match="No such file") as caught:
            await renderer.upload(as_checked(scene))
    assert (caught.value.scene, caught.value.field) == ("one", field)


class Interfering(httpx.AsyncBaseTransport):
    """Transport that acts after the first block of an upload."""

    def __init__(self, studio, deed):
        self.studio = studio
        self.deed = deed

    async def handle_async_request(self, request):
        if int(request.headers.get("Content-Length", 0)) == 1_000_000:  # the picture
            async for _ in request.stream:
                await anyio.to_thread.run_sync(self.deed)
        return await self.studio.answer(request)


@pytest.mark.parametrize("content", [b"short", bytes(1_000_001), None])
async def test_a_file_that_changes_while_it_is_sent(studio, make_scene, content):
    scene = make_scene(image=bytes(1_000_000))

    def change():
        if content is None:
            scene.image.unlink(missing_ok=True)
        else:
            scene.image.write_bytes(content)

    transport = Interfering(studio, change)
    async with connect(
        "http://w", secrets=Secrets(key=KEY), timeouts=Timeouts(), transport=transport
    ) as renderer:
        message = "No such file" if content is None else "changed since the run began"
        with pytest.raises(UploadError, match=message) as caught:
            await renderer.upload(as_checked(scene))
    assert caught.value.field == "image"
    assert max(map(len, studio.files.values()), default=0) < 100_000, "the others may be there"


async def test_a_refused_file_names_its_field(studio, make_scene):
    scene = make_scene()
    sha256 = hashlib.sha256(scene.audio.read_bytes()).hexdigest()

    def refuse(request):
        if request.url.path.endswith(sha256):
            return httpx.Response(413, json={"error": "more than 5 bytes"})
        return None

    studio.script["PUT file"] = [refuse] * 3
    async with to_studio(studio) as renderer:
        with pytest.raises(UploadError, match="more than 5 bytes") as caught:
            await renderer.upload(as_checked(scene))
    assert (caught.value.field, caught.value.retryable) == ("audio", False)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, json={"error": "the content has another hash"}),
        httpx.Response(411, json={"error": "say the Content-Length"}),
        httpx.Response(413, text="<html>"),
        httpx.Response(302, headers={"Location": "http://x/"}),
        httpx.Response(404, json={"error": "Not Found"}),
    ],
)
async def test_a_worker_that_refuses_all_files_is_the_problem_and_not_the_scene(
    studio, make_scene, answer
):
    studio.script["PUT file"] = [answer]
    async with to_studio(studio) as renderer:
        with pytest.raises(WorkerProtocolError, match=f"HTTP {answer.status_code}") as caught:
            await renderer.upload(as_checked(make_scene()))
    assert caught.value.retryable
