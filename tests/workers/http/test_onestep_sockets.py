"""Requests to the public image over real sockets: the worker refuses early, or disappears."""

from __future__ import annotations

import json
from contextlib import suppress

import anyio
import pytest

from cloudburst.errors import EncodeError, WorkerStoppedError
from cloudburst.models.limits import Timeouts
from cloudburst.models.task import Secrets
from cloudburst.workers.http.onestep import connect
from support.fake_native_service import KEY, mp4
from support.fake_public_image import make
from support.loopback import listening

pytestmark = pytest.mark.anyio

VIDEO = mp4()


def answer(status, body):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


MADE = answer("200 OK", json.dumps({"download_endpoint": "/d/1", "size": len(VIDEO)}).encode())
FULL = answer("413 Too Large", b'{"error": "too large"}')


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


def to(worker):
    return connect(worker.url, secrets=Secrets(key=KEY), timeouts=Timeouts(silence=5))


async def test_a_refusal_before_the_end_of_the_body_is_read(worker, make_scene):
    async with to(worker) as renderer:
        worker.plans = [(100, FULL)]
        with pytest.raises(EncodeError, match="too large"):
            await make(renderer, make_scene(image=bytes(5_000_000)))
        assert not renderer.has_abandoned_encode
    assert worker.posts == [False]


async def test_a_request_with_a_lost_answer_is_not_made_again(worker, make_scene):
    async with to(worker) as renderer:
        worker.plans = [(10**9, b"")]
        with pytest.raises(WorkerStoppedError, match="while the worker encoded"):
            await make(renderer, make_scene())
        assert renderer.has_abandoned_encode
    assert worker.posts == [True]


async def test_each_request_has_a_connection_of_its_own(worker, make_scene):
    """A reused connection that the worker closes at that moment would look like a lost answer."""
    async with to(worker) as renderer:
        for name in ("two", "three"):
            await make(renderer, make_scene(name))
            with anyio.fail_after(30):
                while worker.open:  # noqa: ASYNC110 - a socket rings no bell here
                    await anyio.sleep(0.005)
        assert not renderer.has_abandoned_encode
