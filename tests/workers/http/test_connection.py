"""The connection to a worker: healthy, broken, or to another program."""

from __future__ import annotations

import logging

import anyio
import httpx
import pytest

from cloudburst.errors import (
    ConfigurationError,
    KeyRefusedError,
    WorkerDiskFullError,
    WorkerProtocolError,
    WorkerStoppedError,
)
from cloudburst.models.limits import Timeouts
from cloudburst.models.task import Secrets
from cloudburst.workers.http.native import connect
from support.checked_scenes import as_checked
from support.fake_native_service import KEY
from support.native_client import CUT, left_in, rendered, to_studio

pytestmark = pytest.mark.anyio


async def test_a_scene_becomes_a_video(studio, make_scene, tmp_path):
    shares = []
    async with to_studio(studio) as renderer:
        assert await renderer.is_healthy()
        upload = await renderer.upload(as_checked(make_scene()))
        output = await renderer.encode(upload, progress=shares.append)
        download = await renderer.download(output, tmp_path / "one.mp4")
    assert shares == [0.25, 0.5, 1.0]
    assert (output.seconds, output.size) == (2.5, len(studio.video))
    assert (tmp_path / "one.mp4").read_bytes() == studio.video
    assert (download.size, download.sha256) == (len(studio.video), studio.sha256)
    assert not studio.jobs, "a video that has arrived is deleted"
    assert upload.sent == sum(map(len, studio.files.values()))
    assert studio.calls == [
        "GET health",
        *["PUT file"] * 3,
        "POST job",
        "GET events",
        "GET video",
        "DELETE job",
    ]


@pytest.mark.few(20, spread=True)
@pytest.mark.parametrize(
    "trouble", [httpx.Response(500), httpx.Response(502), CUT, httpx.ReadTimeout("slow")]
)
@pytest.mark.parametrize("route", ["HEAD file", "PUT file", "POST job", "GET events", "GET video"])
async def test_a_temporary_failure_is_retried(studio, make_scene, tmp_path, route, trouble):
    studio.script[route] = [trouble, trouble]
    await rendered(studio, make_scene(image=bytes(300_000)), tmp_path / "one.mp4")
    assert left_in(tmp_path) == ["one.mp4"]
    assert studio.calls.count(route) >= 3
    assert not studio.jobs


@pytest.mark.parametrize("route", ["PUT file", "POST job"])
async def test_a_full_disk_is_reported_at_once(studio, make_scene, tmp_path, route):
    studio.script[route] = [httpx.Response(507, json={"error": "no room for 717 bytes"})]
    began = anyio.current_time()
    with pytest.raises(WorkerDiskFullError, match="no room for 717 bytes"):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert anyio.current_time() - began < 1
    assert studio.calls.count(route) <= (3 if route == "PUT file" else 1), "it is not repeated"


NONSENSE = httpx.Response(200, content=b"?")


@pytest.mark.parametrize(
    ("route", "trouble"),
    [
        *[(route, CUT) for route in ("PUT file", "POST job", "GET events", "GET video")],
        *[(route, httpx.Response(500)) for route in ("PUT file", "POST job", "GET events")],
        ("GET video", httpx.Response(503)),
    ],
)
async def test_a_lasting_failure_means_a_stopped_worker(
    studio, make_scene, tmp_path, hasty, *, route, trouble
):
    studio.script[route] = [trouble] * 1000
    with pytest.raises(WorkerStoppedError) as caught:
        await rendered(studio, make_scene(), tmp_path / "one.mp4", hasty)
    assert caught.value.retryable
    assert left_in(tmp_path) == []
    assert not studio.jobs


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio warns of bodies that are not read
@pytest.mark.parametrize("route", ["POST job", "GET events"])
@pytest.mark.parametrize("text", ["?\n", "{}\n", '{"id": "../x", "state": "done"}\n'])
async def test_a_worker_with_invalid_answers_is_given_up_after_the_third(
    studio, make_scene, tmp_path, route, text
):
    studio.script[route] = [httpx.Response(200, text=text)] * 1000
    with anyio.fail_after(30), pytest.raises(WorkerProtocolError) as caught:
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert caught.value.retryable
    assert studio.calls.count(route) <= 3
    assert left_in(tmp_path) == []


