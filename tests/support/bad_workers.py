"""HTTP servers on loopback that misbehave in one way each, and one that does not."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketStream

from support.loopback import listening

KEY = "key-of-this-test"
OK = "HTTP/1.1 200 OK\r\n"
CHUNKED = f"{OK}Transfer-Encoding: chunked\r\n\r\n".encode()
GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


def mp4(content: bytes) -> bytes:
    """Return boxes of the right shape; nothing in them is a video."""
    boxes = {b"ftyp": b"isom" * 4, b"moov": b"index" * 100, b"mdat": content}
    return b"".join((len(body) + 8).to_bytes(4) + kind + body for kind, body in boxes.items())


VIDEO = mp4(b"pictures" * 4000)
SHA256 = hashlib.sha256(VIDEO).hexdigest()
DONE = {"seconds": 0.2, "size": len(VIDEO), "sha256": SHA256}
MADE = {"success": True, "download_endpoint": "/download/5-b", "size": len(VIDEO)}

Reply = bytes | Callable[[SocketStream], Awaitable[None]]
"""What is sent before the connection is closed, or what is done with it."""


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def as_json(content: object, status: str = "200 OK", *headers: str) -> bytes:
    """Return a whole answer of JSON."""
    return http(json.dumps(content).encode(), status, *headers)


def event(**facts: object) -> bytes:
    """Return a stream of one event."""
    state = {"state": "done", "progress": 1.0, "done": DONE} | facts
    return http(json.dumps(state).encode() + b"\n")


def bomb() -> bytes:
    """Return an answer of 300 kB that would decompress to 300 MB."""
    return http(gzip.compress(bytes(300_000_000), 1), "200 OK", "Content-Encoding: gzip")


def endless(head: bytes, piece: bytes) -> Reply:
    """Send a piece again and again, as fast as it is taken."""

    async def reply(stream: SocketStream) -> None:
        await stream.send(head)
        while True:
            await stream.send(piece)

    return reply


def drip(whole: bytes, *, head: bytes = b"") -> Reply:
    """Send what comes after the head one byte after another, slowly."""

    async def reply(stream: SocketStream) -> None:
        await stream.send(head)
        for at in range(len(whole)):
            await stream.send(whole[at : at + 1])
            await anyio.sleep(0.2)

    return reply


def in_crumbs(content: bytes) -> bytes:
    """Return an answer in chunks of one byte, all sent at once."""
    return CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"


async def silent(stream: SocketStream) -> None:
    """Say nothing for as long as the other side waits."""
    while True:
        await stream.receive()


@dataclass
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def route(self) -> str:
        """Return its name: ``POST job``, ``GET video``…"""
        if self.method == "POST" and self.path == "/create_video_onestep":
            return "question" if self.body == b"{}" else "POST create"
        match = re.fullmatch(
            "/(health|files|jobs|download|fetches)(?:/([^/]+))?(?:/(events|video|uploads))?",
            self.path,
        )
        if match is None:
            return "other"
        singular = {"files": "file", "jobs": "job"}
        return f"{self.method} {match[3] or singular.get(match[1], match[1])}"


@dataclass
class Worker:
    """Serves native and onestep; ``bad`` has replies that come in place of the right ones."""

    bad: dict[str, Reply] = field(default_factory=dict)
    seconds: float = 0.0
    """What an encode takes."""
    calls: Counter[str] = field(default_factory=Counter)
    url: str = ""

    async def carry(self, stream: SocketStream) -> None:
        """Serve one connection, which carries one request."""
        async with stream:
            with suppress(*GONE):
                if (reply := self.bad.get("connection")) is None:
                    request = await received(stream)
                    self.calls[request.route] += 1
                    reply = self.bad.get(request.route) or await self.behave(request)
                else:
                    self.calls["connection"] += 1
                    await stream.receive()
                if isinstance(reply, bytes):
                    await stream.send(reply)
                    await stream.send_eof()
                    with anyio.move_on_after(1):
                        while True:
                            await stream.receive()
                else:
                    await reply(stream)

    async def behave(self, request: Request) -> bytes:  # noqa: C901, PLR0911 - a table of routes
        """Return what a worker answers that is well."""
        if request.route == "GET health":
            return as_json({"status": "healthy", "authentication": {"mode": "secure"}})
        if request.headers.get("x-authentication-key") != KEY:
            return as_json({"error": "wrong key"}, "401 Unauthorized")
        match request.route:
            case "HEAD file":
                return http(b"", "404 Not Found")
            case "PUT file":
                return as_json({}, "201 Created")
            case "POST job":
                return as_json({"id": request.headers["idempotency-key"]}, "201 Created")
            case "GET events":
                await anyio.sleep(self.seconds)
                return event()
            case "GET video":
                return http(VIDEO, "200 OK", f'ETag: "{SHA256}"')
            case "DELETE job":
                return http(b"", "204 No Content")
            case "question":
                return as_json({"error": "Missing input_image"}, "400 Bad Request")
            case "POST create":
                await anyio.sleep(self.seconds)
                return as_json(MADE)
            case "GET download":
                return http(VIDEO)
        return as_json({"error": "no such thing"}, "404 Not Found")


async def received(stream: SocketStream) -> Request:
    """Return the next request of a connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    left = int(headers.get("content-length", 0)) - len(body)
    parts = [body]
    while left > 0:
        parts.append(await stream.receive())
        left -= len(parts[-1])
    method, path, _ = first.split(" ")
    return Request(method, path, headers, b"".join(parts))


