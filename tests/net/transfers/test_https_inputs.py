"""Inputs on web servers, checked before a run."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from anyio import to_thread
from PIL import Image

from cloudburst import render_frame
from cloudburst.errors import InvalidScenesError
from cloudburst.inputs.preflight import check_scenes
from cloudburst.inputs.remote_inputs import BLOCK_BYTES, RemoteInputs, open_remote_inputs
from cloudburst.inputs.remote_readers import HttpsReader, open_s3_reader
from cloudburst.models.limits import Backoff, Limits
from cloudburst.models.options import RenderOptions
from cloudburst.models.scene import CheckedScene
from cloudburst.models.settings import Settings
from cloudburst.net.session import TRUSTED_URLS, open_session
from cloudburst.redaction import redact
from support import hostile_servers as servers
from support.hostile_servers import HOST, Authority, Handler, Peer, serving

pytestmark = pytest.mark.anyio

SECRET = "sig=do-not-show"
CLOSE = b"Connection: close\r\n"


@pytest.fixture(autouse=True)
def quick_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    backoff = Backoff(first=0.01, factor=1.0, cap=0.01)
    monkeypatch.setattr("cloudburst.inputs.remote_readers.RANGE_BACKOFF", backoff)


def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((400, 500), 90).save(file, "PNG")
    return file.getvalue()


def wav(seconds: int) -> bytes:
    size = seconds * 16_000
    return (
        struct.pack("<4sI8sIHHIIHH", b"RIFF", size + 36, b"WAVEfmt ", 16, 1, 1, 8000, 16000, 2, 16)
        + struct.pack("<4sI", b"data", size)
        + bytes(size)
    )


FILES = {"/a.png": picture(), "/a.wav": wav(60)}


def asked(peer: Peer) -> tuple[str, int, int]:
    """Path and range of a request."""
    path = peer.head.split(b" ")[1].decode().partition("?")[0]
    start, end = peer.head.lower().partition(b"range: bytes=")[2].partition(b"\r")[0].split(b"-")
    return path, int(start), int(end) + 1


async def with_ranges(peer: Peer) -> None:
    path, start, end = asked(peer)
    part, size = FILES[path][start:end], len(FILES[path])
    head = b'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Length: %d\r\n' % len(part)
    head += b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (start, start + len(part) - 1, size)
    await peer.send(head + part)


async def without_ranges(peer: Peer) -> None:
    path, _, _ = asked(peer)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await peer.send(head)
    for start in range(0, len(FILES[path]), 4096):
        part = FILES[path][start : start + 4096]
        await peer.send(b"%x\r\n%s\r\n" % (len(part), part))
    await peer.send(b"0\r\n\r\n")


class Checker:
    """Checks a scene of the files of a server, and keeps what was read of them."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.context = authority.server()
        self.remote: RemoteInputs | None = None
        self.requests = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[HttpsReader]:
        async with open_session(
            TRUSTED_URLS,
            verify=self._authority.trusting,
            resolve=servers.resolve_to_loopback,
        ) as client:
            yield HttpsReader(client)

    async def check(self, handler: Handler, *, name: str = HOST) -> CheckedScene:
        async with serving(handler, self.context) as server:
            url = f"https://{name}:{server.port}"
            scene = {"name": "a", "image": f"{url}/a.png", "audio": f"{url}/a.wav?{SECRET}"}
            self.remote = RemoteInputs(
                open_s3=partial(open_s3_reader, Settings()), open_https=self.open
            )

            def check() -> CheckedScene:
                assert self.remote is not None
                with self.remote as remote:
                    (one,) = check_scenes([scene], RenderOptions(), Limits(), remote=remote)
                return one

            try:
                return await to_thread.run_sync(check)
            finally:
                self.requests = len(server.heads)


@pytest.fixture
def checker(authority: Authority) -> Checker:
    return Checker(authority)


async def test_a_server_with_ranges(checker: Checker) -> None:
    one = await checker.check(with_ranges)
    assert (one.audio_seconds, one.audio_known, one.upright) == (60.0, True, True)
    assert one.image_bytes == len(FILES["/a.png"]) > BLOCK_BYTES
    assert checker.remote is not None
    assert checker.requests == 2
    assert {file.version for file in checker.remote.files.values()} == {
        f'etag "1" {len(FILES[f"/{at.name}"])} {at}' for at in checker.remote.files
    }


