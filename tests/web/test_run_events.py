"""Runs as server-sent events, through ASGI."""

import json
import threading
from contextlib import nullcontext

import anyio
import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, model_serializer

from cloudburst import Client, event_adapter
from cloudburst.engine.event_stream import EventStream
from cloudburst.models.events import WorkerReady
from cloudburst.models.prices import US_EAST_1_RATES
from cloudburst.testing import FakeCloud, VirtualClockLoop
from cloudburst.web import RunEvents, lifespan
from cloudburst.web.server_sent_events import KEEP_ALIVE_SECONDS
from support.web_apps import broken, browser, events, files_in, form

pytestmark = pytest.mark.anyio


async def test_a_run_as_server_sent_events(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/videos", **form(make_scene("a"), make_scene("b")))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = events(answer.text)
        kinds = [event_adapter.validate_json(data).type for name, data in told[:-1]]
        assert kinds.count("scene.completed") == 2
        assert told[-1][0] == "report"
        report = json.loads(told[-1][1])
        assert report["status"] == "complete"
        assert answer.headers["location"].startswith("/videos/")
        assert cloud.running, "kept warm for the next request"

        await http.post("/videos", **form(make_scene("c")))
        assert len(cloud.launched) == 1
    assert not cloud.running


async def test_one_task_is_kept_warm_between_the_runs_of_an_app(make_scene, tmp_path):
    cloud = FakeCloud(boot=0.2, rates=US_EAST_1_RATES)  # the wait for a start is worth 3 s
    client = Client(cloud.backend)
    app = FastAPI(lifespan=lifespan(client))
    async with app.router.lifespan_context(app):
        await client.render(make_scene("a"), to=tmp_path / "videos")
        assert len(cloud.running) == 1
    assert not cloud.running


async def test_what_is_wrong_is_said_before_the_stream_begins(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        bad = broken(make_scene("a"), "image_path")
        answer = await http.post("/videos", **form(bad))
        assert answer.status_code == 400
        (fault,) = answer.json()["faults"]
        assert fault["scene"] == "a"
        assert "/" not in fault["found"]
        answer = await http.post("/videos", **form(*(make_scene(f"s{i}") for i in range(3))))
        assert answer.status_code == 413
        assert answer.json()["message"] == "3 scenes; expected at most Limits.queued_scenes=2"
    assert not cloud.launched


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualClockLoop})])
async def test_a_comment_is_sent_while_nothing_happens():
    """From then on a proxy sees that the connection is used; no event is lost or late."""

    class Report(BaseModel):
        status: str = "complete"

    class Slow:
        moments = (10.0, 50.0, 51.0)

        def __init__(self):
            self.stream = EventStream()

        def __aiter__(self):
            return aiter(self.stream)

        async def write(self):
            for moment in self.moments:
                await anyio.sleep_until(moment)
                self.stream.write(WorkerReady(at=moment, task="t", backend="b"))
            self.stream.close()

        async def until_done(self):
            return Report()

    run, sent = Slow(), []

    async def send(message):
        sent.append((anyio.current_time(), message.get("body", b"")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run.write)
        await RunEvents(nullcontext(run))({"type": "http"}, anyio.sleep_forever, send)
    comments = [moment for moment, body in sent if body.startswith(b":") and body.endswith(b"\n\n")]
    # The clock goes on by itself while a thread writes the report.
    assert [moment for moment in comments if moment < Slow.moments[-1]] == [25.0, 40.0]
    events_sent = [moment for moment, body in sent if body.startswith(b"event: worker.ready")]
    assert events_sent == list(Slow.moments)
    assert KEEP_ALIVE_SECONDS < 30, "the shortest limit of usual proxies"


async def test_a_report_is_written_as_json_in_a_thread():
    threads = []

    class Report(BaseModel):
        @model_serializer
        def dump(self) -> dict[str, int]:
            threads.append(threading.get_ident())
            return {"scenes": 10_000}

    class Ended:
        async def __aiter__(self):
            for event in ():
                yield event

        async def until_done(self):
            return Report()

    app = FastAPI()

    @app.get("/")
    async def videos():
        return RunEvents(nullcontext(Ended()))

    async with browser(app, {}) as http:
        answer = await http.get("/")
    assert events(answer.text) == [("report", '{"scenes": 10000}')]
    assert threads
    assert threading.get_ident() not in threads


async def test_the_schema_of_an_app_with_run_events_is_served(app):
    async with browser(app, {}) as http:
        answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    assert "/videos" in answer.json()["paths"]


async def test_events_and_report_name_no_folder_of_the_server(app, make_scene, tmp_path):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/videos", **form(make_scene("a")))
    assert '"path": "a.mp4"' in answer.text
    assert str(tmp_path) not in answer.text


async def test_hanging_up_cancels_the_run(app, cloud, make_scene):
    cloud.encode = 1000
    gone, sent = anyio.Event(), []
    built = httpx.Request("POST", "http://app/videos", **form(make_scene("a")))
    requests = iter([{"type": "http.request", "body": built.read()}])

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
            "headers": built.headers.raw,
            "state": dict(state),
        }
        scope["headers"] = [(name.lower(), value) for name, value in scope["headers"]]
        with anyio.fail_after(30):
            await app(scope, receive, send)
        assert not any(b"report" in message.get("body", b"") for message in sent)
        assert list(cloud.encoding.values()) == [0], "the encode was cancelled"
    assert not cloud.running
    assert files_in("uploads") == []
