"""The page ``/docs`` of a FastAPI app describes the same operations as the routes."""

import json

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException

from cloudburst import Client
from cloudburst.web import Jobs, RequestLimits, Webhooks
from cloudburst.web.access import Folders
from cloudburst.web.job_api import OPERATIONS
from cloudburst.web.submission_checks import SubmissionRules, check_submission
from support.web_apps import browser

pytestmark = pytest.mark.anyio


@pytest.fixture
def jobs(cloud, tmp_path):
    return Jobs(Client(cloud.backend), tmp_path / "jobs")


@pytest.fixture
def schema(jobs):
    app = FastAPI()
    app.include_router(jobs.router(), prefix="/api")
    return app.openapi()


def operations(schema):
    return {
        (method.upper(), path.removeprefix("/api")): operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }


def test_every_operation_is_described(schema, jobs):
    described = operations(schema)
    assert described.keys() == {(one.method, one.path) for one in OPERATIONS}
    assert described.keys() == {
        (method, route.path) for route in jobs.routes for method in route.methods - {"HEAD"}
    }
    for operation in described.values():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"] == ["jobs"]
        assert "422" not in operation["responses"], "FastAPI checks nothing"
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert all(p["description"] for p in operation["parameters"] if p["in"] != "path")
        (path,) = [path for (_, path), found in described.items() if found is operation]
        assert {part[1:-1] for part in path.split("/") if part.startswith("{")} == named


def test_bodies_and_documents_are_typed(schema):
    submit = operations(schema)["POST", "/jobs"]
    content = submit["requestBody"]["content"]
    job = content["application/json"]["schema"]
    scene = job["properties"]["scenes"]["items"]
    assert scene["required"] == ["name"]
    assert scene["properties"]["options"]["properties"]["effects"]["description"]
    nothing = Folders((), "")
    rules = SubmissionRules(
        owner="", sources=nothing, destinations=nothing, limits=RequestLimits(), webhooks=Webhooks()
    )
    assert check_submission(content["application/json"]["example"], {}, rules).metadata == {
        "order": 17
    }
    assert job["properties"]["transition"]["enum"] == ["cut", "fade", "crossfade"]
    assert content["multipart/form-data"]["schema"]["required"] == ["job"]
    reference = submit["responses"]["202"]["content"]["application/json"]["schema"]["$ref"]
    document = schema["components"]["schemas"][reference.rpartition("/")[2]]
    assert document["properties"]["progress"]["description"].startswith("Finished share")
    assert "owner" not in document["properties"]
    assert document["properties"].keys() == set(document["required"]), "responses have all fields"
    assert {"400", "409", "413", "415", "429", "507"} <= submit["responses"].keys()
    errors = submit["responses"]["400"]["content"]["application/json"]["schema"]["$ref"]
    assert errors.endswith("/ErrorDocument")


def test_every_reference_has_its_target(schema):
    text = json.dumps(schema)
    for part in text.split('"$ref": "')[1:]:
        name = part.partition('"')[0].removeprefix("#/components/schemas/")
        assert name in schema["components"]["schemas"]


async def test_dependencies_of_the_router_are_solved(jobs):
    def refuse():
        raise HTTPException(403)

    app = FastAPI()
    app.include_router(jobs.router(), prefix="/api", dependencies=[Depends(refuse)])
    async with browser(app, {}) as http:
        for method, path in (("GET", "/api/jobs"), ("HEAD", "/api/jobs"), ("POST", "/api/uploads")):
            answer = await http.request(method, path)
            assert answer.status_code == 403, path


async def test_the_page_is_served(jobs):
    app = FastAPI()
    app.include_router(jobs.router())
    async with browser(app, {}) as http:
        assert (await http.get("/docs")).status_code == 200
        spec: httpx.Response = await http.get("/openapi.json")
    assert "/jobs/{id}/events" in spec.json()["paths"]
