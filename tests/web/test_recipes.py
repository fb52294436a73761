"""The pages about jobs over HTTP: their code runs, and their tables name what there is."""

import json
import logging
import re
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from uvicorn.importer import import_from_string

from cloudburst import Client
from cloudburst.jobs import JobChanges, JobLimits, JobRequest, JobState
from cloudburst.jobs.webhooks.definitions import EVENT_TYPES
from cloudburst.web import RequestLimits
from cloudburst.web.access import Action
from cloudburst.web.job_api import OPERATIONS
from support.doc_blocks import in_shell, run_page
from support.doc_pages import blocks, prose_of, quoted, table_of
from support.project import ROOT
from support.web_apps import browser, finished, open_jobs, submit, upload
from support.webhook_receiver import SECRET

pytestmark = pytest.mark.anyio

RECIPES = "docs/cookbook/fastapi.md"
REFERENCE = "docs/reference/http.md"
INSTALLED = "pip would use the network"


@pytest.fixture(autouse=True)
def own_logging():
    """Litestar changes the level and the handlers of the root logger, which other tests watch."""
    level, handlers = logging.root.level, [*logging.root.handlers]
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def here(cloud, monkeypatch, tmp_path):
    """A folder with the examples, in which clients render on a fake cloud."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cloudburst.client.client.default_backend", lambda: cloud.backend)
    monkeypatch.setenv("BILLING_SECRET", SECRET)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


@pytest.fixture
def recipe(here):
    """Run the code of a page that contains a text, and return its names."""

    def run(page, text):
        (code,) = [block for block in blocks(page, "python") if text in block]
        space = {"__name__": "recipe"}
        exec(compile(code, page, "exec"), space)
        return space

    return run


@asynccontextmanager
async def started(app):
    """Do what a server does at the start and at the end of an app."""
    if isinstance(app, FastAPI | Starlette):
        async with app.router.lifespan_context(app):
            yield
    else:
        async with app.lifespan():
            yield


@contextmanager
def served(app):
    """Run an app with uvicorn, and yield its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    listener.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield "127.0.0.1:{1}".format(*listener.getsockname())
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def test_every_block_about_web_frameworks_is_run(here, monkeypatch):
    app = next(code for code in blocks(RECIPES, "python") if "FastAPI(lifespan" in code)
    (here / "app.py").write_text(app)
    monkeypatch.syspath_prepend(here)
    loaded = []
    run_page(
        RECIPES,
        instead={
            "pip install": INSTALLED,
            "uvicorn app:app": lambda code: loaded.append(
                import_from_string(code.removeprefix("uvicorn ").strip())
            ),
            "curl": "test_scenes_are_submitted_with_curl runs it while the app is served",
        },
    )
    assert isinstance(loaded[0], FastAPI)
    del sys.modules["app"]


@pytest.mark.needs("curl")
@pytest.mark.parametrize("page", [RECIPES, REFERENCE])
def test_scenes_are_submitted_with_curl(page, recipe):
    """The commands reach the app of the page, under its paths."""
    (code,) = blocks(page, "sh")[-1:]
    with served(recipe(RECIPES, "FastAPI(lifespan")["app"]) as address:
        printed = in_shell(code.replace("localhost:8000", address), {}, page)
        job, _ = json.JSONDecoder().raw_decode(printed)
        with httpx.Client(base_url=f"http://{address}") as http:
            events = http.get(job["links"]["events"]).text
            assert "event: job.finished" in events, printed
            assert http.get(job["links"]["job"]).json()["scenes"] == 1
            assert "event: scene.completed" in events
            assert {*re.findall(r"(?m)^event: (.*)$", events)} <= events_on_the_page()


