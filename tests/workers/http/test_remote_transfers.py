"""Scenes from S3 and web servers to S3 by native workers: a real service, and an emulated S3."""

from __future__ import annotations

import json
import logging
import uuid
from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.aws.s3 import remote_files
from cloudburst.aws.s3.object_info import object_metadata
from cloudburst.aws.s3.object_store import ObjectStore
from cloudburst.aws.s3.remote_files import S3RemoteFiles
from cloudburst.errors import DownloadError, UploadError
from cloudburst.models.limits import Timeouts
from cloudburst.models.locations import HttpsUrl, S3Object, S3Prefix
from cloudburst.models.options import RenderOptions
from cloudburst.models.remote_file import RemoteFile
from cloudburst.models.scene import Scene
from cloudburst.models.task import Secrets
from cloudburst.testing import s3_fault
from cloudburst.workers.http import retries as transfer_retries
from cloudburst.workers.http.native import connect
from support import hostile_servers as servers
from support.checked_scenes import as_checked
from support.hostile_servers import Authority, serving
from support.s3_account import (
    BUCKET,
    account,
    client,
    content,
    keys,
    open_store,
    operations,
    put,
    sha256,
    uploads,
)
from support.service_caller import KEY
from support.service_process import service_process
from support.short_waits import repeat_quickly

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(60)]

COVER = RenderOptions(cover=True)
PICTURE = json.dumps({"do": "cover", "steps": 1}).encode()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch):
    repeat_quickly(monkeypatch)


