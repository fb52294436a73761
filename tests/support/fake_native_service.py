"""A render service in memory that speaks native, and misbehaves when told to."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.lowlevel
import httpx

KEY = "k-3f9a"


def mp4(content: bytes = b"pictures" * 4000, *, order: Sequence[str] = ("ftyp", "moov", "mdat")):
    """Boxes of the right shape; nothing in them is a video."""
    boxes = {"ftyp": b"isom" * 4, "moov": b"index" * 100, "mdat": content}
    return b"".join(
        (len(boxes[kind]) + 8).to_bytes(4) + kind.encode() + boxes[kind] for kind in order
    )


class Pieces(httpx.AsyncByteStream):
    """A body in pieces; an exception among them is raised, a number slept."""

    def __init__(self, *pieces: bytes | Exception | float) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await anyio.lowlevel.checkpoint()
            match piece:
                case Exception():
                    raise piece
                case bytes():
                    yield piece
                case _:
                    await anyio.sleep(piece)


class Job:
    def __init__(self, ident: str, asked: dict) -> None:
        self.id = ident
        self.asked = asked
        self.state = "done"
        self.progress = [0.25, 0.5]
        self.error: dict | None = None


class Studio:
    """Routes are named like ``PUT file``. ``script[route]`` holds answers that come first."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.jobs: dict[str, Job] = {}
        self.made: list[str] = []
        self.tokens: dict[str, str] = {}
        self.video = mp4()
        self.cover = b"\xff\xd8\xff" + b"pixels" * 500 + b"\xff\xd9"
        self.reported_cover: dict | None = {}
        """Values that differ in the report of the cover; ``None``: no cover is reported."""
        self.warnings: list[str] = []
        self.shared_seconds: float | None = None
        self.calls: list[str] = []
        self.requests: list[httpx.Request] = []
        self.script: defaultdict[str, list] = defaultdict(list)
        self.pause = 0.0
        """Seconds that each call takes."""

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.video).hexdigest()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Do what is asked, then let the answer travel: a caller may be gone before it arrives."""
        route, ident = self.route(request)
        self.calls.append(route)
        self.requests.append(request)
        body = await request.aread()
        answer = self.scripted(route, request)
        if answer is None and not self.admits(route, request):
            answer = httpx.Response(401, json={"error": "wrong key"})
        answer = answer or self.behave(route, ident, request, body)
        await anyio.sleep(self.pause)
        return answer

    def scripted(self, route: str, request: httpx.Request) -> httpx.Response | None:
        answer = self.script[route].pop(0) if self.script[route] else None
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @staticmethod
    def admits(route: str, request: httpx.Request) -> bool:
        return route == "GET health" or request.headers.get("X-Authentication-Key") == KEY

    @staticmethod
    def route(request: httpx.Request) -> tuple[str, str]:
        match = re.fullmatch(
            "/(health|files|jobs)(?:/([0-9a-z]+))?(?:/(events|video|cover))?", request.url.path
        )
        assert match, request.url.path
        what = match[3] or {"health": "health", "files": "file", "jobs": "job"}[match[1]]
        return f"{request.method} {what}", match[2] or ""

    def behave(  # noqa: C901, PLR0911
        self, route: str, ident: str, request: httpx.Request, body: bytes
    ) -> httpx.Response:
        job = self.jobs.get(ident)
        match route:
            case "GET health":
                return httpx.Response(200, json={"status": "healthy"})
            case "HEAD file":
                return httpx.Response(200 if ident in self.files else 404)
            case "PUT file":
                if hashlib.sha256(body).hexdigest() != ident:
                    return httpx.Response(400, json={"error": "the content has another hash"})
                fresh = ident not in self.files
                self.files[ident] = body
                return httpx.Response(201 if fresh else 200, json={})
            case "POST job":
                return self.take(json.loads(body), request.headers["Idempotency-Key"])
            case "GET events" if job:
                return httpx.Response(200, stream=Pieces(*self.events(job)))
            case "GET video" if job:
                return self.send(request, self.video)
            case "GET cover" if job:
                return self.send(request, self.cover)
            case "DELETE job" if not ident:
                self.jobs.clear()
                return httpx.Response(204)
            case "DELETE job" if job:
                del self.jobs[ident]
                return httpx.Response(204)
        return httpx.Response(404, json={"error": "no such thing"})

    def take(self, asked: dict, token: str) -> httpx.Response:
        if token in self.tokens:
            return httpx.Response(200, json={"id": self.tokens[token], "state": "queued"})
        contents = [asked.get(name) for name in ("image", "audio", "subtitle", "watermark")]
        if missing := [sha for sha in contents if sha and sha not in self.files]:
            return httpx.Response(409, json={"error": "upload these first", "missing": missing})
        job = Job(f"{len(self.made):032x}", asked)
        self.jobs[job.id] = job
        self.tokens[token] = job.id
        self.made.append(job.id)
        return httpx.Response(201, json={"id": job.id, "state": "queued"})

    def events(self, job: Job) -> list[bytes]:
        done = {"seconds": 2.5, "size": len(self.video), "sha256": self.sha256}
        if self.warnings:
            done["warnings"] = self.warnings
        if job.asked.get("options", {}).get("cover") and self.reported_cover is not None:
            sha256 = hashlib.sha256(self.cover).hexdigest()
            done["cover"] = {"size": len(self.cover), "sha256": sha256} | self.reported_cover
        states = [("queued", 0.0), *(("running", share) for share in job.progress)]
        lines = [{"id": job.id, "state": state, "progress": share} for state, share in states]
        last = {"id": job.id, "state": job.state, "progress": 1.0, "error": job.error}
        if self.shared_seconds is not None:
            last["shared_seconds"] = self.shared_seconds
        lines.append(last | ({"done": done} if job.state == "done" else {}))
        return [json.dumps(line).encode() + b"\n" for line in lines]

    @staticmethod
    def send(request: httpx.Request, content: bytes) -> httpx.Response:
        tag = hashlib.sha256(content).hexdigest()
        at, status, headers = 0, 200, {"ETag": f'"{tag}"'}
        asked = re.fullmatch("bytes=([0-9]+)-", request.headers.get("Range", ""))
        if asked and request.headers.get("If-Range") == headers["ETag"]:
            at, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {at}-{len(content) - 1}/{len(content)}"
        return httpx.Response(status, headers=headers, stream=Pieces(content[at:]))
