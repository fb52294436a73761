"""The public image in memory: it makes a video of every body that it gets whole."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx

from cloudburst.models.limits import Timeouts
from cloudburst.models.options import RenderOptions
from cloudburst.models.task import Secrets
from cloudburst.workers.http.onestep import connect
from support.checked_scenes import as_checked
from support.fake_native_service import KEY, Pieces, mp4


class Received:
    """A POST as it came in."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.length = 0
        self.whole = False
        self.answered = False
        self.ended = False
        """Answered or cut."""

    @property
    def asked(self) -> dict:
        return json.loads(self.bytes)

    @property
    def image(self) -> bytes:
        return base64.b64decode(self.asked["input_image"])


class PublicImage(httpx.AsyncBaseTransport):
    """``script[route]`` holds answers that come first: a response, an exception, or a function.

    In front of those of a POST may be a number: bytes of its body after which it happens.
    """

    def __init__(self) -> None:
        self.video = mp4(order=("ftyp", "mdat", "moov"))
        self.seconds = 0.0
        """That an encode takes."""
        self.pause = 0.0
        """That each block of a body takes."""
        self.full = 10**12
        """Bytes of a body after which it reads no further, until `go`."""
        self.go = anyio.Event()
        self.done: anyio.Event | None = None
        """Ends encodes, in place of their time."""
        self.posts: list[Received] = []
        self.requests: list[httpx.Request] = []
        self.encoded: Counter[bytes] = Counter()
        """How often each picture was made a video of."""
        self.at_work = 0
        self.script: defaultdict[str, list] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        route = f"{request.method} {request.url.path.split('/')[1]}"
        match route:
            case "GET health":
                return self.scripted(route, request) or httpx.Response(
                    200, json={"status": "healthy", "authentication": {"mode": "secure"}}
                )
            case "POST create_video_onestep":
                return await self.create(request)
            case "GET download":
                return self.scripted(route, request) or self.send()
        raise AssertionError(route)

    def scripted(self, route: str, request: httpx.Request) -> httpx.Response | None:
        answer = self.script[route].pop(0) if self.script[route] else None
        if isinstance(answer, Callable):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def create(self, request: httpx.Request) -> httpx.Response:
        received = Received()
        self.posts.append(received)
        received.length = int(request.headers["Content-Length"])
        try:
            answer = await self.receive(request, received)
            received.answered = True
            return answer
        finally:
            received.ended = True

    async def receive(self, request: httpx.Request, received: Received) -> httpx.Response:
        script, after = self.script["POST"], 10**12
        if script and isinstance(script[0], int):
            after = script.pop(0)
        async for block in request.stream:
            received.bytes += block
            await anyio.sleep(self.pause)
            if len(received.bytes) >= self.full:
                await self.go.wait()
            if len(received.bytes) >= after and (answer := self.scripted("POST", request)):
                return answer
        assert len(received.bytes) == received.length
        received.whole = True
        if request.headers.get("X-Authentication-Key") != KEY:
            return httpx.Response(401, json={"error": "Authentication failed"})
        self.encoded[received.image] += 1
        self.at_work += 1
        # Cut here, the client is gone and it goes on.
        await (self.done.wait() if self.done else anyio.sleep(self.seconds))
        self.at_work -= 1
        return self.scripted("POST", request) or self.made()

    def made(self) -> httpx.Response:
        size, there = len(self.video), "/download/5-b"
        told = {"success": True, "file_id": "5-b", "download_endpoint": there, "size": size}
        return httpx.Response(200, json=told)

    def send(self) -> httpx.Response:
        return httpx.Response(200, stream=Pieces(self.video))


def to_image(image: PublicImage, timeouts: Timeouts | None = None, key: str = KEY):
    secrets = Secrets(key=key)
    return connect("http://w", secrets=secrets, timeouts=timeouts or Timeouts(), transport=image)


def ignore(share: float) -> None:
    pass


async def make(renderer, scene, to: Path | None = None, options: RenderOptions | None = None):
    upload = await renderer.upload(as_checked(scene, options or RenderOptions()))
    output = await renderer.encode(upload, progress=ignore)
    return await renderer.download(output, to) if to else output
