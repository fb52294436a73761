"""Backend of workers that already run at given addresses."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from cloudburst import Client, Limits, Status, endpoints
from cloudburst.engine import attempt_context
from cloudburst.errors import (
    CapacityError,
    CloudburstError,
    ConfigurationError,
    DownloadError,
    LaunchError,
    OutputWriteError,
    Remedy,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models.limits import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import LaunchRequest, Protocol, TaskSpec, TaskState
from cloudburst.testing import VirtualClockLoop
from cloudburst.workers.endpoints.backend import MAX_FAILED_SCENES, open_endpoints_backend
from cloudburst.workers.endpoints.launcher import INITIAL_COOLDOWN
from cloudburst.workers.http import connection, download_file
from support.checked_scenes import as_checked
from support.fake_native_service import mp4
from support.loopback import listening

pytestmark = pytest.mark.anyio

SHORT = Timeouts(silence=0.4, call=0.3, ready=1.0)
A, B, C = "http://10.0.0.1:5000", "http://10.0.0.2:5000", "http://10.0.0.3:5000"


def opened(*addresses, key="k", protocol=Protocol.ONESTEP, **more):
    return open_endpoints_backend(addresses, key=key, protocol=protocol, timeouts=SHORT, **more)


def asked(backend, token):
    return LaunchRequest(spec=TaskSpec(), token=token, secrets=backend.new_secrets())


async def launched_at(backend, token):
    task = await backend.launcher.launch(asked(backend, token))
    status = await backend.launcher.describe(task)
    assert status.state is TaskState.RUNNING
    return task, status.address


@pytest.mark.parametrize(
    "addresses",
    [
        (),
        ("",),
        ("worker:5000",),
        (A, "ftp://w"),
        (A, A),
        (A, A + "/"),
        ("http://w", "http://W:80"),
    ],
)
async def test_invalid_addresses(addresses):
    with pytest.raises(ConfigurationError):
        async with opened(*addresses):
            pass


@pytest.mark.parametrize("more", [{"key": "two\nlines"}, {"encoders": 0}])
async def test_an_invalid_key_and_an_invalid_count(more):
    with pytest.raises(ConfigurationError):
        async with opened(A, **more):
            pass


async def test_a_string_is_not_a_list_of_addresses():
    with pytest.raises(ConfigurationError, match="expected base URLs"):
        async with open_endpoints_backend(A, key="k", protocol=Protocol.NATIVE, timeouts=SHORT):
            pass


async def test_facts_for_the_engine():
    async with opened(A, B, encoders=2) as backend:
        assert (backend.name, backend.capacity, backend.encoder_slots) == ("endpoints", 2, 2)
        assert backend.encode_timeout_factor == 10
        assert (backend.queues_jobs, backend.shares_uplink) == (False, True)
        assert backend.new_secrets().key == "k"
        assert not backend.usd_per_second
    async with opened(A, protocol=Protocol.NATIVE) as backend:
        assert not backend.encode_timeout_factor
        assert (backend.queues_jobs, backend.shares_uplink) == (True, True)


async def test_each_address_is_used_by_one_task_at_a_time():
    async with opened(A, B) as backend:
        first, one = await launched_at(backend, "1")
        _, two = await launched_at(backend, "2")
        assert {one, two} == {A, B}
        with pytest.raises(CapacityError):
            await backend.launcher.launch(asked(backend, "3"))
        await backend.launcher.stop(first, reason="done")
        await backend.launcher.stop(first, reason="done")
        assert (await backend.launcher.describe(first)).state is TaskState.STOPPED
        again, three = await launched_at(backend, "3")
        assert three == one
        assert again != first, "another stay has another name"
        await backend.launcher.stop(first, reason="done")
        assert (await backend.launcher.describe(again)).state is TaskState.RUNNING


async def test_the_same_request_uses_no_other_address():
    async with opened(A, B) as backend:
        first, _ = await launched_at(backend, "1")
        assert await backend.launcher.launch(asked(backend, "1")) == first
        await launched_at(backend, "2")
        await backend.launcher.stop(first, reason="done")
        assert await backend.launcher.launch(asked(backend, "1")) == first
        assert (await backend.launcher.describe(first)).state is TaskState.STOPPED


async def release(backend, task):
    await backend.launcher.stop(task, reason="done")


async def test_an_address_that_does_not_answer_is_not_used_again_at_once():
    async with fake_image() as well, opened("http://127.0.0.1:9", well.url) as backend:
        for token, expected in {"1": "http://127.0.0.1:9", "2": well.url, "3": well.url}.items():
            task, found = await launched_at(backend, token)
            assert found == expected
            async with backend.connect(found, secrets=backend.new_secrets()) as renderer:
                assert await renderer.is_healthy() is (found == well.url)
            await release(backend, task)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})])
async def test_an_address_that_failed_rests_and_then_comes_last():
    async with opened(A, B, C) as backend:
        backend.launcher.record_failure(B, "it broke")
        await anyio.sleep(INITIAL_COOLDOWN / 2)
        backend.launcher.record_failure(A, "it broke")
        first, found = await launched_at(backend, "1")
        assert found == C
        with pytest.raises(CapacityError, match="just failed"):
            await backend.launcher.launch(asked(backend, "2"))
        await anyio.sleep(INITIAL_COOLDOWN / 2)
        assert (await launched_at(backend, "2"))[1] == B
        await release(backend, first)
        await anyio.sleep(INITIAL_COOLDOWN)
        assert (await launched_at(backend, "3"))[1] == C, "it has never failed"
        third, found = await launched_at(backend, "4")
        assert found == A
        backend.launcher.record_success(A)
        await release(backend, third)
        assert (await launched_at(backend, "5"))[1] == A


async def test_an_address_that_was_never_asked_has_not_failed():
    async with opened(A, B) as backend:
        for token in "12":
            task, found = await launched_at(backend, token)
            async with backend.connect(found, secrets=backend.new_secrets()):
                pass
            await backend.launcher.stop(task, reason="done")
        assert (await launched_at(backend, "3"))[1] == A


class Image:
    """The public image's API over a socket, one connection a request."""

    def __init__(self):
        self.video = mp4()
        self.made = 0
        self.key = b"k"
        self.lose_answers = False
        self.cut_bodies = False
        self.seconds = 0.02

    async def carry(self, stream):
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await self.serve(stream)

    async def serve(self, stream):
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        head, _, body = head.partition(b"\r\n\r\n")
        lines = dict(connection.lower().split(b": ", 1) for connection in head.split(b"\r\n")[1:])
        if self.cut_bodies and head.startswith(b"POST"):
            return
        left = int(lines.get(b"content-length", 0)) - len(body)
        while left > 0:
            left -= len(await stream.receive())
        await anyio.sleep(self.seconds)
        await stream.send(self.answer(head.split()[1], lines))

    def answer(self, path, lines):
        if path == b"/health":
            return http(b'{"status": "healthy"}')
        if lines.get(b"x-authentication-key") != self.key:
            return http(b'{"error": "no"}', b"401 Unauthorized")
        if path == b"/create_video_onestep" and lines[b"content-length"] == b"2":
            return http(b'{"error": "Missing input_image"}', b"400 Bad Request")
        if path == b"/create_video_onestep":
            self.made += 1
            if self.lose_answers:
                return b""
            told = b'{"download_endpoint": "/download/1", "size": %d}' % len(self.video)
            return http(told)
        return http(self.video)


