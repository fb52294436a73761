"""A run with inputs on web servers that break the rules: each scene fails with its own error.

Before the run, the servers answer as they should; it is the worker that meets the hostile answers.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import sys
from pathlib import Path

import anyio
import pytest

from cloudburst import Client, Limits, Settings, Timeouts, endpoints
from cloudburst.workers.http import retries as transfer_retries
from support.hostile_cases import CASES, SECRET
from support.hostile_servers import CONTENT, Authority, Peer, serving
from support.s3_runs import KEY, STILL, running_service
from support.short_waits import repeat_quickly

pytestmark = [pytest.mark.anyio, pytest.mark.real, pytest.mark.timeout(90)]

SERVICE = (sys.executable, str(Path(__file__).parents[1] / "support" / "serve_hasty.py"))
LARGER = {name for name in CASES if name.startswith(("endless body", "announced", "shorter"))}
TOO_LARGE = f"more than {len(CONTENT)} bytes"
LIMIT = 60.0
"""Seconds for a run, on a busy machine."""
HONEST = "honest"
HEADER_BYTES = 44
SOUND = struct.pack(
    "<4sI8sIHHIIHH4sI",
    *(b"RIFF", len(CONTENT) - 8, b"WAVEfmt ", 16, 1, 1, 8000, 16_000, 2, 16),
    *(b"data", len(CONTENT) - HEADER_BYTES),
) + bytes(len(CONTENT) - HEADER_BYTES)
"""A sound as long as the content that the hostile servers send."""
NAMES = [name for name in CASES if name != "no length"]
"""A file whose end is that of the connection is received if its size was known before."""
AT_ONCE = 5
"""Number of hostile servers of one run."""
COUNT = math.ceil(len(NAMES) / AT_ONCE)
RUNS = [range(len(NAMES))[first::COUNT] for first in range(COUNT)]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    repeat_quickly(monkeypatch)
    monkeypatch.setattr(transfer_retries, "TRANSFER_TIMEOUT", 1.0)


@pytest.fixture
def authority(tmp_path, monkeypatch):
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return made


async def behave(peer: Peer) -> None:
    """Answer requests for ranges; answer others as the case does whose number is the path."""
    path = peer.head.split(b" ")[1].decode().partition("?")[0]
    name = path.removeprefix("/").removesuffix(".wav")
    case = CASES[NAMES[int(name)]] if name != HONEST else None
    etag = b'ETag: "1"\r\n' if case and case.headers else b""
    asked = re.search(rb"range: bytes=(\d+)-(\d+)", peer.head.lower())
    if case is None or asked:
        size = len(SOUND)
        start, end = (int(asked[1]), min(int(asked[2]) + 1, size)) if asked else (0, size)
        head = b"HTTP/1.1 206 Partial Content\r\n" if asked else b"HTTP/1.1 200 OK\r\n"
        if asked:
            head += b"Content-Range: bytes %d-%d/%d\r\n" % (start, end - 1, size)
        head += etag + b"Content-Length: %d\r\n\r\n" % (end - start)
        await peer.send(head + SOUND[start:end])
    else:
        await case.handler(peer)


def expected(name: str) -> str:
    """Part of the error, whose limit is the size of the file that is known in a run."""
    return TOO_LARGE if name in LARGER else CASES[name].reason


@pytest.mark.few(1)
@pytest.mark.parametrize("numbers", RUNS)
async def test_each_scene_has_the_error_of_its_server(
    authority, make_scene, tmp_path, caplog, numbers
):
    caplog.set_level(logging.DEBUG)
    picture = make_scene("one", seconds=0.1)["image_path"]
    permission = {"CLOUDBURST_PRIVATE_INPUTS": "1", "SSL_CERT_FILE": str(authority.path)}
    with running_service(tmp_path, *SERVICE, **permission) as address:
        async with serving(behave, authority.server("localhost")) as web:
            names = [HONEST, *map(str, numbers)]
            scenes = [
                {
                    "scene_name": name,
                    "image_path": picture,
                    "audio_path": f"https://localhost:{web.port}/{name}.wav?{SECRET}",
                }
                for name in names
            ]
            async with Client(
                endpoints(address, key=KEY, protocol="native", encoders=4),
                options=STILL,
                settings=Settings(private_inputs=True),
                timeouts=Timeouts(scene=60),
                limits=Limits(workers=1),
            ) as client:
                with anyio.fail_after(LIMIT):
                    report = await client.render_all(scenes, to=tmp_path / "out")
            heads = web.heads
    errors = {entry.scene: entry.error for entry in report.scenes if entry.error}
    assert [video.scene for video in report.videos] == [HONEST]
    for number in numbers:
        name = NAMES[number]
        where = f"audio: https://localhost:{web.port}/{number}.wav?…: "
        assert errors[str(number)].startswith(f"UploadError: {where}"), name
        assert expected(name) in errors[str(number)]
    shown = f"{caplog.text} {report.model_dump_json()}"
    for secret in SECRET.split("&"):
        assert secret not in shown
    assert sum(b"range:" not in head.lower() for head in heads) >= len(names)