@asynccontextmanager
async def serving(worker: Worker) -> AsyncGenerator[Worker]:
    """Let a worker serve on a free port of loopback."""
    async with listening(worker.carry) as worker.url:
        yield worker


# The table.

OPEN = f"{OK}Connection: close\r\n\r\n".encode()
MOVED = http(b"", "302 Found", "Location: http://127.0.0.1:9/elsewhere")
HTML = http(b"<html><body>Please sign in</body></html>")
GARBAGE = b"\x00\x01\x02 this is no HTTP\r\n\r\n" * 20
LONG_HEADS = endless(OK.encode(), b"X-Filler: " + b"x" * 1000 + b"\r\n")
CONTINUES = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
DEEP = b"[" * 30_000
CONTROL = "\x1b[2J\r\nSet-Cookie: a=b\x00"

EITHER: dict[str, tuple[str, Reply]] = {
    "answers nothing to a connection": ("connection", silent),
    "closes each connection": ("connection", b""),
    "is no HTTP server": ("connection", GARBAGE),
    "sends headers without end": ("connection", LONG_HEADS),
    "sends 100 Continue without end": ("connection", CONTINUES),
    "switches protocols": ("connection", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
    "is healthy in HTML": ("GET health", HTML),
    "is healthy elsewhere": ("GET health", MOVED),
    "is healthy in a bomb": ("GET health", bomb),
    "is healthy without end": ("GET health", endless(OPEN, b'{"a": 1, ' * 1000)),
    "is healthy byte by byte": ("GET health", drip(as_json({"status": "healthy"}))),
    "is healthy in the wrong type": ("GET health", as_json({"status": ["healthy"]})),
    "is healthy in deep brackets": ("GET health", http(DEEP)),
}
NATIVE: dict[str, tuple[str, Reply]] = {
    "wants another key": ("HEAD file", as_json({"error": "no"}, "401 Unauthorized")),
    "never says whether the key is right": ("HEAD file", silent),
    "redirects uploads": ("PUT file", MOVED),
    "takes no upload for what it is": ("PUT file", as_json({"error": "hash"}, "400 Bad Request")),
    "says that files are too large, in HTML": ("PUT file", http(b"<html>", "413 Too Large")),
    "never answers an upload": ("PUT file", silent),
    "answers an upload byte by byte": ("PUT file", drip(as_json({"a": "b" * 500}, "201 Created"))),
    "sets bad cookies": (
        "PUT file",
        as_json({}, "201 Created", *[f"Set-Cookie: {n}=; expires=\xff" for n in range(500)]),
    ),
    "names a job with control characters": ("POST job", as_json({"id": "a\x01b"})),
    "names a job with CRLF": ("POST job", as_json({"id": "a\r\nX-Y: z"})),
    "names a job with a megabyte": ("POST job", as_json({"id": "a" * 1_000_000})),
    "names a job like a path": ("POST job", as_json({"id": "../../files/x"})),
    "names a job like another host": ("POST job", as_json({"id": "@127.0.0.1:9"})),
    "names a job with a number": ("POST job", as_json({"id": 17})),
    "names no job": ("POST job", as_json({"state": "queued"})),
    "answers a job with a list": ("POST job", as_json([])),
    "answers a job in HTML": ("POST job", HTML),
    "answers a job without end": ("POST job", endless(OPEN, b'"' + b"a" * 5000)),
    "answers a job in crumbs": ("POST job", in_crumbs(b'{"id": "%s"}' % (b"a" * 50_000))),
    "answers a job with a bomb": ("POST job", bomb),
    "redirects a job": ("POST job", MOVED),
    "knows of no jobs": ("POST job", as_json({"error": "Not Found"}, "404 Not Found")),
    "refuses a job in HTML": ("POST job", http(b"<html>", "400 Bad Request")),
    "lacks contents that nobody has": (
        "POST job",
        as_json({"missing": ["\r\n" * 32, "0" * 64]}, "409 Conflict"),
    ),
    "lacks it does not say what": ("POST job", as_json({"error": "lacking"}, "409 Conflict")),
    "closes on a job": ("POST job", b""),
    "lies about the length of an answer": (
        "POST job",
        b"HTTP/1.1 201 Created\r\nContent-Length: 9999\r\n\r\n{}",
    ),
    "has two lengths": (
        "POST job",
        b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
    ),
    "has a negative length": ("POST job", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
    "has bad chunks": ("POST job", CHUNKED + b"zzzz\r\n{}\r\n0\r\n\r\n"),
    "has a chunk of 16 EB": ("POST job", CHUNKED + b"ffffffffffffffff\r\n{}"),
    "has an unknown charset": (
        "GET events",
        http(b'{"state": "running"}\n', "200 OK", "Content-Type: text/plain; charset=hex"),
    ),
    "is at 500 of 1": ("GET events", event(state="running", progress=500)),
    "is at 1e999 of 1": ("GET events", http(b'{"state": "running", "progress": 1e999}\n')),
    "is at NaN of 1": ("GET events", http(b'{"state": "running", "progress": NaN}\n')),
    "is at minus 1 of 1": ("GET events", event(state="running", progress=-1)),
    "is at half of 1": ("GET events", event(state="running", progress="half")),
    "is in no known state": ("GET events", event(state="finished")),
    "is done without a video": ("GET events", event(done=None)),
    "has a hash with CRLF": ("GET events", event(done=DONE | {"sha256": "a\r\nX-Y: z"})),
    "has a hash that is too short": ("GET events", event(done=DONE | {"sha256": "ab"})),
    "has the hash of another video": ("GET events", event(done=DONE | {"sha256": "0" * 64})),
    "has a video of 0 bytes": ("GET events", event(done=DONE | {"size": 0})),
    "has a video of minus 5 bytes": ("GET events", event(done=DONE | {"size": -5})),
    "has a video of 1 PB": ("GET events", event(done=DONE | {"size": 10**15})),
    "has a video of 1 TB": ("GET events", event(done=DONE | {"size": 10**12})),
    "has a video of 1e999 bytes": (
        "GET events",
        http(b'{"state":"done","done":{"seconds":1,"sha256":"%s","size":1e999}}\n' % (b"0" * 64)),
    ),
    "has a video of endless seconds": ("GET events", event(done=DONE | {"seconds": "inf"})),
    "has a video of minus 1 s": ("GET events", event(done=DONE | {"seconds": -1})),
    "fails with control characters": (
        "GET events",
        event(state="failed", done=None, error={"error": CONTROL + "x" * 50_000}),
    ),
    "sends a line without end": ("GET events", endless(OPEN, b"x" * 50_000)),
    "sends lines without end": (
        "GET events",
        endless(OPEN, b'{"state": "running", "progress": 0.5}\n' * 1000),
    ),
    "sends events in crumbs": ("GET events", in_crumbs(b" " * 60_000)),
    "sends a bomb of events": ("GET events", bomb),
    "sends a line byte by byte": (
        "GET events",
        drip(b'{"state": "running"' + b" " * 500, head=OPEN),
    ),
    "sends deep brackets": ("GET events", http(DEEP + b"\n")),
    "closes after each line": ("GET events", event(state="running", progress=0.5)),
    "fails always": ("GET events", as_json({"error": "ffmpeg"}, "500 Internal Server Error")),
    "redirects events": ("GET events", MOVED),
    "does not end after the last line": ("GET events", endless(OPEN, event()[-200:])),
    "sends other bytes": ("GET video", http(b"?" * len(VIDEO))),
    "sends more than it said": ("GET video", endless(OPEN, b"v" * 65_536)),
    "sends less than it said": ("GET video", http(VIDEO[:500])),
    "sends a bomb of a video": ("GET video", bomb),
    "sends another video": ("GET video", http(VIDEO, "200 OK", 'ETag: "another"')),
    "redirects to a video": ("GET video", MOVED),
    "has lost the video": ("GET video", as_json({"error": CONTROL}, "404 Not Found")),
    "has no such range, ever": ("GET video", http(b"", "416 Range Not Satisfiable")),
    "sends another range": (
        "GET video",
        http(VIDEO[9:], "206 Partial Content", "Content-Range: bytes 9-99/999999999"),
    ),
    "sends a video in crumbs": ("GET video", in_crumbs(VIDEO)),
    "sends a video byte by byte": ("GET video", drip(VIDEO, head=OPEN)),
    "announces a video byte by byte": ("GET video", drip(OPEN + VIDEO)),
    "never answers a delete": ("DELETE job", silent),
    "answers a delete without end": ("DELETE job", endless(OPEN, b"x" * 50_000)),
}
ONESTEP: dict[str, tuple[str, Reply]] = {
    "wants another key": ("question", as_json({"error": "no"}, "401 Unauthorized")),
    "never says whether the key is right": ("question", silent),
    "makes videos of nothing": ("question", as_json(MADE)),
    "has its video at another host": (
        "POST create",
        as_json(MADE | {"download_endpoint": "http://127.0.0.1:9/x"}),
    ),
    "has its video at another host, briefly": (
        "POST create",
        as_json(MADE | {"download_endpoint": "//127.0.0.1:9/x"}),
    ),
    "has its video at a path with CRLF": (
        "POST create",
        as_json(MADE | {"download_endpoint": "/x\r\nX-Y: z"}),
    ),
    "has its video at a path of 50 kB": (
        "POST create",
        as_json(MADE | {"download_endpoint": "/" + "x" * 50_000}),
    ),
    "has its video at a number": ("POST create", as_json(MADE | {"download_endpoint": 5})),
    "has a video of no size": ("POST create", as_json(MADE | {"size": None})),
    "has a video of 0 bytes": ("POST create", as_json(MADE | {"size": 0})),
    "has a video of 1 PB": ("POST create", as_json(MADE | {"size": 10**15})),
    "answers in HTML": ("POST create", HTML),
    "answers without end": ("POST create", endless(OPEN, b"x" * 50_000)),
    "answers with a bomb": ("POST create", bomb),
    "answers byte by byte": ("POST create", drip(as_json(MADE | {"filename": "x" * 500}))),
    "refuses in HTML": ("POST create", http(b"<html>", "400 Bad Request")),
    "finds it too large, in HTML": ("POST create", http(b"<html>", "413 Too Large")),
    "redirects": ("POST create", MOVED),
    "knows of no such call": ("POST create", as_json({"error": "x"}, "404 Not Found")),
    "fails always": ("POST create", as_json({"error": CONTROL}, "500 Internal Server Error")),
    "closes": ("POST create", b""),
    "never answers": ("POST create", silent),
    "sends 100 Continue without end": ("POST create", CONTINUES),
    "sends other bytes": ("GET download", http(b"?" * len(VIDEO))),
    "sends a video in crumbs": ("GET download", in_crumbs(VIDEO)),
    "sends a tag with a line break": ("GET download", http(VIDEO[:9], "200 OK", 'ETag: "\xff"')),
    "has lost the video": ("GET download", as_json({"error": "gone"}, "404 Not Found")),
}

TABLE = [
    *(("native", name, *case) for name, case in (EITHER | NATIVE).items()),
    *(("onestep", name, *case) for name, case in (EITHER | ONESTEP).items()),
]
"""Protocol, what it does, where, and how."""