def http(body, status=b"200 OK"):
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@asynccontextmanager
async def fake_image():
    image = Image()
    async with listening(image.carry) as image.url:
        yield image


async def rendered(tmp_path, real_scene, *addresses, scenes=4, **more):
    def backend(timeouts, tier):
        return opened(*addresses, **more)

    wanted = [real_scene(f"s{number}") for number in range(scenes)]
    async with Client(backend, timeouts=SHORT, limits=Limits(workers=4)) as client:
        return await client.render_all(wanted, to=tmp_path / "out")


@pytest.fixture
def real_scene(tmp_path):
    import wave

    from PIL import Image as Picture

    def make(name):
        Picture.new("RGB", (32, 18)).save(tmp_path / f"{name}.png")
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(1600))
        return {
            "name": name,
            "image": str(tmp_path / f"{name}.png"),
            "audio": str(tmp_path / f"{name}.wav"),
        }

    return make


async def test_a_client_renders_on_all_of_them(tmp_path, real_scene):
    async with fake_image() as one, fake_image() as two:
        report = await rendered(tmp_path, real_scene, one.url, two.url, scenes=6)
    assert [error for error in report.errors if error] == []
    assert len(report.videos) == one.made + two.made == 6
    assert one.made
    assert two.made


async def test_an_address_without_a_worker_costs_no_scene(tmp_path, real_scene):
    async with fake_image() as one:
        report = await rendered(tmp_path, real_scene, "http://127.0.0.1:9", one.url)
    assert len(report.videos) == one.made == 4


