"""Tools for agents (MCP). Each calls operations of `Jobs` in this process, as a browser does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast
from urllib.parse import urljoin

import anyio
import httpx
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.stdio import stdio_server
from pydantic import Field, ValidationError, WithJsonSchema

from cloudburst.errors import InvalidScenesError
from cloudburst.jobs import JobState
from cloudburst.jobs.folder import film_name
from cloudburst.jobs.public_json import public_faults
from cloudburst.media.input_error import InvalidInputError
from cloudburst.models.locations import is_s3, is_url
from cloudburst.models.options import describe_field
from cloudburst.web import Jobs
from cloudburst.web.job_documents import job_body
from cloudburst.web.submission_checks import locate_files

MAX_WAIT_SECONDS = 60.0
# Seconds between two looks at a job for which a tool waits.
POLL_SECONDS = 0.5
# Scheme and host in requests within this process, which every server accepts.
INNER_URL = "http://localhost"
INSTRUCTIONS = (
    "Render scenes to videos: each scene is a picture or title card with audio or a duration, and "
    "optional subtitles. Look with preview_frame, ask plan for time and cost, then call render, "
    "which returns a job at once; job and results follow it. A refused call lists all faults with "
    "what was expected. Files are {own}, https:// URLs, or s3:// objects in folders that the "
    "server permits."
)

Json: TypeAlias = dict[str, Any]
# Schema of a job without the options of looks, which would be most of it.
_JOB: Json = job_body()["content"]["application/json"]["schema"]
_SCENES = _JOB["properties"]["scenes"]
for _part in (_JOB, _SCENES["items"]):
    _part["properties"]["options"] = {
        "type": "object",
        "description": "Options of the look: see the tool list_looks.",
    }
_SCENES["items"]["description"] += " For `cloudburst mcp`, also a path below --root."
JobJson: TypeAlias = Annotated[dict[str, Any], WithJsonSchema(_JOB)]
SceneJson: TypeAlias = Annotated[dict[str, Any], WithJsonSchema(_SCENES["items"])]
# The operation checks the items: pydantic would describe each invalid one of millions.
ScenesJson: TypeAlias = Annotated[list[Any], WithJsonSchema(_SCENES)]
Job: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="Id of a job.")]
Wait: TypeAlias = Annotated[
    float, Field(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the end of the job.")
]


class AgentServer(MCPServer):
    """Server of tools, on HTTP or on standard input and output."""

    async def run_lines(self, lines: AsyncIterator[str]) -> None:
        """Answer lines until their end on standard output."""
        async with stdio_server(stdin=cast("Any", lines)) as (reader, writer):
            server = self._lowlevel_server
            await server.run(reader, writer, server.create_initialization_options())

    async def call_tool(self, name: str, arguments: Json, context: Any = None) -> Any:
        """Refuse unknown and wrong arguments, in our words."""
        tools = {one.name: one.input_schema["properties"] for one in await self.list_tools()}
        if unknown := ", ".join(sorted(arguments.keys() - tools.get(name, arguments))):
            raise ToolError(f"{name} has no argument {unknown}; arguments: {[*tools[name]]}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as exc:
            if not isinstance(exc.__cause__, ValidationError):
                raise
            faults = [describe_field(error, ()) for error in exc.__cause__.errors()]
            raise ToolError(f"{name}: {'; '.join(map(str, faults))}") from exc


class Tools:
    """Tools that call the routes of jobs with the key of their caller.

    Args:
        jobs: Jobs whose lifespan is open while a tool runs.
        root: Folder of this machine: scenes name files below it, and results are paths.
        public_url: URL of the server in results; empty: that of the request.
    """

    def __init__(self, jobs: Jobs, root: Path | None = None, *, public_url: str = "") -> None:
        self._jobs, self._public_url = jobs, public_url
        self._app = jobs.app
        self._root = root and root.resolve()

    def server(self) -> AgentServer:
        """Return an MCP server with these tools."""
        own = f"paths below {self._root}" if self._root else "ids of uploads (POST /api/uploads)"
        instructions = INSTRUCTIONS.format(own=own)
        server = AgentServer("cloudburst", instructions=instructions, subscriptions=False)
        for tool in (
            *(self.list_looks, self.preview_frame, self.plan, self.render, self.add_scenes),
            *(self.close_job, self.job, self.cancel, self.results),
        ):
            server.add_tool(tool)
        return server

    async def list_looks(self, ctx: Context) -> Json:
        """List the options of looks with type, range and default, and named sets of them."""
        return await self._call(ctx, "GET", "/looks")

    async def preview_frame(
        self,
        ctx: Context,
        scene: SceneJson,
        at: Annotated[float, Field(ge=0, description="Time in the scene, in seconds.")] = 0.0,
        options: Json | None = None,
        width: Annotated[int, Field(ge=160, le=1920, description="Pixels.")] = 960,
    ) -> Image:
        """Draw one frame of the video of a scene, as it will look; renders nothing."""
        body = {"scene": scene, "at": at, "options": options or {}, "width": width}
        picture = cast("Any", await self._send(ctx, "/frame", body))
        return Image(data=picture, format="jpeg")

    async def plan(self, ctx: Context, job: JobJson) -> Json:
        """Predict time and cost of a job at each place, and list its faults; starts nothing."""
        return await self._send(ctx, "/plan", job)

    async def render(self, ctx: Context, job: JobJson, wait_seconds: Wait = 0.0) -> Json:
        """Start a job, and return it: its id and state. It may cost money: call plan first."""
        made = await self._send(ctx, "/jobs", job)
        return await self.job(ctx, made["id"], wait_seconds)

    async def add_scenes(self, ctx: Context, job: Job, scenes: ScenesJson) -> Json:
        """Add scenes to a job that was started with "open": true."""
        return await self._send(ctx, f"/jobs/{job}/scenes", {"scenes": scenes})

    async def close_job(self, ctx: Context, job: Job) -> Json:
        """Let an open job end after the scenes that it has; then its film is made."""
        return await self._call(ctx, "POST", f"/jobs/{job}/close")

    async def job(self, ctx: Context, job: Job | None = None, wait_seconds: Wait = 0.0) -> Json:
        """Return state, progress, bill and error of a job; without an id, list the newest jobs."""
        if job is None:
            return await self._call(ctx, "GET", "/jobs?limit=10")
        found = await self._call(ctx, "GET", f"/jobs/{job}")
        with anyio.move_on_after(wait_seconds):
            while not JobState(found["state"]).finished:
                await anyio.sleep(POLL_SECONDS)
                found = await self._call(ctx, "GET", f"/jobs/{job}")
        return found

    async def cancel(self, ctx: Context, job: Job) -> Json:
        """Cancel a job; finished videos are kept."""
        return await self._call(ctx, "POST", f"/jobs/{job}/cancel")

    async def results(self, ctx: Context, job: Job) -> Json:
        """Return the finished videos of a job, its film and its error, with paths or URLs."""
        found = await self._call(ctx, "GET", f"/jobs/{job}")
        videos = (await self._call(ctx, "GET", f"/jobs/{job}/videos"))["videos"]
        if self._root is None:
            base = self._public_url or f"http://{(ctx.headers or {})['host']}"
            film: str | None = urljoin(base, f"/api/jobs/{job}/film")
            for one in videos:
                one["url"] = urljoin(base, one["url"])
                one["cover_url"] = one["cover_url"] and urljoin(base, one["cover_url"])
        else:  # its agent reaches no URL of this server
            files, destination = self._jobs.queue.files(job), found["destination"]
            film = f"{destination}{film_name(job)}" if destination else str(files.film)
            for one in videos:
                del one["url"], one["cover_url"]
                if not destination:
                    one["path"] = str(files.videos / f"{one['scene']}.mp4")
        film = film if found["film"] and found["state"] == JobState.COMPLETE else None
        return {"film": film, "videos": videos, "state": found["state"], "error": found["error"]}

    async def _call(self, ctx: Context, method: str, path: str) -> Json:
        """Return the JSON of a response. Raises `ToolError` with a refusal."""
        async with self._client(ctx) as http:
            return _result(await http.request(method, path))

    async def _send(self, ctx: Context, path: str, body: Json) -> Json:
        """Call an operation with scenes; local files are uploads for as long as the call."""
        uploads = dict[Path, str]()

        async with self._client(ctx) as http:
            try:
                if self._root is not None and _is_well_formed(body):
                    _located(body, lambda name: uploads.setdefault(self._local(name), ""))
                    for file in uploads:
                        made = await http.post("/uploads", content=_read(file))
                        uploads[file] = _result(made)["id"]
                    body = _located(body, lambda name: uploads[self._local(name)])
                return _result(await http.post(path, json=body))
            except InvalidScenesError as exc:
                message, faults = public_faults(exc)
                raise ToolError(json.dumps({"message": message, "faults": faults})) from exc
            finally:
                with anyio.CancelScope(shield=True):
                    for upload in filter(None, uploads.values()):
                        await http.delete(f"/uploads/{upload}")

    def _local(self, name: str) -> Path:
        """Return a file below the root. Raises `InvalidInputError`."""
        root = self._root or Path()
        # For links in a circle (RuntimeError until Python 3.12), long names, and zero bytes.
        with suppress(OSError, RuntimeError, ValueError):
            path = (root / name).resolve()
            if path.is_relative_to(root) and path.is_file():
                return path
        raise InvalidInputError(
            "no such file in the folder", "the path of a file below --root", "no_file"
        )

    def _client(self, ctx: Context) -> httpx.AsyncClient:
        given = ctx.headers or {}
        headers = {name: given[name] for name in ("authorization", "cookie") if name in given}
        transport = httpx.ASGITransport(self._app, root_path="/api")
        return httpx.AsyncClient(transport=transport, base_url=INNER_URL, headers=headers)


def _result(response: httpx.Response) -> Json:
    if response.is_error:
        raise ToolError(response.text)
    if response.headers["content-type"] != "application/json":
        return cast("Json", response.content)
    found: Json = response.json()
    for job in (found, *found.get("jobs", ())):
        job.pop("links", None)  # the tools take their place
    return found


def _located(body: Json, locate: Callable[[str], Any]) -> Json:
    """Return the body of a job or of a frame with other names of files.

    Raises `InvalidScenesError` with the scene and the field of each file that is not found.
    """

    def place(name: str) -> Any:
        return name if is_url(name) or is_s3(name) else locate(name)

    is_frame = "scene" in body
    scenes = [body["scene"]] if is_frame else body.get("scenes") or []
    located, options, film = locate_files(body, scenes, body.get("options") or {}, place)
    given = {"scene": located[0]} if is_frame else {"scenes": located}
    return {**body, **film, **given, **({"options": options} if options else {})}


def _is_well_formed(body: Json) -> bool:
    """Return whether scenes and options have types without a fault."""
    kinds = (("scenes", list), ("options", dict))
    return all(isinstance(body.get(name) or kind(), kind) for name, kind in kinds)


async def _read(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(1 << 20):
            yield chunk
