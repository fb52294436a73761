"""Transfers between the service and servers on loopback."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio import create_task_group

from cloudburst.service import transfers
from cloudburst.service.app import build_app
from support import hostile_servers as servers
from support.hostile_servers import CONTENT, OK, Peer, Server, serving
from support.service_caller import Caller, OpenCaller, eventually

pytestmark = pytest.mark.anyio

SECRET = "X-Amz-Signature=0123456789abcdef"
CONTENT_SHA = hashlib.sha256(CONTENT).hexdigest()
CREATED = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\n'


def url(server: Server, path: str = "/bucket/key.png") -> str:
    return f"http://127.0.0.1:{server.port}{path}?{SECRET}"


def fetch_of(server: Server, **more: Any) -> dict[str, Any]:
    return {"url": url(server), "max_bytes": 10**6, "public_only": False, **more}


async def posted(to: Caller, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of a transfer."""
    answer = await to.http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def failure_of(to: Caller, path: str, body: dict[str, Any]) -> tuple[str, str]:
    failure = (await posted(to, path, body))[-1]["failure"]
    return failure["problem"], failure["reason"]


async def test_a_fetched_file_is_stored_under_its_hash(caller: OpenCaller) -> None:
    async with caller() as to, serving(servers.answer(OK + b'ETag: "1"\r\n'), None) as server:
        for size in (len(CONTENT), None):
            lines = await posted(to, "/fetches", fetch_of(server, size=size))
            assert lines[-1] == {"received": len(CONTENT), "sha256": CONTENT_SHA, "etag": '"1"'}
        assert (await to.http.head(f"/files/{CONTENT_SHA}")).status_code == 200
        assert (to.service.folder / "files" / CONTENT_SHA).read_bytes() == CONTENT
        assert to.files() == [f"files/{CONTENT_SHA}"]


async def test_a_fetch_that_fails_says_why_and_keeps_nothing(caller: OpenCaller) -> None:
    async def problem(**more: Any) -> str:
        return (await failure_of(to, "/fetches", fetch_of(server, **more)))[0]

    async with caller(body_bytes=20_000) as to:
        async with serving(servers.error(404, "NoSuchKey"), None) as server:
            assert await problem() == "missing"
            assert await problem(public_only=True) == "forbidden address"
            local = f"https://127.0.0.1:{server.port}/"
            assert await problem(url=local, public_only=True) == "forbidden address"
            assert await problem(url="https://169.254.169.254/") == "forbidden address"
            assert await problem(url="ftp://localhost/") == "invalid"
        async with serving(servers.endless_body, None) as server:
            assert await problem() == "too large", "than the service accepts"
            assert await problem(size=10**12, max_bytes=10**13) == "too large"
            assert await problem(max_bytes=5000) == "too large", "than the caller accepts"
        async with serving(servers.cut_in_body, None) as server:
            assert await problem() == "unreachable"
        async with serving(servers.answer(), None) as server:
            assert await problem(size=5) == "changed"
        assert await problem() == "unreachable", "the server is gone"
        assert to.files() == []


