"""The code on the page about jobs runs, and its tables name what there is."""

import json
import logging
import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from cloudburst import Client
from cloudburst.jobs import JobChanges, JobLimits
from cloudburst.models.scene import Scene
from cloudburst.web import RequestLimits
from cloudburst.web.access import Action
from cloudburst.web.job_api import OPERATIONS
from support.doc_pages import blocks, prose_of, quoted, table_of
from support.web_apps import browser, finished, submit, upload

pytestmark = pytest.mark.anyio

PAGE = "docs/jobs.md"


@pytest.fixture(autouse=True)
def own_logging():
    """Litestar changes the level and the handlers of the root logger, which other tests watch."""
    level, handlers = logging.root.level, [*logging.root.handlers]
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def recipe(cloud, monkeypatch, tmp_path):
    """Run the code of the page that contains a text, and return its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cloudburst.client.client.default_backend", lambda: cloud.backend)

    def run(text):
        (code,) = [block for block in blocks(PAGE, "python") if text in block]
        space = {"__name__": "recipe"}
        exec(compile(code, PAGE, "exec"), space)
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


@pytest.mark.parametrize("framework", ["FastAPI(", "Starlette(", "Litestar("])
async def test_a_web_framework(framework, recipe, make_scene):
    app = recipe(f"app = {framework}")["app"]
    async with started(app), browser(app, {}) as http:
        image = await upload(http, make_scene("p")["image_path"])
        answer = await submit(http, {"name": "a", "image": image, "duration": 1})
        job = answer.json()
        assert answer.headers["location"] == job["links"]["job"] == f"/api/jobs/{job['id']}"
        assert (await finished(http, job))["state"] == "complete"
        assert (await http.get("/api/jobs")).json()["jobs"][0]["id"] == job["id"]


async def test_the_app_itself_is_run_by_a_server(recipe):
    app = recipe("app = Starlette(")["jobs"].app
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
    space = recipe("async def authorize")
    app = FastAPI(lifespan=space["jobs"].lifespan)
    app.include_router(space["jobs"].router(), prefix="/api")
    async with started(app), browser(app, {}) as http:
        assert (await http.get("/api/jobs")).status_code == 401
        for key, status in (("ada's key", 200), ("other", 401), ("é", 401)):
            headers = {"authorization": f"Bearer {key}".encode()}
            assert (await http.get("/api/jobs", headers=headers)).status_code == status


async def test_a_program_without_a_web_framework(recipe, cloud, make_scene, capsys):
    render = recipe("async def render_in_background")["render_in_background"]
    async with Client(cloud.backend) as client:
        job = await render(client, [make_scene("a")])
    assert job.state == "complete"
    printed = capsys.readouterr().out.split()
    assert (printed[0], printed[-2]) == ("job.queued", "job.finished")
    assert Path(printed[-1]).name == "a.mp4"


@pytest.fixture
def order(make_scene, tmp_path):
    """Picture of the order 17."""
    (tmp_path / "orders").mkdir()
    return Path(make_scene("p")["image_path"]).rename(tmp_path / "orders" / "17.png")


@pytest.mark.usefixtures("order")
async def test_aiohttp(recipe):
    app = recipe("from aiohttp import web")["app"]
    async with TestClient(TestServer(app)) as http:
        job = (await (await http.post("/orders/17/video")).json())["id"]
        text = await (await http.get(f"/jobs/{job}/events")).text()
        assert re.findall(r"(?m)^event: (job\..*)$", text)[-1] == "job.finished"
        last = re.findall(r"(?m)^id: (\d+)$", text)[-1]
        rest = await http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": last})
        assert (await rest.text()) == ""
        assert (await http.get("/jobs/0/events")).status == 404


def test_the_tables_are_complete():
    requests = {row[0].strip("`") for row in table_of(PAGE, "`POST /jobs`")}
    assert requests == {f"{one.method} {one.path}" for one in OPERATIONS}
    limits = {row[0].strip("`"): row[1] for row in table_of(PAGE, "`running`")}
    assert limits.keys() == JobLimits.model_fields.keys()
    defaults = {row[0].strip("`"): row[1] for row in table_of(PAGE, "`scenes`")}
    number = {"GB": 10**9, "MB": 10**6}
    assert {
        name: int(float(text.split()[0].replace(",", "")) * number.get(text.split()[-1], 1))
        for name, text in defaults.items()
    } == RequestLimits().__pydantic_serializer__.to_python(RequestLimits())
    (sentence,) = re.findall(r"`action` is ([^.]*)\.", prose_of(PAGE))
    assert quoted(sentence) == list(Action)


def test_the_job_and_the_changes_on_the_page_are_some():
    job, changes = (json.loads(code) for code in blocks(PAGE, "json"))
    for scene in job["scenes"]:
        assert Scene.model_validate(scene)
    assert JobChanges(**changes).max_usd == 2