@pytest.fixture(scope="module")
def emulator():
    with account() as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def service(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("service")
    with service_process(folder, SSL_CERT_FILE=str(authority.path)) as running:
        yield running


@pytest.fixture
def folder():
    return S3Prefix(BUCKET, f"{uuid.uuid4().hex}/")


class Run:
    """A run with one worker, and scenes whose files are in one folder in S3."""

    def __init__(self, store: ObjectStore, emulator, folder: S3Prefix, renderer) -> None:
        self.store = store
        self.emulator = emulator
        self.folder = folder
        self.renderer = renderer
        self.inputs: dict = {}
        self.remote = S3RemoteFiles(store, run="r", inputs=self.inputs, private_inputs=True)

    async def add(self, name: str, data: bytes) -> S3Object:
        where = self.folder.object(name)
        await anyio.to_thread.run_sync(put, self.emulator, where, data)
        self.inputs[where] = (await self.store.head(where)).remote_file(where)
        return where

    async def scene(self, name="one", picture=PICTURE, **files) -> Scene:
        image = files.pop("image", None) or await self.add(f"{name}.json", picture)
        return Scene(name=name, image=image, audio=await self.add(f"{name}.mp3", b"sound"), **files)

    async def encode(self, scene, options=COVER):
        uploaded = await self.renderer.upload(as_checked(scene, options), remote=self.remote)
        return await self.renderer.encode(uploaded, progress=lambda share: None)

    async def render(self, scene, to=None, options=COVER, on_verified=None):
        video = await self.encode(scene, options)
        to = to or self.folder.object(f"{scene.name}.mp4")
        return await self.renderer.download(video, to, remote=self.remote, on_verified=on_verified)


@pytest.fixture
async def run(emulator, service, folder):
    timeouts = Timeouts(call=5.0, silence=10.0)
    async with (
        open_store(emulator) as store,
        connect(service.url, secrets=Secrets(key=KEY), timeouts=timeouts) as renderer,
    ):
        yield Run(store, emulator, folder, renderer)


def metadata(emulator, where):
    return client(emulator, "s3").head_object(Bucket=where.bucket, Key=where.key)["Metadata"]


class TestRender:
    async def test_no_byte_passes_through_the_client(self, run, emulator, service):
        scene = await run.scene()
        to, seen = run.folder.object("one.mp4"), []

        async def verified(video):
            there = await anyio.to_thread.run_sync(keys, emulator)
            seen.append((video, [key for key in there if key.endswith((".mp4", ".jpg"))]))

        uploaded = await run.renderer.upload(as_checked(scene, COVER), remote=run.remote)
        assert uploaded.sent == 0
        assert uploaded.input_hashes == {
            "image": run.inputs[scene.image].version,
            "audio": run.inputs[scene.audio].version,
        }
        encoded = await run.renderer.encode(uploaded, progress=lambda share: None)
        video = await run.renderer.download(encoded, to, remote=run.remote, on_verified=verified)
        assert seen == [(video, [])], "verified before anything was written"
        written = content(emulator, to)
        assert (sha256(written), len(written)) == (video.sha256, video.size)
        assert sha256(content(emulator, video.cover)) == video.cover_sha256
        assert metadata(emulator, to)["cloudburst-sha256"] == video.sha256
        assert service.videos() == [], "the worker keeps nothing"

    async def test_a_shared_file_is_fetched_once(self, run, emulator):
        logo = await run.add("logo.png", b"logo")
        options = RenderOptions(watermark=logo)
        scenes = [await run.scene(name) for name in ("one", "two", "three")]
        since = len(emulator.calls)
        async with anyio.create_task_group() as tasks:
            for scene in scenes:
                tasks.start_soon(run.render, scene, None, options)
        assert operations(emulator, since).count("GetObject") == 3 * 2 + 1

    async def test_files_that_the_worker_has_lost_are_fetched_again(self, run, service):
        scene = await run.scene()
        uploaded = await run.renderer.upload(as_checked(scene, COVER), remote=run.remote)
        service.lose(PICTURE)
        await run.renderer.encode(uploaded, progress=lambda share: None)

    async def test_lost_files_that_have_changed_are_errors_of_the_scene(self, run, service):
        picture = json.dumps({"do": "render", "of": uuid.uuid4().hex}).encode()
        logo = await run.add("logo.json", picture)
        first, second = await run.scene("one", image=logo), await run.scene("two", image=logo)
        await run.encode(first, RenderOptions())
        uploaded = await run.renderer.upload(as_checked(second), remote=run.remote)
        service.lose(picture)
        await anyio.to_thread.run_sync(put, run.emulator, logo, b"another")
        with pytest.raises(UploadError, match="changed since the run began") as caught:
            await run.renderer.encode(uploaded, progress=lambda share: None)
        assert (caught.value.scene, caught.value.field) == ("two", "image")


class TestFaults:
    @pytest.mark.few(2)
    @pytest.mark.parametrize(
        "name", ["slow down", "internal error", "url expired", "token expired", "truncated"]
    )
    async def test_faults_of_inputs_are_survived(self, run, emulator, name, caplog):
        caplog.set_level(logging.DEBUG)
        scene = await run.scene(picture=PICTURE + b" " * 100_000 + name.encode())
        emulator.add_fault(s3_fault(name, "GetObject"))
        await run.renderer.upload(as_checked(scene, COVER), remote=run.remote)
        assert "X-Amz-Signature" not in caplog.text

    @pytest.mark.few(2)
    @pytest.mark.parametrize("name", ["slow down", "lost", "dropped", "url expired"])
    async def test_faults_of_outputs_are_survived(self, run, emulator, name):
        scene = await run.scene()
        encoded = await run.encode(scene)
        emulator.add_fault(s3_fault(name, "PutObject", times=2))  # of the cover, or of both
        to = run.folder.object("one.mp4")
        video = await run.renderer.download(encoded, to, remote=run.remote)
        assert sha256(content(emulator, video.cover)) == video.cover_sha256
        assert sha256(content(emulator, video.path)) == video.sha256

    @pytest.mark.few(1)
    @pytest.mark.parametrize("name", ["slow down", "lost", "url expired"])
    async def test_faults_of_parts_are_survived(self, run, emulator, monkeypatch, name):
        monkeypatch.setattr(remote_files, "MULTIPART_BYTES", 10)
        encoded = await run.encode(await run.scene())
        to, since = run.folder.object("one.mp4"), len(emulator.calls)
        emulator.add_fault(s3_fault(name, "UploadPart"))
        video = await run.renderer.download(encoded, to, remote=run.remote)
        assert sha256(content(emulator, to)) == video.sha256
        assert operations(emulator, since).count("CompleteMultipartUpload") == 1
        assert operations(emulator, since).count("PutObject") == 1, "the cover, of 9 bytes"
        assert uploads(emulator) == []

    async def test_a_changed_object_is_not_rendered(self, run, emulator):
        scene = await run.scene(picture=uuid.uuid4().hex.encode())
        put(emulator, scene.image, b"another")
        with pytest.raises(UploadError, match="changed since the run began") as caught:
            await run.renderer.upload(as_checked(scene, COVER), remote=run.remote)
        assert (caught.value.scene, caught.value.field) == ("one", "image")

    async def test_a_deleted_object(self, run, emulator):
        scene = await run.scene(picture=uuid.uuid4().hex.encode())
        client(emulator, "s3").delete_object(Bucket=BUCKET, Key=scene.image.key)
        with pytest.raises(UploadError, match="no longer there"):
            await run.renderer.upload(as_checked(scene, COVER), remote=run.remote)

    async def test_an_input_that_a_worker_cannot_reach_is_tried_on_another_one(
        self, run, folder, monkeypatch
    ):
        monkeypatch.setattr(transfer_retries, "TRANSFER_TIMEOUT", 0.1)
        with account() as other:  # its faults end with it
            async with open_store(other) as store:
                alone = Run(store, other, folder, run.renderer)
                scene = await alone.scene(picture=uuid.uuid4().hex.encode())
                other.add_fault(s3_fault("dropped", "GetObject", times=None, presigned=True))
                with pytest.raises(UploadError) as caught:
                    await run.renderer.upload(as_checked(scene, COVER), remote=alone.remote)
        assert caught.value.retryable

    async def test_a_job_that_the_worker_has_deleted(self, run):
        scene = await run.scene()
        video = await run.encode(scene)
        await run.renderer.discard_jobs()
        with pytest.raises(DownloadError, match="no longer has the job"):
            await run.renderer.download(video, run.folder.object("v.mp4"), remote=run.remote)


class TestExistingObjects:
    async def test_those_of_an_earlier_attempt_are_replaced(self, run, emulator):
        """A worker was lost after it had written its video, before the client knew."""
        scene, to = await run.scene(), run.folder.object("one.mp4")
        for where in (to, to.with_suffix(".jpg")):
            marks = object_metadata(run="r", scene="one", fingerprint="", sha256="0" * 64)
            put(emulator, where, b"another encode", Metadata=marks)
        video = await run.render(scene)
        assert sha256(content(emulator, to)) == video.sha256
        assert sha256(content(emulator, video.cover)) == video.cover_sha256

    @pytest.mark.few(1)
    @pytest.mark.parametrize("marks", [{}, {"run": "another"}, {"scene": "two"}])
    async def test_those_of_others_are_kept(self, run, emulator, marks):
        scene, to = await run.scene(), run.folder.object("one.mp4")
        given = {"run": "r", "scene": "one", "fingerprint": "", "sha256": "0" * 64, **marks}
        put(emulator, to, b"theirs", Metadata=object_metadata(**given) if marks else {})
        who = "run another" if "run" in marks else "another program"
        with pytest.raises(DownloadError, match=f"{who} has written an object of this name"):
            await run.render(scene, options=RenderOptions())
        assert content(emulator, to) == b"theirs"


LAST_MODIFIED = "Thu, 26 Nov 2026 10:00:00 GMT"


@asynccontextmanager
async def web_server(authority, handler):
    async with serving(handler, authority.server("localhost")) as server:
        yield server, HttpsUrl(f"https://localhost:{server.port}/a.mp3?sig=do-not-show")


class TestWebServers:
    async def upload(self, run, url, **facts):
        run.inputs[url] = RemoteFile(location=url, **{"size": None, "etag": None, **facts})
        scene = (await run.scene()).model_copy(update={"audio": url})
        return await run.renderer.upload(as_checked(scene, COVER), remote=run.remote)

    async def test_files_of_three_kinds_make_one_scene(self, run, authority, tmp_path):
        subtitle = tmp_path / "one.srt"
        subtitle.write_bytes(b"1\n00:00:00,000 --> 00:00:01,000\nHello\n")
        sound = uuid.uuid4().bytes * 100
        handler = servers.answer(servers.OK + b'ETag: "1"\r\n', sound)
        async with web_server(authority, handler) as (server, url):
            run.inputs[url] = RemoteFile(location=url, size=len(sound), etag='"1"')
            scene = (await run.scene(subtitle=subtitle)).model_copy(update={"audio": url})
            uploaded = await run.renderer.upload(as_checked(scene, COVER), remote=run.remote)
            assert uploaded.sent == subtitle.stat().st_size
            assert uploaded.input_hashes == {
                "image": run.inputs[scene.image].version,
                "audio": f'etag "1" {len(sound)} {url}',
                "subtitle": sha256(subtitle.read_bytes()),
            }
            await run.renderer.encode(uploaded, progress=lambda share: None)
        assert len(server.heads) == 1
        assert b'if-match: "1"' in server.heads[0].lower()

    async def test_without_size_and_etag(self, run, authority):
        async with web_server(authority, servers.answer()) as (server, url):
            await self.upload(run, url, modified=LAST_MODIFIED)
        assert f"if-unmodified-since: {LAST_MODIFIED}".encode().lower() in server.heads[0].lower()

    async def test_that_ignore_the_date_for_which_they_are_asked(self, run, authority):
        head = servers.OK + b"Last-Modified: Fri, 27 Nov 2026 10:00:00 GMT\r\n"
        async with web_server(authority, servers.answer(head)) as (_, url):
            with pytest.raises(UploadError, match=r"changed since .* ignores If-Unmodified"):
                await self.upload(run, url, modified=LAST_MODIFIED)

    @pytest.mark.few(3)
    @pytest.mark.parametrize(
        ("handler", "problem"),
        [
            (servers.answer(servers.OK + b'ETag: "2"\r\n'), "changed since the run began"),
            (servers.answer(servers.OK + b'ETag: W/"1"\r\n'), "changed since the run began"),
            (servers.error(412), "changed since the run began"),
            (servers.answer(body=b"short"), "changed since the run began"),
            (servers.error(410), "no longer there"),
            (servers.redirect("https://169.254.169.254/"), "redirects are not followed"),
        ],
    )
    async def test_that_send_another_file(self, run, authority, handler, problem):
        async with web_server(authority, handler) as (_, url):
            with pytest.raises(UploadError, match=problem) as caught:
                await self.upload(run, url, size=len(servers.CONTENT), etag='"1"')
        assert "do-not-show" not in repr(caught.value)
        assert caught.value.field == "audio"
        assert f"https://localhost:{url.url.split(':')[2].split('/')[0]}/a.mp3?…" in str(
            caught.value
        )

    async def test_that_stay_busy(self, run, authority, monkeypatch):
        monkeypatch.setattr(transfer_retries, "TRANSFER_TIMEOUT", 0.2)
        busy = servers.error(503, "SlowDown", headers=b"Connection: close\r\n")
        async with web_server(authority, busy) as (server, url):
            with pytest.raises(UploadError) as caught:
                await self.upload(run, url)
        assert str(caught.value) == f"audio: {url}: HTTP 503 SlowDown"
        assert not caught.value.retryable
        assert len(server.heads) > 2

    async def test_that_cannot_be_reached_are_errors_of_the_scene(
        self, run, authority, monkeypatch
    ):
        monkeypatch.setattr(transfer_retries, "TRANSFER_TIMEOUT", 0.1)

        async def close(_):
            pass

        async with web_server(authority, close) as (_, url):
            with pytest.raises(UploadError) as caught:
                await self.upload(run, url)
        assert not caught.value.retryable

    async def test_private_addresses_need_the_setting(self, run, authority):
        run.remote = S3RemoteFiles(run.store, run="r", inputs=run.inputs)
        async with web_server(authority, servers.answer()) as (server, url):
            with pytest.raises(UploadError, match="that is not public"):
                await self.upload(run, url)
        assert server.heads == []
