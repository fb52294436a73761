"""For Starlette and FastAPI: a client that lives as long as the app, and runs as event streams.

Needs the ``[web]`` extra; FastAPI brings all of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypedDict

import anyio
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from cloudburst.client import Client
from cloudburst.engine.groups import unwrapped
from cloudburst.engine.run import Run
from cloudburst.errors import BusyError, ConfigurationError, InvalidScenesError


class State(TypedDict):
    """What the app's lifespan puts into ``request.state``."""

    cloudburst: Client


def lifespan(client: Client) -> Callable[[Any], AbstractAsyncContextManager[State]]:
    """Open the client when the app starts: ``FastAPI(lifespan=lifespan(Client()))``.

    When the app ends, whatever still renders is cancelled and every worker is stopped.
    """

    @asynccontextmanager
    async def run(_app: Any) -> AsyncGenerator[State]:
        async with client:
            yield {"cloudburst": client}

    return run


async def get_client(connection: HTTPConnection) -> Client:
    """The app's client, as a FastAPI dependency: ``Annotated[Client, Depends(get_client)]``."""
    client: Client = connection.state.cloudburst
    return client


class RunEvents(Response):
    """A run as server-sent events; the last one is ``report``. Hanging up cancels the run.

    What is wrong with the request is answered before the stream begins: 400 with every fault
    for scenes that cannot be rendered, 409 for outputs that exist or are claimed, 503 when the
    queue is full.
    """

    media_type = "text/event-stream"

    def __init__(self, run: AbstractAsyncContextManager[Run]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        with unwrapped():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
                try:
                    await self._stream(send)
                except (ConfigurationError, BusyError) as exc:
                    await _refusal(exc)(scope, receive, send)
                tasks.cancel_scope.cancel()

    async def _stream(self, send: Send) -> None:
        async with self._run as run:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for event in run:
                await send(_message(event.type, event.model_dump_json()))
            await send(_message("report", run.report.model_dump_json()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _message(name: str, data: str) -> Message:
    body = f"event: {name}\ndata: {data}\n\n".encode()
    return {"type": "http.response.body", "body": body, "more_body": True}


def _refusal(error: ConfigurationError | BusyError) -> JSONResponse:
    answer: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
    match error:
        case InvalidScenesError(faults=faults):
            return JSONResponse(answer | {"faults": [f._asdict() for f in faults]}, 400)
        case BusyError():
            return JSONResponse(answer, 503)
        case _:
            return JSONResponse(answer, 409)


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
