"""Names, places and months of jobs over HTTP."""

from __future__ import annotations

from contextlib import nullcontext
from decimal import Decimal

import pytest

from cloudburst import Client, Limits
from cloudburst.errors import ConfigurationError
from cloudburst.jobs import Places
from cloudburst.testing import FakeCloud
from cloudburst.web import Access, Jobs
from support.web_apps import finished, open_jobs, submit, upload

pytestmark = pytest.mark.anyio


def by_header(request, _):
    return Access(owner=request.headers.get("x-owner", "ada"))


async def scene_of(http, make_scene, name):
    made = make_scene(name)
    image, audio = [await upload(http, made[field]) for field in ("image_path", "audio_path")]
    return {"name": name, "image": image, "audio": audio}


async def test_a_job_is_named_found_and_renamed(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs", authorize=by_header) as (_, http):
        scene = await scene_of(http, make_scene, "a")
        job = (await submit(http, scene, name="Spring")).json()
        done = await finished(http, job)
        assert (done["name"], done["place"], done["max_usd"]) == ("Spring", None, None)
        answer = await http.patch(job["links"]["job"], json={"name": "Été"})
        assert (answer.status_code, answer.json()["name"]) == (200, "Été")
        found = (await http.get("/api/jobs", params={"search": "éT"})).json()
        assert [one["id"] for one in found["jobs"]] == [job["id"]]
        month = done["created_at"][:7]
        assert found["months"] == [{"month": month, "jobs": 1, "usd": "0"}]
        assert (await http.get("/api/jobs", params={"search": "spring"})).json()["jobs"] == []


async def test_only_the_owner_renames_a_job_and_only_to_a_text(cloud, make_scene, tmp_path):
    async with open_jobs(cloud, tmp_path / "jobs", authorize=by_header) as (_, http):
        scene = await scene_of(http, make_scene, "a")
        url = (await submit(http, scene)).json()["links"]["job"]
        eve = {"x-owner": "eve"}
        assert (await http.patch(url, json={"name": "x"}, headers=eve)).status_code == 404
        for body in ({}, {"name": "x" * 201}, {"name": 1}, {"name": None}, []):
            assert (await http.patch(url, json=body)).status_code == 400, body
        for text in (b"", b"[" * 100_000, b'{"name": "\\ud800"}'):
            assert (await http.patch(url, content=text)).status_code == 400
        assert (await http.get(url)).json()["name"] == ""


async def test_a_place_is_refused_unless_the_app_offers_it(cloud, make_scene, tmp_path):
    tasks = FakeCloud(name="fargate")
    client = Client(cloud.backend, limits=Limits(max_usd=Decimal(1)))
    places = Places(fargate=tasks.backend, workers=2)
    async with open_jobs(cloud, tmp_path / "jobs", client=client, places=places) as (_, http):
        scene = await scene_of(http, make_scene, "a")
        refused = await submit(http, scene, place="both", workers=3)
        assert refused.status_code == 400
        faults = [(one["field"], one["expected"]) for one in refused.json()["faults"]]
        assert faults == [("place", "fargate, null"), ("workers", "at most 2")]
        job = (await submit(http, scene, place="fargate", tier=1, max_usd="0.5")).json()
        done = await finished(http, job)
        assert (done["state"], done["place"], done["tier"]) == ("complete", "fargate", "STANDARD")
        assert len(tasks.launched) == 1


@pytest.mark.parametrize("usd", [None, "1"])
async def test_an_app_that_offers_fargate_needs_a_budget(cloud, tmp_path, usd):
    client = Client(cloud.backend, limits=Limits(max_usd=None if usd is None else Decimal(usd)))
    places = Places(fargate=FakeCloud().backend)
    expected = nullcontext() if usd else pytest.raises(ConfigurationError, match="owner_usd=")
    with expected:
        async with Jobs(client, tmp_path / "jobs", places=places).lifespan():
            pass
