"""The client inside of a web backend, through ASGI."""

import importlib.util
import inspect
import json
import os
import threading
import time
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Annotated
from uuid import UUID

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, model_serializer

from cloudburst import Client, Limits, event_adapter, local
from cloudburst.engine.event_stream import EventStream
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
from cloudburst.models.events import WorkerReady
from cloudburst.testing import FakeCloud, VirtualClockLoop
from cloudburst.uploads import UPLOAD_LIFETIME
from cloudburst.web import (
    KEEP_ALIVE_SECONDS,
    RunEvents,
    Uploads,
    exception_handlers,
    lifespan,
)
from support.project import ROOT

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
    path = ROOT / "examples" / "web_app.py"
    spec = importlib.util.spec_from_file_location("web_app", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "server").mkdir()
    monkeypatch.chdir(tmp_path / "server")
    client = Client(cloud.backend, limits=Limits(workers=1, idle=60, queued_scenes=2))
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


def form(*scenes, **more):
    """A multipart form of scenes and of the files that they name."""
    files, named = [], []
    for scene in scenes:
        named.append(dict(scene))
        for field in ("image_path", "audio_path", "subtitle_path"):
            if path := scene.get(field):
                named[-1][field] = Path(path).name
                if Path(path).is_file():
                    files.append(("files", (Path(path).name, Path(path).read_bytes())))
    return {"data": {"scenes": json.dumps(named)} | more, "files": files or [("x", b"")]}


def broken(scene, field):
    Path(scene[field]).write_bytes(b"neither picture nor sound")
    return scene


def files_in(folder):
    return list(Path(folder).iterdir())


def text_of(path):
    return Path(path).read_text()


