"""Bodies in many small chunks: from a slow connection, or from an attacker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import httpx
import pytest

from cloudburst.errors import WorkerProtocolError
from cloudburst.net.session import (
    INITIAL_PIECES,
    PIECES_PER_CHECKPOINT,
    InvalidResponseError,
    iter_pieces,
)
from cloudburst.testing import VirtualClockLoop
from cloudburst.workers.http.response import (
    MAX_RESPONSE_BYTES,
    iter_lines,
    read_response,
)
from support.fake_native_service import Pieces
from support.native_client import left_in, rendered

VIRTUAL = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})], ids=["virtual"]
)
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""Mark for tests that do not read a body to its end: httpx leaves generators, and trio warns."""

pytestmark = pytest.mark.anyio


class TinyChunks(httpx.AsyncByteStream):
    """Body of equal chunks that are all available at once, like those of one network read."""

    def __init__(self, piece: bytes, count: int) -> None:
        self.piece, self.count, self.taken = piece, count, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            self.taken += 1
            yield self.piece


def all_chunks(response):
    return iter_pieces(response)


def all_lines(response):
    return iter_lines(response, read_timeout=20)


async def complete(response):
    yield await read_response(response)


@ASYNCIO
@pytest.mark.parametrize("reading", [all_chunks, all_lines, complete])
async def test_many_tiny_chunks_are_refused_early(reading):
    body = TinyChunks(b"x", MAX_RESPONSE_BYTES)
    with pytest.raises(InvalidResponseError, match="too small chunks"):
        async for _ in reading(httpx.Response(200, stream=body)):
            pass
    assert body.taken < 2 * INITIAL_PIECES


@ASYNCIO
async def test_a_video_in_tiny_chunks_is_given_up(studio, make_scene, tmp_path):
    bodies = [TinyChunks(bytes([byte]), 60_000) for byte in studio.video[:9]]
    studio.script["GET video"] = [httpx.Response(200, stream=body) for body in bodies]
    with pytest.raises(WorkerProtocolError, match="too small chunks"):
        await rendered(studio, make_scene(), tmp_path / "one.mp4")
    assert sum(body.taken for body in bodies) < 10 * INITIAL_PIECES
    assert left_in(tmp_path) == []


async def test_other_tasks_run_while_chunks_arrive():
    count, turns = 20 * PIECES_PER_CHECKPOINT, 0

    async def other():
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        async for _ in iter_pieces(httpx.Response(200, stream=TinyChunks(bytes(1000), count))):
            pass
        tasks.cancel_scope.cancel()
    assert turns > 10


async def test_packets_of_a_fast_connection_and_lines_of_a_file_are_accepted():
    for size in (536, 1380, 256):
        body = TinyChunks(bytes(size), 20_000)
        async for _ in iter_pieces(httpx.Response(200, stream=body)):
            pass
        assert body.taken == body.count


@VIRTUAL
async def test_tiny_packets_of_a_slow_connection_are_accepted():
    """80 bytes every 2 ms are 40 kB a second."""
    response = httpx.Response(200, stream=Pieces(*[bytes(80), 0.002] * 20_000))
    assert [len(chunk) async for chunk in iter_pieces(response)] == [80] * 20_000
