"""Bodies of requests that arrive slowly, or not at all."""

from pathlib import Path

import anyio
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from trio.testing import MockClock

from cloudburst.web.request_limits import MAX_PAUSE_SECONDS, full_disk_refused, limited_body

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def request(pieces):
    """A request whose body has these pieces: seconds before each, and its number of bytes."""
    rest = iter(pieces)

    async def receive():
        seconds, size = next(rest, (0, 0))
        await anyio.sleep(seconds)
        return {"type": "http.request", "body": b"1" * size, "more_body": size > 0}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def received(pieces):
    return sum([len(chunk) async for chunk in limited_body(request(pieces), 10**9)])


@pytest.mark.parametrize(
    "pieces",
    [[(MAX_PAUSE_SECONDS + 1, 1)], [(1, 10**6), (MAX_PAUSE_SECONDS + 1, 1)], [(1, 1)] * 100],
    ids=["nothing", "pause", "trickle"],
)
async def test_a_body_that_arrives_too_slowly_is_refused(pieces):
    begin = anyio.current_time()
    with pytest.raises(HTTPException) as caught:
        await received(pieces)
    assert caught.value.status_code == 408
    assert caught.value.headers == {"connection": "close"}
    assert anyio.current_time() - begin < 2 * MAX_PAUSE_SECONDS


async def test_a_slow_network_is_fast_enough():
    assert await received([(50, 1)] + [(10, 20_000)] * 100) == 2_000_001


def test_a_full_disk_is_a_status_of_its_own():
    with pytest.raises(HTTPException) as caught, full_disk_refused():
        Path("/dev/full").write_bytes(b"x")
    assert caught.value.status_code == 507
    with pytest.raises(FileNotFoundError), full_disk_refused():
        Path("/dev/missing/x").read_bytes()