async def test_an_address_that_loses_answers_is_not_used_while_there_are_others(
    tmp_path, real_scene
):
    async with fake_image() as bad, fake_image() as good:
        bad.lose_answers = True
        report = await rendered(tmp_path, real_scene, bad.url, good.url)
    assert len(report.videos) == good.made == 4
    assert 1 <= bad.made <= 3


async def test_an_address_whose_connection_broke_is_not_used_again_at_once(real_scene):
    async with fake_image() as bad, opened(bad.url, A) as backend:
        task, found = await launched_at(backend, "1")
        assert found == bad.url
        async with backend.connect(found, secrets=backend.new_secrets()) as renderer:
            assert await renderer.is_healthy()
            bad.cut_bodies = True
            scene = Scene.model_validate(real_scene("one"))
            upload = await renderer.upload(as_checked(scene))
            with pytest.raises(WorkerStoppedError):
                await renderer.encode(upload, progress=lambda share: None)
            assert not renderer.has_abandoned_encode
        await release(backend, task)
        assert (await launched_at(backend, "2"))[1] == A
        with pytest.raises(CapacityError):
            await launched_at(backend, "3")


# What answers at an address may be anything.


async def refuse_all(stream):
    await stream.send(http(b"Forbidden", b"403 Forbidden"))


async def silence(stream):
    await anyio.sleep_forever()


async def slowly(stream):
    for byte in http(b'{"status": "healthy"}'):
        await stream.send(bytes([byte]))
        await anyio.sleep(0.1)


async def without_end(stream):
    await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send(b"x" * 65_536)


async def page(stream):
    await stream.send(http(b"<html>It works!</html>"))


def healthy_and_then(reply):
    """Return a service that is healthy and answers other requests with ``reply``."""

    async def behave(stream, request):
        if request.startswith(b"GET /health "):
            await stream.send(http(b'{"status": "healthy"}'))
        else:
            await reply(stream)

    return behave


def all_the_same(reply):
    return lambda stream, request: reply(stream)


@asynccontextmanager
async def foreign_program(behave):
    async def carry(stream):
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    await behave(stream, await stream.receive())

    async with listening(carry) as url:
        yield url


@pytest.mark.few(8, spread=True)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("protocol", [Protocol.ONESTEP, Protocol.NATIVE])
@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (all_the_same(refuse_all), "GET /health: HTTP 403"),
        (all_the_same(page), "GET /health: an invalid answer"),
        (all_the_same(silence), "GET /health: no complete answer within"),
        (all_the_same(slowly), "GET /health: no complete answer within"),
        (all_the_same(without_end), "GET /health: an answer of more than 65536 bytes"),
        (healthy_and_then(refuse_all), "the worker refused the key"),
        (healthy_and_then(silence), "no complete answer within"),
        (healthy_and_then(slowly), "no complete answer within"),
    ],
)
async def test_a_foreign_program_at_the_address_is_reported_within_ready(  # noqa: PLR0917 - fixtures
    tmp_path, real_scene, monkeypatch, protocol, behave, why
):
    monkeypatch.setattr(connection, "HEALTH_CHECK_TIMEOUT", 0.4)
    async with foreign_program(behave) as url:
        began = anyio.current_time()
        report = await rendered(tmp_path, real_scene, url, scenes=2, protocol=protocol)
        took = anyio.current_time() - began
    assert took < SHORT.ready + 2
    assert report.status is Status.FAILED
    assert len(report.errors) == 2
    for error in report.errors:
        assert isinstance(error, LaunchError)
        assert why in str(error)
        assert url in str(error)