async def test_a_frame_is_drawn_of_files_on_a_web_server(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(with_ranges, checker.context) as server:
        url = f"https://{HOST}:{server.port}"
        scene = {"name": "a", "image": f"{url}/a.png", "audio": f"{url}/a.wav"}
        monkeypatch.setattr(
            "cloudburst.client.preview.open_remote_inputs",
            lambda _settings: RemoteInputs(partial(open_s3_reader, Settings()), checker.open),
        )
        frame = await render_frame(scene, 59.9, jpeg=True, width=100)
    with Image.open(io.BytesIO(frame)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (100, 178))


async def test_a_server_without_ranges_and_sizes(checker: Checker) -> None:
    one = await checker.check(without_ranges)
    assert (one.audio_known, one.upright, one.image_bytes) == (False, True, 0)
    assert checker.requests == 2


async def test_a_server_with_sizes_that_ignores_ranges(
    checker: Checker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of an mp3 file is not asked for a second time."""
    monkeypatch.setitem(FILES, "/a.wav", (b"\xff\xfb\x90\x64" + bytes(413)) * 200)

    async def whole(peer: Peer) -> None:
        path, _, _ = asked(peer)
        await servers.answer(body=FILES[path])(peer)

    one = await checker.check(whole)
    assert (one.audio_known, one.image_bytes) == (False, len(FILES["/a.png"]))
    assert one.audio_seconds == pytest.approx(len(FILES["/a.wav"]) / 16_000)
    assert checker.requests == 2


async def test_a_server_that_is_busy_at_first(checker: Checker) -> None:
    times = 0

    async def busy(peer: Peer) -> None:
        nonlocal times
        times += 1
        await (servers.error(503, headers=CLOSE) if times <= 2 else with_ranges)(peer)

    assert (await checker.check(busy)).audio_seconds == 60.0
    assert checker.requests == 4


Sending = Callable[[Peer], Awaitable[Any]]


@pytest.mark.parametrize(
    ("handler", "found", "requests"),
    [
        (servers.error(404), "no such file (HTTP 404)", 2),
        (servers.error(403), "refused (HTTP 403)", 2),
        (servers.error(503, headers=CLOSE), "busy (HTTP 503)", 6),
        (servers.redirect("http://169.254.169.254/"), "forbidden address (HTTP 302", 2),
        (servers.answer(body=b"<html>Log in</html>"), "an HTML page", 2),
    ],
)
async def test_faults_name_the_file_without_its_query(
    checker: Checker, handler: Sending, found: str, requests: int
) -> None:
    with pytest.raises(InvalidScenesError) as caught:
        await checker.check(handler)
    image, audio = caught.value.faults
    assert (image.field, audio.field) == ("image", "audio")
    assert audio.found.startswith(found)
    assert audio.found.endswith("/a.wav?…")
    assert SECRET not in str(caught.value)
    assert checker.requests == requests


@pytest.mark.parametrize("query", ["token=t0k3n-of-this-file", "k=ab12&v=1"])
async def test_a_query_that_the_server_repeats_is_not_shown(
    checker: Checker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
) -> None:
    """Neither in errors nor in the logs of the HTTP library, which show all headers."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(f"{__name__}.SECRET", query)
    first = query.partition("&")[0]
    value = first.partition("=")[2]
    code = value if len(value) > 4 else "Code"
    head = f"X-Query: {query}\r\n".encode() + CLOSE

    async def repeat(peer: Peer) -> None:
        repeats = query.encode() in peer.head
        await (servers.error(403, code, f"not {first}", head) if repeats else with_ranges)(peer)

    with pytest.raises(InvalidScenesError) as caught:
        await checker.check(repeat)
    assert "HTTP 403" in str(caught.value)
    assert "X-Query" in caplog.text, "otherwise there is nothing to hide"
    shown = f"{caught.value!r} {caplog.text}"
    assert first not in shown
    assert redact(f"a worker says {first}") != f"a worker says {first}"


async def test_private_addresses_need_a_setting() -> None:
    scene = {"name": "a", "image": "https://127.0.0.1:9/a.png", "duration": 1}

    def check(settings: Settings) -> str:
        with open_remote_inputs(settings) as remote, pytest.raises(InvalidScenesError) as caught:
            check_scenes([scene], RenderOptions(), Limits(), remote=remote)
        return str(caught.value)

    closed = await to_thread.run_sync(check, Settings())
    assert "a: image: forbidden address" in closed
    assert "expected a URL that leads to a public address" in closed
    assert "CLOUDBURST_PRIVATE_INPUTS=1 also permits private addresses" in closed
    opened = await to_thread.run_sync(check, Settings(private_inputs=True))
    assert "a: image: unreachable" in opened
