"""Web apps in tests: a small one for runs, requests to it, and what it sends."""

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import anyio
import httpx
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from cloudburst import Client, Limits
from cloudburst.web import (
    Jobs,
    exception_handlers,
    get_client,
    lifespan,
)

OpenClient = Annotated[Client, Depends(get_client)]


def run_app(client):
    """An app whose runs last as long as their requests; its videos are in the current folder."""
    app = FastAPI(lifespan=lifespan(client), exception_handlers=dict(exception_handlers))

    @app.post("/videos")
    async def videos(scenes: list[dict[str, Any]], client: OpenClient) -> list[str]:
        report = await client.render_all(scenes, to=Path("videos") / uuid4().hex)
        return [video.path.name for video in report.videos]

    return app


class WithState:
    """What a server does with the lifespan's state, which httpx leaves out."""

    def __init__(self, app, state):
        self.app, self.state = app, state

    async def __call__(self, scope, receive, send):
        await self.app(scope | {"state": dict(self.state)}, receive, send)


def browser(app, state):
    transport = httpx.ASGITransport(WithState(app, state))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def broken(scene, field):
    Path(scene[field]).write_bytes(b"neither picture nor sound")
    return scene


@asynccontextmanager
async def open_jobs(cloud, folder, *, settings=None, client=None, **more):
    """Open jobs on a fake cloud, and an HTTP client of an app with them below ``/api``.

    It is Starlette's: FastAPI needs 0.2 s for the descriptions of the operations.
    """
    client = client or Client(cloud.backend, limits=Limits(workers=2), settings=settings)
    jobs = Jobs(client, folder, **more)
    app = Starlette(routes=[Mount("/api", routes=jobs.routes)])
    async with jobs.lifespan(app), browser(app, {}) as http:
        yield jobs, http


async def upload(http, path):
    """Upload a file, and return its identifier."""
    answer = await http.post("/api/uploads", content=await anyio.Path(path).read_bytes())
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def submit(http, *scenes, headers=None, **more):
    """Submit a job as JSON, and return the response."""
    return await http.post("/api/jobs", json={"scenes": scenes, **more}, headers=headers)


def job_form(scenes, *files, **more):
    """A form with a job and its files, each with a name and its content."""
    return {
        "data": {"job": json.dumps({"scenes": scenes, **more})},
        "files": [("files", file) for file in files] or [("x", b"")],
    }


def job_events(text):
    """Return number, type and data of each event in the text of a stream."""
    blocks = [
        dict(line.split(": ", 1) for line in block.split("\n"))
        for block in text.split("\n\n")
        if block
    ]
    return [
        (int(b["id"]) if "id" in b else None, b["event"], json.loads(b["data"])) for b in blocks
    ]


async def finished(http, job):
    """Wait until a job is finished, and return its state."""
    await http.get(job["links"]["events"])
    return (await http.get(job["links"]["job"])).json()
