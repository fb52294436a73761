"""A stream of events as a response: comments while there is no event, and its end."""

from contextlib import asynccontextmanager

import anyio
import pytest

from cloudburst.testing import VirtualClockLoop
from cloudburst.web.server_sent_events import KEEP_ALIVE_SECONDS, EventStreamResponse, format_event

pytestmark = pytest.mark.anyio


def stream(*moments):
    """A response with an event at each of these times."""

    async def written():
        for moment in moments:
            await anyio.sleep_until(moment)
            yield format_event("worker.ready", {"at": moment})

    @asynccontextmanager
    async def opened():
        yield written()

    return EventStreamResponse(opened(), stop=anyio.Event())


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})])
async def test_comment_is_sent_while_there_is_no_event():
    """From then on a proxy sees that the connection is used; no event is lost or late."""
    moments, sent = (10.0, 50.0, 51.0), []

    async def send(message):
        sent.append((anyio.current_time(), message.get("body", b"")))

    await stream(*moments)({"type": "http"}, anyio.sleep_forever, send)
    comments = [moment for moment, body in sent if body.startswith(b":") and body.endswith(b"\n\n")]
    assert comments == [25.0, 40.0]
    assert [moment for moment, body in sent if body.startswith(b"event: ")] == list(moments)
    assert KEEP_ALIVE_SECONDS < 30, "the shortest limit of usual proxies"


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})])
async def test_closed_connection_cancels_the_iteration():
    sent = []

    async def receive():
        await anyio.sleep(15)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message.get("body", b""))

    await stream(10.0, 1e9)({"type": "http"}, receive, send)
    assert anyio.current_time() == 15
    assert [body for body in sent if body.startswith(b"event: ")] == [
        format_event("worker.ready", {"at": 10.0})
    ]
