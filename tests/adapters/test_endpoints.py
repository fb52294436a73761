"""Addresses of workers that run already, lent to whoever asks first."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketAttribute
from studio import mp4

from cloudburst import Client, Limits
from cloudburst.adapters.static.endpoints import REST, open_endpoints
from cloudburst.errors import CapacityError, ConfigurationError, WorkerStoppedError
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import LaunchRequest, Protocol, TaskSpec, TaskState
from cloudburst.testing import VirtualClockLoop

pytestmark = pytest.mark.anyio

SHORT = Timeouts(silence=0.4, call=0.3, ready=1.0)
A, B, C = "http://10.0.0.1:5000", "http://10.0.0.2:5000", "http://10.0.0.3:5000"


def opened(*addresses, key="k", protocol=Protocol.ONESTEP, **more):
    return open_endpoints(addresses, key=key, protocol=protocol, timeouts=SHORT, **more)


def asked(backend, token):
    return LaunchRequest(spec=TaskSpec(), token=token, secrets=backend.new_secrets())


async def lent(backend, token):
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
async def test_addresses_that_will_not_do(addresses):
    with pytest.raises(ConfigurationError):
        async with opened(*addresses):
            pass


@pytest.mark.parametrize("more", [{"key": "two\nlines"}, {"encoders": 0}])
async def test_a_key_and_a_count_that_will_not_do(more):
    with pytest.raises(ConfigurationError):
        async with opened(A, **more):
            pass


async def test_one_text_is_no_list_of_addresses():
    with pytest.raises(ConfigurationError, match="expected base URLs"):
        async with open_endpoints(A, key="k", protocol=Protocol.NATIVE, timeouts=SHORT):
            pass


async def test_what_the_engine_is_told():
    async with opened(A, B, encoders=2) as backend:
        assert (backend.name, backend.capacity, backend.encoders) == ("endpoints", 2, 2)
        assert backend.slowness == 10
        assert backend.new_secrets().key == "k"
        assert not backend.usd_per_second
    async with opened(A, protocol=Protocol.NATIVE) as backend:
        assert not backend.slowness


async def test_each_address_is_lent_once_until_it_is_back():
    async with opened(A, B) as backend:
        first, one = await lent(backend, "1")
        _, two = await lent(backend, "2")
        assert {one, two} == {A, B}
        with pytest.raises(CapacityError):
            await backend.launcher.launch(asked(backend, "3"))
        await backend.launcher.stop(first, reason="done")
        await backend.launcher.stop(first, reason="done")
        assert (await backend.launcher.describe(first)).state is TaskState.STOPPED
        again, three = await lent(backend, "3")
        assert three == one
        assert again != first, "another stay has another name"
        await backend.launcher.stop(first, reason="done")
        assert (await backend.launcher.describe(again)).state is TaskState.RUNNING


async def test_the_same_request_lends_nothing_new():
    async with opened(A, B) as backend:
        first, _ = await lent(backend, "1")
        assert await backend.launcher.launch(asked(backend, "1")) == first
        await lent(backend, "2")
        await backend.launcher.stop(first, reason="done")
        assert await backend.launcher.launch(asked(backend, "1")) == first
        assert (await backend.launcher.describe(first)).state is TaskState.STOPPED


async def give_back(backend, task):
    await backend.launcher.stop(task, reason="done")


async def test_one_that_does_not_answer_is_not_lent_again_at_once():
    async with fake_image() as well, opened("http://127.0.0.1:9", well.url) as backend:
        for token, expected in {"1": "http://127.0.0.1:9", "2": well.url, "3": well.url}.items():
            task, found = await lent(backend, token)
            assert found == expected
            async with backend.connect(found, secrets=backend.new_secrets()) as renderer:
                assert await renderer.healthy() is (found == well.url)
            await give_back(backend, task)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})])
async def test_an_address_that_failed_rests_and_then_comes_last():
    async with opened(A, B, C) as backend:
        backend.launcher.judge(B, useless=True)
        await anyio.sleep(REST / 2)
        backend.launcher.judge(A, useless=True)
        first, found = await lent(backend, "1")
        assert found == C
        with pytest.raises(CapacityError, match="just failed"):
            await backend.launcher.launch(asked(backend, "2"))
        await anyio.sleep(REST / 2)
        assert (await lent(backend, "2"))[1] == B
        await give_back(backend, first)
        await anyio.sleep(REST)
        assert (await lent(backend, "3"))[1] == C, "it has never failed"
        third, found = await lent(backend, "4")
        assert found == A
        backend.launcher.judge(A, useless=False)
        await give_back(backend, third)
        assert (await lent(backend, "5"))[1] == A


async def test_one_that_was_given_up_before_it_was_asked_has_not_failed():
    async with opened(A, B) as backend:
        for token in "12":
            task, found = await lent(backend, token)
            async with backend.connect(found, secrets=backend.new_secrets()):
                pass
            await backend.launcher.stop(task, reason="done")
        assert (await lent(backend, "3"))[1] == A


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
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
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
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
    ):
        image.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, image.carry)
        yield image
        tasks.cancel_scope.cancel()


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


async def test_an_address_where_nobody_is_costs_no_scene(tmp_path, real_scene):
    async with fake_image() as one:
        report = await rendered(tmp_path, real_scene, "http://127.0.0.1:9", one.url)
    assert len(report.videos) == one.made == 4


async def test_one_that_loses_answers_is_used_no_more_while_there_are_others(tmp_path, real_scene):
    async with fake_image() as bad, fake_image() as good:
        bad.lose_answers = True
        report = await rendered(tmp_path, real_scene, bad.url, good.url)
    assert len(report.videos) == good.made == 4
    assert 1 <= bad.made <= 3


async def test_one_whose_line_broke_is_not_lent_again_at_once(real_scene):
    async with fake_image() as bad, opened(bad.url, A) as backend:
        bad.cut_bodies = True
        task, found = await lent(backend, "1")
        assert found == bad.url
        async with backend.connect(found, secrets=backend.new_secrets()) as renderer:
            assert await renderer.healthy()
            scene = Scene.model_validate(real_scene("one"))
            upload = await renderer.upload(scene, RenderOptions())
            with pytest.raises(WorkerStoppedError):
                await renderer.generate(upload, progress=lambda share: None)
            assert not renderer.abandoned
        await give_back(backend, task)
        assert (await lent(backend, "2"))[1] == A
        with pytest.raises(CapacityError):
            await lent(backend, "3")
