"""The app of a server without its process."""

import re

import pytest

from cloudburst.serve.app import PAGE
from cloudburst.web.job_api import OPERATIONS
from support.web_apps import finished, submit, upload

pytestmark = pytest.mark.anyio


async def test_page_and_api_have_headers_against_foreign_content(standing):
    async with standing() as http:
        for path in ("/", "/api/jobs", "/nothing", "/openapi.json"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'self'; img-src 'self' blob: data:"), path
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
        assert (await http.get("/api/jobs")).headers["cache-control"] == "no-store"
        assert (await http.get("/")).headers["cache-control"] == "no-cache"


def test_page_has_no_inline_script_or_style():
    for path in PAGE.rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=", text), path.name
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", text), path.name


async def test_job_of_the_api_is_rendered(standing, make_scene):
    async with standing() as http:
        image = await upload(http, make_scene("p")["image_path"])
        job = (await submit(http, {"name": "a", "image": image, "duration": 1})).json()
        assert job["links"]["job"] == f"/api/jobs/{job['id']}"
        assert (await finished(http, job))["state"] == "complete"


async def test_files_of_the_story_are_sent(standing):
    async with standing() as http:
        for scene in (await http.get("/story/story.json")).json():
            for role in ("image", "audio", "subtitle"):
                assert (await http.get(f"/story/{scene[role]}")).status_code == 200, scene


async def test_every_operation_is_in_the_description(standing):
    async with standing() as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    assert paths.keys() == {f"/api{one.path}" for one in OPERATIONS}


async def test_without_a_key_other_sites_and_hosts_are_refused(standing):
    async with standing() as http:
        headers = {"host": "attacker.example"}
        assert (await http.get("/api/jobs", headers=headers)).status_code == 403
        headers = {"origin": "http://localhost:1"}
        answer = await http.post("/api/jobs", json={"open": True}, headers=headers)
        assert answer.status_code == 403
        assert (await http.get("/../app.py")).status_code == 404