async def test_a_long_upload_may_break_late(studio, make_scene, tmp_path, hasty):
    class Late(httpx.AsyncBaseTransport):
        cut = False

        async def handle_async_request(self, request):
            if request.method == "PUT" and not self.cut:
                self.cut = True
                await anyio.sleep(hasty.silence * 1.5)
                raise CUT
            return await studio.answer(request)

    async with connect(
        "http://w", secrets=Secrets(key=KEY), timeouts=hasty, transport=Late()
    ) as renderer:
        await renderer.upload(as_checked(make_scene()))


async def test_a_worker_that_hangs_has_stopped_after_one_silence(make_scene):
    timeouts = Timeouts(silence=2, call=0.3)

    class Hanging(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await anyio.sleep(timeouts.silence)
            raise httpx.ReadTimeout("")

    async with connect(
        "http://w", secrets=Secrets(key=KEY), timeouts=timeouts, transport=Hanging()
    ) as renderer:
        with anyio.fail_after(timeouts.silence * 1.9), pytest.raises(WorkerStoppedError):
            await renderer.upload(as_checked(make_scene()))


async def test_a_machine_that_refuses_connections_is_given_up_at_once(unused_port, make_scene):
    async with connect(
        f"http://127.0.0.1:{unused_port}", secrets=Secrets(key=KEY), timeouts=Timeouts()
    ) as renderer:
        assert not await renderer.is_healthy()
        with anyio.fail_after(30), pytest.raises(WorkerStoppedError, match="refuses connections"):
            await renderer.upload(as_checked(make_scene()))


@pytest.fixture
async def unused_port():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        return listener.extra(anyio.abc.SocketAttribute.local_port)


@pytest.mark.parametrize("route", ["PUT file", "POST job", "GET events", "GET video", "DELETE job"])
async def test_a_refused_key_is_reported_and_never_shown(
    studio, make_scene, tmp_path, caplog, route
):
    caplog.set_level(logging.DEBUG)
    studio.script[route] = [httpx.Response(401, json={"error": "no"})] * 1000
    if route == "DELETE job":
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    else:
        with pytest.raises(KeyRefusedError, match=r"refused the key.*VIDEO_API_AUTH_KEY") as caught:
            await rendered(studio, make_scene(), tmp_path / "one.mp4")
        assert caught.value.retryable, "another worker may take it"
        assert KEY not in repr(caught.value)
    async with to_studio(studio) as renderer:
        assert KEY not in repr(renderer) + repr(vars(renderer)) + repr(vars(renderer._connection))
    assert caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel"])
async def test_a_key_that_no_header_can_carry_is_not_shown(studio, key):
    with pytest.raises(ConfigurationError) as caught:
        async with to_studio(studio, key=key):
            pass
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["", "worker:5000", "ftp://w", "http://", "http://w:x", "http://[::"]
)
async def test_an_invalid_address(address):
    with pytest.raises(ConfigurationError, match="base URL"):
        async with connect(address, secrets=Secrets(key=KEY), timeouts=Timeouts()):
            pass


@pytest.mark.parametrize(
    "answer",
    [CUT, httpx.ConnectTimeout(""), httpx.Response(503), httpx.Response(200, content=b"<html>"),
     httpx.Response(200, json=[]), httpx.Response(200, json={"status": "starting"})],
)  # fmt: skip
async def test_healthy_never_raises(studio, answer):
    studio.script["GET health"] = [answer]
    async with to_studio(studio) as renderer:
        assert not await renderer.is_healthy()
        assert await renderer.is_healthy()


async def test_a_closed_connection_raises_an_error(studio, make_scene, tmp_path):
    """A connection is closed while calls of its scenes still end."""
    async with to_studio(studio) as renderer:
        upload = await renderer.upload(as_checked(make_scene()))
        output = await renderer.encode(upload, progress=lambda _: None)
    assert not await renderer.is_healthy()
    with pytest.raises(WorkerStoppedError, match="being stopped"):
        await renderer.upload(as_checked(make_scene("other", image=b"new")))
    with anyio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(WorkerStoppedError, match="being stopped"):
            await renderer.encode(upload, progress=lambda _: None)
    with pytest.raises(WorkerStoppedError, match="being stopped"):
        await renderer.download(output, tmp_path / "one.mp4")
    assert left_in(tmp_path) == []
