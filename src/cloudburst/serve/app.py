"""App of ``cloudburst serve``: the page, and jobs over HTTP below ``/api``."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloudburst.serve.keys import Keys
from cloudburst.web import Jobs

PAGE = Path(__file__).with_name("page")
# Headers of responses that have none of these names. A browser runs no script that a text, a file
# name or a picture of a job might contain, and asks for a new page after an upgrade.
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def standing_app(jobs: Jobs, keys: Keys | None) -> FastAPI:
    """Return the app; `Jobs.lifespan` must be open while it serves requests."""
    # The own page of FastAPI for ``/docs`` loads scripts from another server.
    app = FastAPI(title="cloudburst", docs_url=None, redoc_url=None)
    app.include_router(jobs.router(), prefix="/api")
    app.add_exception_handler(HTTPException, _error_response)
    if keys is not None:
        app.add_route("/session", keys.open_session, methods=["POST"])
        app.add_route("/session", keys.close_session, methods=["DELETE"])
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    app.add_middleware(_Headers)
    return app


async def _error_response(_request: Request, error: Exception) -> Response:
    exc = cast("HTTPException", error)
    document = {"error": HTTPStatus(exc.status_code).phrase, "message": exc.detail}
    return JSONResponse(document, exc.status_code, exc.headers)


class _Headers:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
