"""Agents with the official client: over HTTP, and with a process of their own."""

import os
import signal
import sys
from pathlib import Path

import anyio
import httpx2
import mcp
import pytest
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from support.video_probe import probe

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(90)]

LOCAL = ("--backend", "local")


async def called(client, name, **arguments):
    answer = await client.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


async def test_agent_with_a_process_renders_a_film_of_local_files(make_scene, tmp_path, watch):
    root = tmp_path / "root"
    root.mkdir()
    image = Path(make_scene("a", seconds=0.2)["image_path"])
    image = await anyio.Path(image).rename(root / "a.png")
    words = ["-m", "cloudburst.cli", "mcp", "--root", str(root), *LOCAL]
    server = StdioServerParameters(
        command=sys.executable, args=words, env=os.environ | watch.environment
    )
    async with mcp.Client(server) as client:
        assert "render" in {tool.name for tool in (await client.list_tools()).tools}
        scenes = [{"name": name, "image": "a.png", "duration": 0.4} for name in "ab"]
        job = {"scenes": scenes, "options": {"size": "320x240"}, "film": True}
        made = await called(client, "render", job=job, wait_seconds=60)
        assert made["state"] == "complete", made
        found = await called(client, "results", job=made["id"])
    assert probe(found["film"]).seconds == pytest.approx(0.8, abs=0.1)
    assert watch.left_after(5) == {}


@pytest.mark.nightly
async def test_signal_ends_the_process_of_an_agent_that_keeps_its_input_open(tmp_path, watch):
    words = [sys.executable, "-m", "cloudburst.cli", "mcp", "--root", str(tmp_path), *LOCAL]
    async with await anyio.open_process(words, env=os.environ | watch.environment) as process:
        hello = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
        await process.stdin.send(hello)
        assert b'"id":1' in await process.stdout.receive()
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(10):
            await process.wait()
    assert watch.left_after(5) == {}


async def test_agent_over_http_needs_the_key(make_scene, server):
    picture = await anyio.Path(make_scene("p")["image_path"]).read_bytes()
    with server.http() as http:
        image = http.post("/api/uploads", content=picture).json()["id"]
    url = f"{server.url}/mcp"
    headers = {"authorization": f"Bearer {server.key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with mcp.Client(streamable_http_client(url, http_client=http)) as client:
            assert len((await client.list_tools()).tools) == 9
            job = {"scenes": [{"name": "a", "image": image, "duration": 0.4}]}
            made = await called(client, "render", job=job, wait_seconds=60)
            found = await called(client, "results", job=made["id"])
        with server.http() as files:
            video = found["videos"][0]["url"]
            assert video.startswith(f"{server.url}/api/jobs/")
            assert files.get(video).status_code == 200
        del http.headers["authorization"]
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert (await http.post(url, json=body)).status_code == 401
        assert (await http.get(url)).status_code == 405