async def test_a_fetch_without_room_on_the_disk(
    caller: OpenCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with caller(reserve_bytes=2**60) as to, serving(servers.answer(), None) as server:
        for size in (len(CONTENT), None):
            problem, _ = await failure_of(to, "/fetches", fetch_of(server, size=size))
            assert problem == "no space"
        assert to.files() == []
    async with caller() as to, serving(servers.endless_body, None) as server:

        def usage(folder: Path) -> SimpleNamespace:
            used = sum(path.stat().st_size for path in folder.iterdir())
            return SimpleNamespace(free=10**7 - used)

        monkeypatch.setattr(shutil, "disk_usage", usage)
        problem, reason = await failure_of(to, "/fetches", fetch_of(server, max_bytes=10**8))
        assert (problem, reason) == (
            "no space",
            "not enough free disk space on the worker at the moment",
        )
        assert to.files() == []


@pytest.mark.parametrize(
    "body",
    [
        {"url": f"http://localhost/?{SECRET}{'x' * 9000}", "max_bytes": 1},
        {"url": f"http://localhost/?{SECRET}", "max_bytes": -1},
        {"url": f"http://localhost/?{SECRET}"},
        {"url": {"a": SECRET}, "max_bytes": 1},
        {"url": "x", "max_bytes": 1, "headers": {"Cookie": f"{SECRET}\r\n"}},
        {"url": "x", "max_bytes": 1, "more": SECRET},
        [SECRET],
    ],
)
async def test_a_rejected_request_does_not_show_its_url(caller: OpenCaller, body: Any) -> None:
    async with caller() as to:
        ident = await to.start({"do": "render"})
        await to.until(ident, "done")
        for path in ("/fetches", f"/jobs/{ident}/uploads"):
            answer = await to.http.post(path, json=body)
            assert answer.status_code == 400
            assert SECRET not in answer.text
        broken = await to.http.post("/fetches", content=f"{{{SECRET}")
        assert (broken.status_code, SECRET in broken.text) == (400, False)


async def stream(to: Caller, body: dict[str, Any], lines: list[bytes], leave: anyio.Event) -> None:
    """A fetch as the server sees it; its caller disconnects at an event."""
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            lines.append(message["body"])

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/fetches",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"x-authentication-key", b"correct horse"),
            (b"transfer-encoding", b"chunked"),
        ],
    }
    await build_app(to.service)(scope, receive, send)


async def test_a_silent_fetch_sends_lines_and_ends_with_its_caller(caller: OpenCaller) -> None:
    """Until then the service is in use; afterwards nothing of the file is left."""
    leave, lines, gone = anyio.Event(), [], []

    async def silent(peer: Peer) -> None:
        await servers.silent_body(peer)
        gone.append(True)

    async with (
        caller(heartbeat_seconds=0.05) as to,
        serving(silent, None) as server,
        create_task_group() as tasks,
    ):
        tasks.start_soon(stream, to, fetch_of(server), lines, leave)
        await eventually(lambda: len(lines) >= 3)
        assert all(json.loads(line) == {} for line in lines), "nothing was written yet"
        assert to.service.idle_seconds() == 0
        assert len(to.files()) == 1
        leave.set()
        await eventually(lambda: bool(gone))
        await eventually(lambda: to.files() == [])
        await eventually(lambda: to.service.idle_seconds() > 0)


async def test_fetches_above_the_limit_wait(caller: OpenCaller) -> None:
    release = anyio.Event()

    async def late(peer: Peer) -> None:
        await release.wait()
        await servers.answer()(peer)

    results: list[str] = []

    async def fetch() -> None:
        results.append((await posted(to, "/fetches", fetch_of(server)))[-1]["sha256"])

    limit = transfers.MAX_FETCHES
    async with caller() as to, serving(late, None) as server, create_task_group() as tasks:
        for _ in range(limit + 2):
            tasks.start_soon(fetch)
        await eventually(lambda: len(server.heads) >= limit)
        await anyio.sleep(0.05)
        assert len(server.heads) == limit
        release.set()
        await eventually(lambda: len(results) == limit + 2)
    assert set(results) == {CONTENT_SHA}


async def storing(peer: Peer) -> None:
    stored = await peer.read_body()
    name = peer.head.split(b"/")[2].partition(b"?")[0].decode()
    BODIES.append((name, stored))
    await servers.answer(CREATED, b"")(peer)


BODIES: list[tuple[str, bytes]] = []


async def test_slow_web_servers_do_not_delay_fetches_from_s3(caller: OpenCaller) -> None:
    async with (
        caller() as to,
        serving(servers.answer(OK), None) as server,
        AsyncExitStack() as held,
    ):
        for _ in range(transfers.MAX_FETCHES):
            await held.enter_async_context(to.service.transfers.fetch_slots(public_only=True))
        with anyio.fail_after(30):
            lines = await posted(to, "/fetches", fetch_of(server))
        assert lines[-1]["sha256"] == CONTENT_SHA


