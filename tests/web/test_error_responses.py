"""Errors of routes become responses without places of the server."""

from contextlib import asynccontextmanager

import anyio
import pytest
from fastapi import FastAPI

from cloudburst.errors import (
    AccessDeniedError,
    BusyError,
    EncodeError,
    InvalidScenesError,
    OutputClaimedError,
    OutputExistsError,
    SceneFault,
    WorkerStoppedError,
)
from cloudburst.models.problems import code_of, fix_of
from cloudburst.web import exception_handlers
from cloudburst.web.server_sent_events import EventStreamResponse
from support.web_apps import broken, browser

pytestmark = pytest.mark.anyio


async def test_a_route_answers_bad_input_with_4xx(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        bad = broken(make_scene("a"), "audio_path")
        answer = await http.post("/videos", json=[bad])
        assert answer.status_code == 400
        assert answer.json()["error"] == "InvalidScenesError"
        assert "server" not in answer.text
        answer = await http.post("/videos", json=[make_scene(f"s{i}") for i in range(3)])
        assert answer.status_code == 413
        assert answer.json()["message"] == "3 scenes; expected at most Limits.queued_scenes=2"
    assert not cloud.launched


async def test_task_is_kept_warm_between_the_requests_of_an_app(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        for name in "ab":
            answer = await http.post("/videos", json=[make_scene(name)])
            assert answer.json() == [f"{name}.mp4"]
            assert len(cloud.running) == len(cloud.launched) == 1
    assert not cloud.running


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (
            InvalidScenesError(faults=[SceneFault("a", "image", "text: /srv/a.png", "a picture")]),
            400,
        ),
        (OutputExistsError("there already: /srv/videos/a.mp4"), 409),
        (OutputClaimedError("process 445 on host17 is writing /srv/videos/a.mp4"), 409),
        (EncodeError("the sound of /srv/uploads/1.mp3 cannot be decoded"), 422),
        (BusyError("the queue is full"), 503),
        (WorkerStoppedError("see /var/tmp/cloudburst-1/worker.log on host17"), 503),
        (AccessDeniedError("arn:aws:iam::123456789012:user/me may not"), 500),
    ],
)
async def test_errors_become_answers_that_name_no_place(error, status, caplog):
    app = FastAPI(exception_handlers=dict(exception_handlers))

    @app.get("/")
    async def fail():
        raise error

    async with browser(app, {}) as http:
        answer = await http.get("/")
    assert answer.status_code == status
    kind = type(error).__name__
    fields = {name: answer.json()[name] for name in ("error", "code", "fix")}
    assert fields == {"error": kind, "code": code_of(kind), "fix": fix_of(kind)}
    assert fields["fix"]
    for secret in ("/srv", "/var", "445", "host17", "123456789012"):
        assert secret not in answer.text
    assert bool(caplog.records) == (status >= 500)


async def test_an_error_before_a_stream_begins_is_logged_where_its_answer_hides_it(caplog):
    app = FastAPI(exception_handlers=dict(exception_handlers))

    @asynccontextmanager
    async def refused():
        raise AccessDeniedError("arn:aws:iam::123456789012:user/me may not")
        yield

    @app.get("/videos")
    async def videos():
        return EventStreamResponse(refused(), stop=anyio.Event())

    async with browser(app, {}) as http:
        answer = await http.get("/videos")
    assert answer.status_code == 500
    (record,) = caplog.records
    assert record.getMessage() == "GET /videos: arn:aws:iam::123456789012:user/me may not"
    assert record.exc_info
