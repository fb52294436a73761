"""Remote inputs and videos for S3 with the public image, through temporary files.

S3 is emulated, the web servers are real ones on loopback, and the public image is a stand-in.
"""

from __future__ import annotations

import base64
import os
import random
import resource
import tempfile
import uuid
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest

from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.engine.guarded_renderer import guarded
from cloudburst.errors import DownloadError, OutputWriteError, UploadError
from cloudburst.models.locations import HttpsUrl, S3Object, S3Prefix
from cloudburst.models.options import RenderOptions
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import Scene
from cloudburst.testing import s3_fault
from support import hostile_servers as servers
from support.fake_public_image import PublicImage, ignore, to_image
from support.hostile_servers import Authority, serving
from support.s3_account import BUCKET, account, client, content, open_store, operations, put, sha256
from support.short_waits import repeat_quickly

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

PLAIN = RenderOptions()
PICTURE, SOUND = b"picture" * 20_000, b"sound" * 1000
SEEDS = range(int(os.environ.get("CLOUDBURST_SEEDS", "4")))
LONGEST = 0.25
"""Seconds that a scene takes, approximately."""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    repeat_quickly(monkeypatch)


@pytest.fixture(autouse=True)
def temporary(emulator, tmp_path, monkeypatch):
    """Return the folder for temporary files of clients, in which nothing may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.rglob("*")) == []


@pytest.fixture(scope="module")
def emulator():
    with account() as running:
        put(running, S3Object(BUCKET, "first"))  # makes the folder of the emulator
        yield running


@pytest.fixture
async def store(emulator):
    async with open_store(emulator) as opened:
        yield opened


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


class Run:
    def __init__(self, emulator, store) -> None:
        self.emulator = emulator
        self.store = store
        self.folder = S3Prefix(BUCKET, f"{uuid.uuid4().hex}/")
        self.inputs: dict = {}
        self.remote = S3RemoteFiles(
            store, run="r", inputs=self.inputs, fingerprints={}, private_inputs=True
        )
        self.image = PublicImage()
        self.image.tells = True

    async def add(self, name, data):
        where = self.folder.object(name)
        await anyio.to_thread.run_sync(put, self.emulator, where, data)
        self.inputs[where] = (await self.store.head(where)).remote_file(where)
        return where

    async def scene(self, name="one", **files):
        picture = await self.add(f"{name}.png", PICTURE + name.encode())
        return Scene(name=name, image=picture, audio=await self.add(f"{name}.mp3", SOUND), **files)

    async def render(self, renderer, scene, options=PLAIN, to=None):
        uploaded = await renderer.upload(scene, options, remote=self.remote)
        try:
            video = await renderer.encode(uploaded, progress=ignore)
        finally:
            renderer.discard(uploaded)  # as the engine does if the encode does not begin
        to = to or self.folder.object(f"{scene.name}.mp4")
        return await renderer.download(video, to, remote=self.remote)


@pytest.fixture
def run(emulator, store):
    return Run(emulator, store)


async def test_a_scene_goes_from_s3_to_s3(run, emulator, temporary):
    subtitle = await run.add("one.srt", b"1\n")
    scene, seen = await run.scene(subtitle=subtitle), []
    to = run.folder.object("one.mp4")

    async def verified(video):
        seen.append((video, await run.store.find(to)))

    async with to_image(run.image) as renderer:
        uploaded = await renderer.upload(scene, PLAIN, remote=run.remote)
        assert len(list(temporary.rglob("*.*"))) == 3
        assert uploaded.input_hashes == {
            name: run.inputs[where].version for name, where in scene.files().items()
        }
        encoded = await renderer.encode(uploaded, progress=ignore)
        assert list(temporary.rglob("*.*")) == [], "needed no longer"
        video = await renderer.download(encoded, to, remote=run.remote, on_verified=verified)
    assert run.image.posts[0].image == PICTURE + b"one"
    assert seen == [(video, None)], "verified before the object was written"
    assert content(emulator, to) == run.image.video
    assert (video.path, video.sha256) == (to, sha256(run.image.video))


async def test_a_file_of_scenes_that_are_staged_together_is_fetched_once(run, emulator):
    options = RenderOptions(watermark=await run.add("logo.png", b"logo"))
    scenes = [await run.scene(name) for name in ("one", "two", "three")]
    since, uploaded = len(emulator.calls), []

    async def upload(scene):
        uploaded.append(await renderer.upload(scene, options, remote=run.remote))

    async with to_image(run.image) as renderer:
        async with anyio.create_task_group() as tasks:
            for scene in scenes:
                tasks.start_soon(upload, scene)
        assert operations(emulator, since).count("GetObject") == 3 * 2 + 1
        for one in uploaded:
            await renderer.encode(one, progress=ignore)
    assert sum(run.image.encoded.values()) == 3


@pytest.mark.parametrize("name", ["slow down", "truncated", "url expired", "dropped"])
async def test_faults_of_s3_are_survived(run, emulator, name):
    scene = await run.scene()
    async with to_image(run.image) as renderer:
        emulator.add_fault(s3_fault(name, "GetObject"))
        uploaded = await renderer.upload(scene, PLAIN, remote=run.remote)
        encoded = await renderer.encode(uploaded, progress=ignore)
        to = run.folder.object("v.mp4")
        emulator.add_fault(s3_fault("lost" if name == "truncated" else name, "PutObject"))
        await renderer.download(encoded, to, remote=run.remote)
    assert content(emulator, to) == run.image.video


async def test_an_upload_that_fails_leaves_no_files(run, emulator, temporary):
    scene = await run.scene()
    client(emulator, "s3").delete_object(Bucket=BUCKET, Key=scene.audio.key)
    async with to_image(run.image) as renderer:
        with pytest.raises(UploadError, match=r"audio: s3://.*: no longer there"):
            await renderer.upload(scene, PLAIN, remote=run.remote)
        assert list(temporary.rglob("*.*")) == []


async def test_a_delivery_that_fails_leaves_no_files(run, emulator):
    scene, to = await run.scene(), run.folder.object("v.mp4")
    put(emulator, to, b"theirs")
    async with to_image(run.image) as renderer:
        with pytest.raises(DownloadError, match="another program"):
            await run.render(renderer, scene, to=to)
    assert content(emulator, to) == b"theirs"


async def test_a_scene_that_is_discarded(run, temporary):
    """Its files are removed, but not those that another scene uses as well."""
    options = RenderOptions(watermark=await run.add("logo.png", b"logo"))
    first, second = await run.scene("one"), await run.scene("two")
    async with to_image(run.image) as renderer:
        one = await renderer.upload(first, options, remote=run.remote)
        two = await renderer.upload(second, options, remote=run.remote)
        assert len(list(temporary.rglob("*.*"))) == 5
        renderer.discard(one)
        with anyio.fail_after(30):
            while len(list(temporary.rglob("*.*"))) > 3 or not run.image.posts[0].ended:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        await renderer.encode(two, progress=ignore)
    assert set(run.image.encoded) == {PICTURE + b"two"}


async def test_a_client_that_is_closed_removes_all_files(run, temporary):
    async with to_image(run.image) as renderer:
        await renderer.upload(await run.scene(), PLAIN, remote=run.remote)
        assert len(list(temporary.rglob("*.*"))) == 2


async def test_a_request_that_is_cancelled_while_it_is_sent(run, temporary):
    scene = await run.scene()
    async with to_image(run.image) as renderer:
        with anyio.move_on_after(30) as scope:
            run.image.script["POST"] = [1000, lambda _: scope.cancel()]
            await renderer.upload(scene, PLAIN, remote=run.remote)
        assert scope.cancelled_caught
        assert list(temporary.rglob("*.*")) == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_cancellation_leaves_no_files(run, temporary, seed):
    """Neither within the scene that is cancelled, nor of a file that it shares with another one."""
    options = RenderOptions(watermark=await run.add("logo.png", b"logo" * 10_000))
    scenes = [await run.scene(name) for name in ("one", "two")]
    async with to_image(run.image) as renderer:
        with anyio.move_on_after(random.Random(seed).uniform(0, LONGEST)):
            async with anyio.create_task_group() as tasks:
                for scene in scenes:
                    tasks.start_soon(run.render, renderer, scene, options)
        with anyio.fail_after(30):
            while list(temporary.rglob("*.*")):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        video = await run.render(renderer, await run.scene("three"), options)
        assert video.sha256 == sha256(run.image.video)
        assert video.path.key in [where async for where in _keys(run)]


async def _keys(run):
    for name in ("one", "two", "three"):
        where = run.folder.object(f"{name}.mp4")
        if info := await run.store.find(where):
            assert info.size == len(run.image.video), "whole or not at all"
            yield where.key


class TestTemporaryFolder:
    @contextmanager
    def small_files(self, size):
        """Let no file of this process become larger: the kernel refuses it as it does a full disk.

        Tests cannot fill a disk.
        """
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    async def test_without_room_for_an_input(self, run, temporary):
        scene = await run.scene()
        async with to_image(run.image) as renderer:
            with self.small_files(50_000), pytest.raises(UploadError) as caught:
                await renderer.upload(scene, PLAIN, remote=run.remote)
            assert list(temporary.rglob("*.*")) == []
        assert (caught.value.scene, caught.value.field) == ("one", "image")
        assert "cannot be written to a temporary file" in str(caught.value)
        assert "TMPDIR" in str(caught.value)

    async def test_without_room_for_a_video(self, run):
        """The run is paused, because the video stays at the worker."""
        scene = await run.scene()
        async with to_image(run.image) as renderer:
            uploaded = await renderer.upload(scene, PLAIN, remote=run.remote)
            encoded = await renderer.encode(uploaded, progress=ignore)
            to = run.folder.object("v.mp4")
            with self.small_files(5000), pytest.raises(OutputWriteError):
                await renderer.download(encoded, to, remote=run.remote)
            await renderer.download(encoded, to, remote=run.remote)

    async def test_whose_video_cannot_be_read(self, run, temporary):
        """It is a fault of this machine: the worker keeps the video, and is not given up."""
        to, scene = run.folder.object("v.mp4"), await run.scene()

        async def remove(_):
            (video,) = await anyio.to_thread.run_sync(list, temporary.rglob("video.mp4"))
            await anyio.Path(video).unlink()

        async with guarded(to_image(run.image)) as renderer:
            uploaded = await renderer.upload(scene, PLAIN, remote=run.remote)
            encoded = await renderer.encode(uploaded, progress=ignore)
            with pytest.raises(OutputWriteError, match=r"cannot be read: .*video\.mp4: No such"):
                await renderer.download(encoded, to, remote=run.remote, on_verified=remove)
            await renderer.download(encoded, to, remote=run.remote)
        assert content(run.emulator, to) == run.image.video

    async def test_that_does_not_exist(self, run, monkeypatch):
        scene = await run.scene()
        async with to_image(run.image) as renderer:
            with monkeypatch.context() as patched:
                patched.setattr(tempfile, "tempdir", "/nowhere")
                with pytest.raises(UploadError, match="TMPDIR"):
                    await renderer.upload(scene, PLAIN, remote=run.remote)
            uploaded = await renderer.upload(scene, PLAIN, remote=run.remote)
            encoded = await renderer.encode(uploaded, progress=ignore)
            monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
            with pytest.raises(OutputWriteError, match="TMPDIR"):
                await renderer.download(encoded, run.folder.object("v.mp4"), remote=run.remote)


class TestWebServers:
    @pytest.fixture(autouse=True)
    def trusted(self, authority, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))

    @asynccontextmanager
    async def server(self, authority, handler):
        async with serving(handler, authority.server("localhost")) as server:
            yield server, HttpsUrl(f"https://localhost:{server.port}/a.mp3?sig=do-not-show")

    async def test_files_of_three_kinds_make_one_scene(self, run, authority, tmp_path):
        subtitle = tmp_path / "one.srt"
        subtitle.write_bytes(b"1\n")
        handler = servers.answer(servers.OK + b'ETag: "1"\r\n')
        async with (
            self.server(authority, handler) as (server, url),
            to_image(run.image) as renderer,
        ):
            run.inputs[url] = RemoteFile(location=url, size=None, etag='"1"')
            scene = (await run.scene(subtitle=subtitle)).model_copy(update={"audio": url})
            uploaded = await renderer.upload(scene, PLAIN, remote=run.remote)
            assert uploaded.input_hashes["audio"] == run.inputs[url].version
            assert uploaded.input_hashes["subtitle"] == sha256(b"1\n")
            await renderer.encode(uploaded, progress=ignore)
        assert len(server.heads) == 1
        assert base64.b64decode(run.image.posts[0].asked["input_audio"]) == servers.CONTENT

    async def test_a_name_that_no_file_can_have(self, run, authority):
        handler = servers.answer(servers.OK + b'ETag: "1"\r\n')
        async with (
            self.server(authority, handler) as (server, _),
            to_image(run.image) as renderer,
        ):
            url = HttpsUrl(f"https://localhost:{server.port}/a.m%00p3")
            run.inputs[url] = RemoteFile(location=url, size=None, etag='"1"')
            scene = (await run.scene()).model_copy(update={"audio": url})
            uploaded = await renderer.upload(scene, PLAIN, remote=run.remote)
            await renderer.encode(uploaded, progress=ignore)
        assert base64.b64decode(run.image.posts[0].asked["input_audio"]) == servers.CONTENT

    @pytest.mark.parametrize(
        ("handler", "problem", "private"),
        [
            (servers.answer(servers.OK + b'ETag: "2"\r\n'), "changed since the run began", True),
            (servers.redirect("https://169.254.169.254/"), "redirects are not followed", True),
            (servers.answer(), "that is not public", False),
        ],
    )
    async def test_files_that_are_refused(self, run, authority, handler, problem, private):
        run.remote = S3RemoteFiles(
            run.store, run="r", inputs=run.inputs, fingerprints={}, private_inputs=private
        )
        async with (
            self.server(authority, handler) as (_, url),
            to_image(run.image) as renderer,
        ):
            run.inputs[url] = RemoteFile(location=url, size=None, etag='"1"')
            scene = (await run.scene()).model_copy(update={"audio": url})
            with pytest.raises(UploadError, match=problem) as caught:
                await renderer.upload(scene, PLAIN, remote=run.remote)
        assert "do-not-show" not in repr(caught.value)
        assert caught.value.field == "audio"