def events(text):
    blocks = (block.split("\n") for block in text.split("\n\n") if block)
    return [(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in blocks]


async def test_the_example_is_short():
    lines = ROOT.joinpath("examples/web_app.py").read_text().splitlines()
    assert len(lines) <= 50


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
        place = answer.headers["location"]
        folder = Path("videos") / UUID(place.split("/")[2]).hex
        folder.mkdir(parents=True, exist_ok=True)  # the fake cloud writes no files
        for scene in report["scenes"]:
            folder.joinpath(scene["video"]["path"]).write_bytes(b"video")
            sent = await http.get(place + scene["video"]["path"])
            assert (sent.status_code, sent.content) == (200, b"video")
        for missing in ("c.mp4", ".cloudburst", "..%2f..%2fx.mp4"):
            assert (await http.get(place + missing)).status_code == 404, missing
        assert (await http.get("/videos/x/a.mp4")).status_code == 422
        assert cloud.running, "kept warm for the next request"

        await http.post("/videos", **form(make_scene("c")))
        assert len(cloud.launched) == 1
    assert not cloud.running


@pytest.mark.real
@pytest.mark.timeout(60)
async def test_a_video_is_answered_as_a_file(app, make_scene):
    app.router.lifespan_context = lifespan(Client(local(workers=1)))
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/video", **form(make_scene("c", seconds=0.2)))
    assert answer.headers["content-disposition"] == 'attachment; filename="c.mp4"'
    assert answer.content[4:8] == b"ftyp"


async def test_what_is_wrong_is_said_before_the_stream_begins(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        bad = broken(make_scene("a"), "image_path")
        answer = await http.post("/videos", **form(bad))
        assert answer.status_code == 400
        (fault,) = answer.json()["faults"]
        assert fault["scene"] == "a"
        assert "/" not in fault["found"]
        answer = await http.post("/videos", **form(*(make_scene(f"s{i}") for i in range(3))))
        assert answer.status_code == 503
    assert not cloud.launched


async def test_a_route_answers_bad_input_with_4xx(app, cloud, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        bad = broken(make_scene("a"), "audio_path")
        answer = await http.post("/video", **form(bad))
        assert answer.status_code == 400
        assert answer.json()["error"] == "InvalidScenesError"
        assert "server" not in answer.text
        answer = await http.post("/video", **form(make_scene("a"), make_scene("b")))
        assert (answer.status_code, answer.json()) == (400, {"detail": "expected one scene"})


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
    assert answer.json()["error"] == type(error).__name__
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
        return RunEvents(refused())

    async with browser(app, {}) as http:
        answer = await http.get("/videos")
    assert answer.status_code == 500
    (record,) = caplog.records
    assert record.getMessage() == "GET /videos: arn:aws:iam::123456789012:user/me may not"
    assert record.exc_info


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
    assert comments == [25.0, 40.0]
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


PLACES = ["/etc/passwd", "../a.png", "a.png", "", "0" * 32, ["x"], 7, "s3://films/a.png"]
"""Values that are no names of uploads."""


@pytest.mark.parametrize("path", PLACES)
async def test_a_request_cannot_name_a_file_of_the_server(app, cloud, make_scene, path):
    scene = make_scene("a") | {"image_path": path}
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        for request in (
            {"json": [scene]},
            {"data": {"scenes": json.dumps([scene])}, "files": [("x", b"")]},
        ):
            answer = await http.post("/videos", **request)
            assert answer.status_code == 400
            assert "passwd" not in answer.text
    assert not cloud.launched


@pytest.mark.parametrize(
    ("option", "path"),
    [
        ("watermark", "/etc/passwd"),
        ("watermark_path", "b.png"),
        ("font", "/etc/passwd"),
        ("font", "a.ttf"),
    ],
)
async def test_an_option_cannot_name_a_file_of_the_server(app, cloud, make_scene, option, path):
    scene = make_scene("a") | {"options": {option: path}}
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/videos", **form(scene))
    assert answer.status_code == 400
    detail = f"scenes[0]: options.{option}: expected the name of an upload"
    assert answer.json() == {"detail": detail}
    assert not cloud.launched


async def test_an_option_may_name_an_upload(app, make_scene):
    scene = make_scene("a")
    request = form(scene | {"options": {"watermark": "mark.png", "font": "Noto Sans CJK JP"}})
    (picture,) = (content for _, content in request["files"] if content[0] == "a.png")
    request["files"].append(("files", ("mark.png", picture[1])))
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        answer = await http.post("/videos", **request)
    assert answer.status_code == 200, answer.text
    assert '"path": "a.mp4"' in answer.text


async def test_uploaded_files_are_removed_after_the_answer(app, make_scene):
    async with app.router.lifespan_context(app) as state, browser(app, state) as http:
        await http.post("/videos", **form(make_scene("a")))
        await http.post("/videos", **form(make_scene("b") | {"image_path": "/etc/passwd"}))
    assert files_in("uploads") == []


def test_a_dependency_needs_nobody_to_resolve_its_annotations(tmp_path):
    """FastAPI before 0.124 evaluates those of functions only."""
    (parameter,) = inspect.signature(Uploads(tmp_path)).parameters.values()
    assert parameter.annotation is Request


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
        ({"content": b"x"}, 415),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 415),
        ({"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400),
        ({"json": {"name": "a"}}, 400),
        ({"json": []}, 400),
        ({"json": [3]}, 400),
        ({"content": b"[" * 200_000, "headers": {"content-type": "application/json"}}, 400),
        ({"json": [{"name": "n" * 1_100_000}]}, 413),
        ({"data": {"scenes": "[]", "other": "1"}, "files": [("x", b"")]}, 400),
        ({"data": {"scenes": "["}, "files": [("x", b"")]}, 400),
        ({"data": {"scenes": "x" * 1_100_000}, "files": [("x", b"")]}, 413),
        ({"files": [("f", ("a", b"1")), ("f", ("a", b"2"))]}, 400),
        ({"files": [("f", (f"{i}", b"1")) for i in range(4)]}, 413),
        ({"files": [("f", ("a", b"1" * 2_100_000))]}, 413),
    ],
)
async def test_what_is_no_upload_is_refused_and_leaves_nothing(tmp_path, request_, status):
    uploads = Uploads(tmp_path / "up", max_bytes=2_000_000, max_files=3)
    app = FastAPI()

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        return len(scenes)

    async with browser(app, {}) as http:
        answer = await http.post("/", **request_)
        assert answer.status_code == status
        unannounced = (piece for piece in [b"1" * 2_100_000])
        answer = await http.post("/", content=as_stream(unannounced), headers=MULTIPART)
        assert answer.status_code == 413
    assert not (tmp_path / "up").exists() or not list((tmp_path / "up").iterdir())


MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


async def as_stream(pieces):
    yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    for piece in pieces:
        yield piece


async def test_a_raw_upload_is_named_by_its_identifier(tmp_path, monkeypatch):
    uploads, app = Uploads(tmp_path / "up", max_bytes=100), FastAPI()

    @app.post("/uploads")
    async def upload(request: Request):
        return await uploads.store(request)

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        return [text_of(scene["image"]) for scene in scenes]

    async with browser(app, {}) as http:
        name = (await http.post("/uploads", content=b"picture")).json()
        assert (await http.post("/uploads", content=b"1" * 101)).status_code == 413
        assert (await http.post("/", json=[{"image": name}])).json() == ["picture"]
        old = time.time() - UPLOAD_LIFETIME - 1
        os.utime(tmp_path / "up" / name, (old, old))
        other = (await http.post("/uploads", content=b"sound")).json()
        assert (await http.post("/", json=[{"image": name}])).status_code == 400
        await uploads.remove("../up/" + other)
        assert (await http.post("/", json=[{"image": other}])).json() == ["sound"]
        await uploads.remove(other)
    assert files_in(tmp_path / "up") == []


async def test_a_form_that_is_cut_within_a_file_is_refused(tmp_path):
    uploads, app = Uploads(tmp_path / "up"), FastAPI()

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        return len(scenes)

    built = httpx.Request("POST", "http://app/", **form({"image_path": __file__}))
    whole, headers = built.read(), {"content-type": built.headers["content-type"]}
    async with browser(app, {}) as http:
        assert (await http.post("/", content=whole, headers=headers)).json() == 1
        answer = await http.post("/", content=whole[:-100], headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"detail": "the form ends too early"})
    assert files_in(tmp_path / "up") == []


async def test_what_a_killed_process_has_left_goes_after_a_day(tmp_path):
    left, young = (tmp_path / f"request-{digit * 32}" for digit in "ab")
    other = tmp_path / "other"
    old = time.time() - UPLOAD_LIFETIME - 1
    for folder in (left, other, young):
        folder.mkdir()
        (folder / "0.png").write_bytes(b"x")
    for folder in (left, other):
        os.utime(folder, (old, old))
    uploads = Uploads(tmp_path)
    app = FastAPI()

    @app.post("/")
    async def take(scenes: Annotated[list, Depends(uploads)]):
        (own,) = uploads._open_folders
        os.utime(own, (old, old))
        uploads._remove_old()
        assert own.exists(), "a request may take longer than a day"
        return len(scenes)

    async with browser(app, {}) as http:
        assert (await http.post("/", **form({"name": "a"}))).status_code == 200
    assert set(files_in(tmp_path)) == {other, young}


def test_an_upload_that_another_request_removes_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "gone"]))
    Uploads(tmp_path)._remove_old()


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
        with anyio.fail_after(5):
            await app(scope, receive, send)
        assert not any(b"report" in message.get("body", b"") for message in sent)
        assert list(cloud.encoding.values()) == [0], "the encode was cancelled"
    assert not cloud.running
    assert files_in("uploads") == []
