"""App of ``cloudburst serve``: the page, and jobs over HTTP below ``/api``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import cast

import anyio
from anyio import to_thread
from fastapi import FastAPI
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloudburst.concurrency import while_connected
from cloudburst.inputs.story import STORY
from cloudburst.serve.keys import Keys
from cloudburst.serve.tools import Tools
from cloudburst.service.connections import authorised
from cloudburst.web import Action, Jobs
from cloudburst.web.access import refuse_other_sites
from cloudburst.web.error_responses import http_error_response
from cloudburst.web.request_limits import read_body
from cloudburst.web.submissions import parse_json

PAGE = Path(__file__).with_name("page")
# Maximum size of one call of a tool, in bytes.
MAX_CALL_BYTES = 4_000_000
# `_Agents` checks hosts and origins.
OFF = TransportSecuritySettings(enable_dns_rebinding_protection=False)
# Headers of responses that have none of these names. A browser runs no script that a text, a file
# name or a picture of a job might contain, and asks for a new page after an upgrade.
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


@asynccontextmanager
async def standing_app(jobs: Jobs, keys: Keys | None, public_url: str) -> AsyncGenerator[FastAPI]:
    """Yield the app, with open jobs."""
    # The own page of FastAPI for ``/docs`` loads scripts from another server.
    app = FastAPI(title="cloudburst", docs_url=None, redoc_url=None)
    app.include_router(jobs.router(), prefix="/api")
    app.add_exception_handler(
        HTTPException, lambda _, exc: http_error_response(cast("HTTPException", exc))
    )
    if keys is not None:
        app.add_route("/session", keys.open_session, methods=["POST"])
        app.add_route("/session", keys.close_session, methods=["DELETE"])
    agents = Tools(jobs, public_url=public_url).server()
    agents.streamable_http_app(stateless_http=True, json_response=True, transport_security=OFF)
    manager = agents.session_manager
    app.router.routes.append(Route("/mcp", _Agents(manager, keys, public_url)))
    app.mount("/story", StaticFiles(directory=STORY))
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    app.add_middleware(_Border, keys=keys)
    async with jobs.lifespan(), manager.run():
        yield app


class _Agents:
    """Endpoint for agents that have a key, or are on this machine."""

    def __init__(
        self, manager: StreamableHTTPSessionManager, keys: Keys | None, public_url: str
    ) -> None:
        self._manager, self._keys, self._public_url = manager, keys, public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method != "POST":  # no streams: the tools send nothing by themselves
            raise HTTPException(405, headers={"allow": "POST"})
        if self._keys is None:
            refuse_other_sites(request, self._public_url)
        else:
            await self._keys.authorize(request, Action.SUBMIT)
        body = await read_body(request, MAX_CALL_BYTES)
        await to_thread.run_sync(parse_json, body)  # refuses what would be slow to read
        unread = [{"type": "http.request", "body": body}]

        async def received() -> Message:
            if not unread:
                await anyio.sleep_forever()  # a closed connection cancels it
            return unread.pop()

        async with while_connected(receive):
            await self._manager.handle_request(scope, received, send)


class _Border:
    """Middleware that adds headers, and keeps the connections of callers with a key open."""

    def __init__(self, app: ASGIApp, keys: Keys | None) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        accepted = self._keys is None or self._keys.accept(Request(scope))
        with authorised(scope) if accepted else nullcontext():
            await self._app(scope, receive, send_with_headers)