@pytest.mark.needs("node")
def test_every_block_of_the_reference_is_run(here):
    shown = []

    def browse(code):
        """Run the code for browsers in Node, with objects that have the same names."""
        browser = """
            const job = {links: {events: "/events", videos: "/videos"}};
            const show = share => console.log(share), play = url => console.log(url);
            class EventSource {
              constructor(url) { this.listeners = {}; current = this; }
              addEventListener(name, listen) { this.listeners[name] = listen; }
              close() { console.log("closed"); }
            }
            let current;
        """
        after = """
            current.listeners["job.progress"]({data: '{"share": 0.5}'});
            current.listeners["job.finished"]({});
        """
        done = subprocess.run(
            ["node", "-e", browser + code + after], capture_output=True, text=True, check=True
        )
        shown.extend(done.stdout.split())

    space = {}
    run_page(
        REFERENCE,
        space,
        instead={
            "curl": "test_scenes_are_submitted_with_curl runs it while the app is served",
            "EventSource": browse,
        },
    )
    assert shown == ["0.5", "closed", "/videos"]
    job, changes, _ = (json.loads(code) for code in blocks(REFERENCE, "json"))
    assert JobRequest(**job).film
    assert JobChanges(**changes).max_usd == 2


@pytest.mark.parametrize("framework", ["FastAPI(lifespan", "Starlette(", "Litestar("])
async def test_a_web_framework(framework, recipe, make_scene):
    app = recipe(RECIPES, f"app = {framework}")["app"]
    async with started(app), browser(app, {}) as http:
        image = await upload(http, make_scene("p")["image_path"])
        answer = await submit(http, {"name": "a", "image": image, "duration": 1})
        job = answer.json()
        assert answer.headers["location"] == job["links"]["job"] == f"/api/jobs/{job['id']}"
        assert (await finished(http, job))["state"] == "complete"
        assert (await http.get("/api/jobs")).json()["jobs"][0]["id"] == job["id"]


async def test_the_app_itself_is_run_by_a_server(recipe):
    app = recipe(RECIPES, "app = Starlette(")["jobs"].app
    outer = Starlette(routes=[Mount("/", app)])
    async with browser(outer, {}) as http:
        assert (await http.get("/jobs")).status_code == 500, "no lifespan"
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await app({"type": "lifespan", "app": app, "state": {}}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_an_app_that_knows_its_users(recipe):
    space = recipe(REFERENCE, "async def authorize")
    app = FastAPI(lifespan=space["jobs"].lifespan)
    app.include_router(space["jobs"].router(), prefix="/api")
    async with started(app), browser(app, {}) as http:
        assert (await http.get("/api/jobs")).status_code == 401
        for key, status in (("ada's key", 200), ("other", 401), ("é", 401)):
            headers = {"authorization": f"Bearer {key}".encode()}
            assert (await http.get("/api/jobs", headers=headers)).status_code == status


async def test_a_program_without_a_web_framework(recipe, cloud, make_scene, capsys):
    render = recipe(RECIPES, "async def render_in_background")["render_in_background"]
    async with Client(cloud.backend) as client:
        job = await render(client, [make_scene("a")])
    assert job.state == "complete"
    printed = capsys.readouterr().out.split()
    assert (printed[0], printed[-2]) == ("job.queued", "job.finished")
    assert Path(printed[-1]).name == "a.mp4"


async def test_the_error_on_the_page_is_the_response(cloud, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs") as (_, http):
        answer = await http.get("/api/jobs/5d0c")
    assert answer.json() == json.loads(blocks(REFERENCE, "json")[-1])


def events_on_the_page():
    return {kind for row in table_of(REFERENCE, "`job.queued`") for kind in quoted(row[0])}


def test_the_tables_are_complete():
    requests = re.findall(r"(?:GET|POST|PATCH|DELETE) /[^`]+", prose_of(REFERENCE))
    assert {*requests} == {f"{one.method} {one.path}" for one in OPERATIONS}
    states = [row[0].strip("`") for row in table_of(REFERENCE, "`queued`")]
    assert states == list(JobState)
    assert events_on_the_page() == {*EVENT_TYPES, "job.progress"}
    limits = {row[0].strip("`"): row[1] for row in table_of(REFERENCE, "`running`")}
    assert limits.keys() == JobLimits.model_fields.keys()
    defaults = {row[0].strip("`"): row[1] for row in table_of(REFERENCE, "`scenes`")}
    number = {"GB": 10**9, "MB": 10**6}
    assert {
        name: int(float(text.split()[0].replace(",", "")) * number.get(text.split()[-1], 1))
        for name, text in defaults.items()
    } == asdict(RequestLimits())
    (sentence,) = re.findall(r"`action` is ([^.]*)\.", prose_of(REFERENCE))
    assert quoted(sentence) == list(Action)
