"""Support for Starlette and FastAPI apps: a shared client, runs as event streams, and uploads.

Install the ``[web]`` extra to use it. No response of this module contains a path of the server, a
bucket, a process id or a host name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self, TypedDict, cast

import anyio
import anyio.to_thread
from pydantic import BaseModel
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from cloudburst.client import Client
from cloudburst.concurrency import collapse_single
from cloudburst.engine.run import Run
from cloudburst.errors import (
    BusyError,
    CloudburstError,
    InvalidScenesError,
    OutputClaimedError,
    OutputExistsError,
    Remedy,
    SceneError,
)
from cloudburst.models.events import Event
from cloudburst.public_json import without_folders
from cloudburst.uploads import Uploads

__all__ = ["AppState", "RunEvents", "Uploads", "exception_handlers", "get_client", "lifespan"]

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15.0
"""Seconds without an event after which a comment is sent. Some proxies close a connection on which
nothing is sent for 30 to 60 s, and tasks may take longer to start. The HTML Standard advises 15 s
("Server-sent events", authoring notes, 2026-11)."""
_COMMENT = b": the run continues\n\n"
"""Comment in the format of server-sent events, which browsers ignore."""


class AppState(TypedDict):
    """Content of ``request.state`` in an app with `lifespan`: the app's client."""

    cloudburst: Client


def lifespan(client: Client) -> Callable[[Any], AbstractAsyncContextManager[AppState]]:
    """Return a lifespan with an open client: ``FastAPI(lifespan=lifespan(Client()))``.

    When the app stops, all runs are cancelled and all workers are stopped.
    """

    @asynccontextmanager
    async def run(_app: Any) -> AsyncGenerator[AppState]:
        async with client:
            yield {"cloudburst": client}

    return run


async def get_client(connection: HTTPConnection) -> Client:
    """Return the app's client, for FastAPI: ``Annotated[Client, Depends(get_client)]``."""
    client: Client = connection.state.cloudburst
    return client


class RunEvents(Response):
    """Response with a run's events as server-sent events; the last event is ``report``.

    A comment is sent every 15 seconds while there is no event, so that proxies keep the connection.
    The run is cancelled when the HTTP client closes the connection. An error before the run starts
    becomes a JSON response, as with `exception_handlers`. Paths in events and in the report are
    reduced to file names.

    Args:
        run: Result of `Client.stream`.
        status_code: HTTP status of the stream.
        headers: Further headers of the response, for example a ``Location`` for the videos.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        run: AbstractAsyncContextManager[Run],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        own = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(status_code=status_code, headers=own | dict(headers or {}))
        del self.headers["content-length"]
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, as an ASGI application."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        with collapse_single():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
                try:
                    await self._stream(send_and_note)
                except CloudburstError as exc:
                    if started:
                        raise
                    await _logged_response(exc, Request(scope))(scope, receive, send)
                tasks.cancel_scope.cancel()

    async def _stream(self, send: Send) -> None:
        async with self._run as run:
            start = {"type": "http.response.start", "status": self.status_code}
            await send(start | {"headers": self.raw_headers})
            async for event in _EventsAndPauses(run):
                await send(_body(_COMMENT) if event is None else _message(event.type, event))
            report = await run.until_done()
            # The report of 10,000 scenes is several MB of JSON.
            await send(await anyio.to_thread.run_sync(_message, "report", report))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _EventsAndPauses:
    """Iterator over the events of a run, with ``None`` after `KEEP_ALIVE_SECONDS` without one."""

    def __init__(self, run: Run) -> None:
        self._events = aiter(run)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | None:
        with anyio.move_on_after(KEEP_ALIVE_SECONDS):
            return await anext(self._events)
        return None


def _message(name: str, content: BaseModel) -> Message:
    data = json.dumps(without_folders(content.model_dump(mode="json")), ensure_ascii=False)
    return _body(f"event: {name}\ndata: {data}\n\n".encode())


def _body(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _error_response(error: CloudburstError) -> JSONResponse:
    """Return the response for an error: its class, a message without folders, and a status."""
    kind = type(error).__name__
    text: str = without_folders(str(error))
    match error:
        case InvalidScenesError(faults=faults):
            details = [without_folders(fault._asdict()) for fault in faults]
            return JSONResponse({"error": kind, "message": text, "faults": details}, 400)
        case OutputExistsError():
            status, text = 409, "a video of this name already exists"
        case OutputClaimedError():
            status, text = 409, "another run is writing a video of this name"
        case SceneError(remedy=Remedy.FIX_SCENE):
            status = 422
        case BusyError():
            status = 503
        case _ if error.retryable:
            status, text = 503, "the video could not be rendered now; try again later"
        case _:
            status, text = 500, "the video could not be rendered; the server's log says why"
    return JSONResponse({"error": kind, "message": text}, status)


async def _handle(request: Request, error: Exception) -> Response:
    return _logged_response(cast("CloudburstError", error), request)


def _logged_response(error: CloudburstError, request: Request) -> JSONResponse:
    """Return the response for an error; log the error if the response does not show it."""
    response = _error_response(error)
    if response.status_code >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return response


exception_handlers: Mapping[Any, Any] = {CloudburstError: _handle}
"""Handlers for errors that a route raises: ``FastAPI(exception_handlers=exception_handlers)``.

The statuses are: 400 for invalid scenes, with every scene fault; 409 if the output exists or is
claimed by another run; 422 if the scene's files cannot be rendered; 503 if the queue is full or a
later attempt may succeed; 500 for all other errors. 500 and 503 are logged with their traceback.
"""


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