async def test_an_address_that_fails_again_and_again_rests_longer_and_longer():
    async with opened(A, B) as backend:
        cooldowns = []
        for _ in range(6):
            backend.launcher.record_failure(A, "it broke")
            cooldowns.append(backend.launcher._endpoint(A).cooldown_until - anyio.current_time())
        assert cooldowns == pytest.approx([10, 40, 160, 600, 600, 600], abs=1)
        backend.launcher.record_success(A)
        backend.launcher.record_failure(A, "it broke")
        assert backend.launcher._endpoint(A).cooldown_until - anyio.current_time() < 11


async def test_an_address_where_scenes_failed_is_only_used_alone():
    async with opened(A, B) as backend:
        backend.launcher.record_failure(A, "the render failed", scenes_failed=True)
        task, found = await launched_at(backend, "1")
        assert found == B
        with pytest.raises(CapacityError, match="the render failed"):
            await launched_at(backend, "2")
        await release(backend, task)
        backend.launcher.record_failure(B, "it broke")
        assert (await launched_at(backend, "2"))[1] == A, "better than none"


async def test_a_worker_on_which_scene_after_scene_fails_is_given_up(real_scene):
    async with fake_image() as bad, opened(bad.url) as backend:
        bad.video = b"no video"
        task, found = await launched_at(backend, "1")
        async with backend.connect(found, secrets=backend.new_secrets()) as renderer:
            assert await renderer.is_healthy()
            errors = []
            for number in range(MAX_FAILED_SCENES):
                scene = Scene.model_validate(real_scene(f"s{number}"))
                upload = await renderer.upload(as_checked(scene))
                output = await renderer.encode(upload, progress=lambda share: None)
                try:
                    await renderer.download(output, scene.image.with_suffix(".mp4"))
                except CloudburstError as exc:
                    errors.append(type(exc))
        assert errors == [DownloadError] * (MAX_FAILED_SCENES - 1) + [WorkerProtocolError]
        await release(backend, task)
        with pytest.raises(CapacityError, match="in a row failed there"):
            await launched_at(backend, "2")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_folder_that_becomes_read_only_fails_scenes_by_name_and_no_run(
    tmp_path, real_scene, monkeypatch
):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    open_file = os.open

    def open_to_read(path, flags, *more, **options):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refuse(path)
        return open_file(path, flags, *more, **options)

    monkeypatch.setattr(attempt_context, "WRITE_TIMEOUT", 1.0)
    scenes = [real_scene(f"s{number}") for number in range(8)]
    async with fake_image() as one, fake_image() as two:
        one.video = two.video = mp4(bytes(3_000_000))
        async with (
            Client(lambda *_: opened(one.url, two.url), timeouts=SHORT) as client,
            client.stream(scenes, to=tmp_path / "out") as run,
        ):
            async for event in run:
                if event.type == "scene.completed":
                    monkeypatch.setattr(download_file.os, "open", open_to_read)
                    for method in ("unlink", "replace"):
                        monkeypatch.setattr(download_file.Path, method, refuse)
            report = await run.report()
    monkeypatch.undo()
    assert report.status is Status.PARTIAL
    failed = [scene for scene in report.scenes if scene.error]
    assert len(failed) + len(report.videos) == 8
    assert failed
    for error in report.errors:
        assert isinstance(error, OutputWriteError)
        assert f"{error.scene}.mp4.part cannot be written: Read-only file system" in str(error)


@pytest.mark.real
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_address_without_a_worker_is_final_and_says_what_to_do(tmp_path, real_scene):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    timeouts = Timeouts(reach=0.6)
    async with Client(endpoints(address), timeouts=timeouts, limits=Limits(workers=1)) as client:
        with anyio.fail_after(10):
            report = await client.render_all([real_scene("a")], to=tmp_path / "out")
    assert report.status is Status.FAILED
    (error,) = report.errors
    assert error.remedy is Remedy.FIX_SETUP
    assert f"no render service answered at {address} for " in str(error)
    assert "(GET /health: All connection attempts failed)" in str(error)
    assert f"start the render service there, or correct the address: curl {address}/health" in str(
        error
    )
