"""The app of a server without its process."""

import json
import re

import anyio
import pytest

from cloudburst.serve.app import PAGE
from cloudburst.serve.tools import Tools
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
            assert headers["cross-origin-resource-policy"] == "same-origin"
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


TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"accept": "application/json, text/event-stream"}


async def test_tools_are_refused_to_other_sites_and_hosts(standing):
    async with standing() as http:
        assert "render" in (await http.post("/mcp", json=TOOLS, headers=ACCEPT)).text
        for header in ({"host": "attacker.example"}, {"origin": "http://localhost:1"}):
            answer = await http.post("/mcp", json=TOOLS, headers=ACCEPT | header)
            assert answer.status_code == 403, header
        answer = await http.get("/mcp", headers=ACCEPT)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert answer.json()["code"] == "method_not_allowed"
    async with standing("k" * 16) as http:
        assert (await http.post("/mcp", json=TOOLS, headers=ACCEPT)).status_code == 401
        await http.post("/session", json={"key": "k" * 16})
        header = {"origin": "http://localhost:1"}
        answer = await http.post("/mcp", json=TOOLS, headers=ACCEPT | header)
        assert answer.status_code == 403


async def test_too_large_call_of_a_tool_is_refused(standing):
    async with standing() as http:
        large = TOOLS | {"params": {"x": "x" * 5_000_000}}
        assert (await http.post("/mcp", json=large, headers=ACCEPT)).status_code == 413
        many = TOOLS | {"params": {"x": [0] * 100_000}}
        answer = await http.post("/mcp", json=many, headers=ACCEPT)
        assert answer.status_code == 400
        assert "at most 100,000 values" in answer.json()["message"]


async def test_closed_connection_ends_the_call_of_a_tool(standing, monkeypatch):
    called, disconnected, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def never(*_words):
        called.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    monkeypatch.setattr(Tools, "_call", never)
    async with standing() as http:
        call = {"name": "job", "arguments": {"job": "0" * 32}}
        body = json.dumps(TOOLS | {"method": "tools/call", "params": call}).encode()
        messages = [{"type": "http.request", "body": body}]

        async def receive():
            if messages:
                return messages.pop()
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            raise AssertionError(message)

        request = http.build_request("POST", "/mcp", content=body, headers=ACCEPT)
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/mcp",
            "query_string": b"",
            "headers": [
                *((name.lower(), value) for name, value in request.headers.raw),
                (b"content-type", b"application/json"),
            ],
        }
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http._transport.app, scope, receive, send)
            with anyio.fail_after(5):
                await called.wait()
                disconnected.set()
                await ended.wait()
