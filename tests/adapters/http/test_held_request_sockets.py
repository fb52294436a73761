"""Held requests over real sockets: the worker closes, answers early, or disappears."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from cloudburst.adapters.http.onestep import connect
from cloudburst.errors import UploadError, WorkerStoppedError
from cloudburst.models.limits import Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.task import Secrets
from support.fake_native_service import KEY, mp4
from support.fake_public_image import ignore, make
from support.loopback import listening

pytestmark = pytest.mark.anyio

OPTIONS = RenderOptions()
VIDEO = mp4()


def answer(status, body):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


MADE = answer("200 OK", json.dumps({"download_endpoint": "/d/1", "size": len(VIDEO)}).encode())
FULL = answer("413 Too Large", b'{"error": "too large"}')
STALLED = answer("408 Request Timeout", b'{"error": "nothing came"}')


class Worker:
    """Worker whose POST requests follow plans: bytes of body to read, answer, end."""

    def __init__(self):
        self.plans = []
        self.posts = []
        self.open = self.answered = 0

    async def carry(self, stream):
        self.open += 1
        async with stream:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await self.serve(stream)
        self.open -= 1

    async def serve(self, stream):
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        if length == 2:  # whether it takes our key: it does not tell
            await stream.send(answer("503 Later", b"{}"))
            return
        wanted, said = self.plans.pop(0) if self.plans else (length, MADE)
        got = len(body)
        try:
            while got < min(wanted, length):
                got += len(await stream.receive())
        finally:
            self.posts.append(got == length)
        await stream.send(said)
        self.answered += 1
        if said:  # as servers do: a connection closed with unread data is reset
            with anyio.move_on_after(1):
                while True:
                    await stream.receive()


@pytest.fixture
async def worker():
    worker = Worker()
    async with listening(worker.carry) as worker.url:
        yield worker


@asynccontextmanager
async def proven(worker, scene):
    """Yield a connection over which a scene has succeeded."""
    timeouts = Timeouts(silence=5)
    async with connect(worker.url, secrets=Secrets(key=KEY), timeouts=timeouts) as renderer:
        await make(renderer, scene)
        yield renderer


async def until(happened):
    with anyio.fail_after(30):
        while not happened():  # noqa: ASYNC110 - a socket rings no bell here
            await anyio.sleep(0.005)


@pytest.mark.parametrize("said", [b"", STALLED])
async def test_a_held_request_that_the_worker_gives_up_is_sent_again(worker, make_scene, said):
    async with proven(worker, make_scene()) as renderer:
        worker.plans = [(100, said)]
        upload = await renderer.upload(make_scene("two"), OPTIONS)
        assert upload.sent
        await until(lambda: worker.answered == 2)
        await renderer.encode(upload, progress=ignore)
        assert not renderer.has_abandoned_encode
    assert worker.posts == [True, False, True]


@pytest.mark.parametrize("size", [1000, 5_000_000])
async def test_an_early_refusal_is_read(worker, make_scene, size):
    async with proven(worker, make_scene()) as renderer:
        worker.plans = [(100, FULL)]
        upload = await renderer.upload(make_scene("two", image=bytes(size)), OPTIONS)
        await until(lambda: worker.answered == 2)
        with pytest.raises(UploadError, match="too large"):
            await renderer.encode(upload, progress=ignore)
        assert not renderer.has_abandoned_encode
    assert worker.posts == [True, False]


async def test_a_request_with_a_lost_answer_is_not_made_again(worker, make_scene):
    async with proven(worker, make_scene()) as renderer:
        worker.plans = [(10**9, b"")]
        upload = await renderer.upload(make_scene("two"), OPTIONS)
        with pytest.raises(WorkerStoppedError, match="while the worker encoded"):
            await renderer.encode(upload, progress=ignore)
        assert renderer.has_abandoned_encode
    assert worker.posts == [True, True]


async def test_each_request_has_a_connection_of_its_own(worker, make_scene):
    """A reused connection that the worker closes at that moment would look like a lost answer."""
    async with proven(worker, make_scene()) as renderer:
        for name in ("two", "three"):
            await make(renderer, make_scene(name))
            await until(lambda: not worker.open)
        assert not renderer.has_abandoned_encode
