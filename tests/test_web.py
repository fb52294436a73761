"""The client inside of a web backend, through ASGI."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import anyio
import httpx
import pytest

from cloudburst import Client, Limits, event_adapter
from cloudburst.testing import FakeCloud
from cloudburst.web import lifespan

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def cloud():
    return FakeCloud()


@pytest.fixture
def app(cloud, monkeypatch, tmp_path):
    """The example itself, on a fake cloud, writing into a folder that goes again."""
    path = Path(__file__).parent.parent / "examples" / "web_app.py"
    spec = importlib.util.spec_from_file_location("web_app", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    client = Client(cloud.backend, limits=Limits(workers=1, idle=60, waiting=2))
    module.app.router.lifespan_context = lifespan(client)
    return module.app


class WithState:
    """What a server does with the lifespan's state, which httpx leaves out."""

    def __init__(self, app, state):
        self.app, self.state = app, state

    async def __call__(self, scope, receive, send):
        await self.app(scope | {"state": dict(self.state)}, receive, send)


def browser(app, state):
    transport = httpx.ASGITransport(WithState(app, state))
    return httpx.AsyncClient(transport=transport, base_url="http://app")


def events(text):
    blocks = (block.split("\n") for block in text.split("\n\n") if block)
    return [(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in blocks]


async def test_the_example_is_short():
    lines = Path(__file__).parent.parent.joinpath("examples/web_app.py").read_text().splitlines()
    assert len(lines) <= 40


async def test_a_run_as_server_sent_events(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/videos", json=[make_scene("a"), make_scene("b")])
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer.text)
        kinds = [event_adapter.validate_json(data).type for name, data in told[:-1]]
        assert kinds.count("scene.completed") == 2
        assert told[-1][0] == "report"
        assert json.loads(told[-1][1])["status"] == "complete"
        assert cloud.running, "kept warm for the next request"

        answer = await http.post("/video", json=make_scene("c"))
        assert answer.json()["scene"] == "c"
        assert len(cloud.launched) == 1
    assert not cloud.running


async def test_what_is_wrong_is_said_before_the_stream_begins(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        bad = make_scene("a") | {"image_path": "nowhere.png"}
        answer = await http.post("/videos", json=[bad])
        assert answer.status_code == 400
        (fault,) = answer.json()["faults"]
        assert fault["scene"] == "a"
        answer = await http.post("/videos", json=[make_scene(f"s{i}") for i in range(3)])
        assert answer.status_code == 503
    assert not cloud.launched


async def test_hanging_up_cancels_the_run(app, cloud, make_scene):
    cloud.encode = 1000
    gone, sent = anyio.Event(), []
    requests = iter([{"type": "http.request", "body": json.dumps([make_scene("a")]).encode()}])

    async def receive():
        if message := next(requests, None):
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if b"scene.encoding" in message.get("body", b""):
            gone.set()

    async with app.router.lifespan_context(app) as state:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/videos",
            "raw_path": b"/videos",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "state": dict(state),
        }
        with anyio.fail_after(5):
            await app(scope, receive, send)
        assert not any(b"report" in message.get("body", b"") for message in sent)
        assert list(cloud.encoding.values()) == [0], "nobody encodes for nobody"
    assert not cloud.running