async def test_results_of_a_job_are_written_in_parts(caller: OpenCaller) -> None:
    BODIES.clear()
    async with caller() as to, serving(storing, None) as server:
        ident = await to.start({"do": "cover"})
        await to.until(ident, "done")
        job = to.service.jobs.find(ident)
        assert job is not None
        content = job.video.read_bytes()
        path, headers = f"/jobs/{ident}/uploads", {"x-amz-meta-a": "b"}

        cover = [{"url": url(server, "/b/c"), "headers": headers, "size": len(b"a picture")}]
        lines = await posted(to, path, {"file": "cover", "parts": cover})
        assert lines[-1] == {"sent": 9, "etags": ['"abc"']}
        assert not job.delivered, "the video was not written yet"
        parts = [
            {"url": url(server, "/b/1"), "offset": 0, "size": 5},
            {"url": url(server, "/b/2"), "offset": 5, "size": len(content) - 5},
        ]
        lines = await posted(to, path, {"file": "video", "parts": parts})
        assert lines[-1] == {"sent": len(content), "etags": ['"abc"', '"abc"']}
        assert job.delivered
    assert [("c", b"a picture"), ("1", content[:5]), ("2", content[5:])] == BODIES
    assert b"x-amz-meta-a: b\r\n" in server.heads[0]


async def test_uploads_that_are_rejected(caller: OpenCaller) -> None:
    async with caller() as to:
        ident = await to.start({"do": "render"})
        size = (await to.until(ident, "done"))["done"]["size"]
        part = [{"url": "http://127.0.0.1:1/", "size": size}]
        body = {"file": "cover", "parts": part}
        assert (await to.http.post(f"/jobs/{ident}/uploads", json=body)).status_code == 404
        body = {"file": "video", "parts": part}
        assert (await to.http.post("/jobs/x/uploads", json=body)).status_code == 404
        running = await to.start({"do": "hang"})
        assert (await to.http.post(f"/jobs/{running}/uploads", json=body)).status_code == 409


async def test_an_upload_that_fails_does_not_count_as_delivered(caller: OpenCaller) -> None:
    async def exists(peer: Peer) -> None:
        await peer.read_body()
        await servers.error(412, "PreconditionFailed")(peer)

    async with caller() as to, serving(exists, None) as server:
        ident = await to.start({"do": "render"})
        size = (await to.until(ident, "done"))["done"]["size"]
        body = {"file": "video", "parts": [{"url": url(server), "size": size}]}
        problem, reason = await failure_of(to, f"/jobs/{ident}/uploads", body)
        assert (problem, reason) == ("exists", "HTTP 412 PreconditionFailed")
        job = to.service.jobs.find(ident)
        assert job is not None
        assert not job.delivered
        job.video.unlink()
        problem, reason = await failure_of(to, f"/jobs/{ident}/uploads", body)
        assert (problem, reason) == ("invalid", "the job was deleted")


async def test_no_log_line_shows_the_query_of_a_url(
    caller: OpenCaller, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of a transfer that succeeds nor of one that fails, at any level."""
    for name in (None, "httpx", "httpcore", "cloudburst", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    for handler in (
        servers.answer(),
        servers.no_http,
        servers.error(403, "X"),
        servers.cut_in_body,
    ):
        async with caller() as to, serving(handler, None) as server:
            lines = await posted(to, "/fetches", fetch_of(server))
        assert SECRET.encode() in server.heads[0]
        assert SECRET not in json.dumps(lines)
    shown = [record.getMessage() + str(record.exc_text) for record in caplog.records]
    assert any(line.startswith("HTTP Request: GET http://127.0.0.1:") for line in shown)
    assert [line for line in shown if "Signature" in line or "0123456789" in line] == []
