"""Lifespan of a Starlette or FastAPI app with an open client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypedDict

from starlette.requests import HTTPConnection

from cloudburst.client import Client


class AppState(TypedDict):
    """Content of ``request.state`` in an app with `lifespan`: the app's client."""

    cloudburst: Client


def lifespan(client: Client) -> Callable[[Any], AbstractAsyncContextManager[AppState]]:
    """Return a lifespan with an open client: ``FastAPI(lifespan=lifespan(Client()))``.

    One worker is kept warm between runs, unless `Limits.idle` has another value than 0. When the
    app stops, all runs are cancelled and all workers are stopped.
    """

    @asynccontextmanager
    async def run(_app: Any) -> AsyncGenerator[AppState]:
        async with client:
            with client.keeping_warm():
                yield {"cloudburst": client}

    return run


async def get_client(connection: HTTPConnection) -> Client:
    """Return the app's client, for FastAPI: ``Annotated[Client, Depends(get_client)]``."""
    client: Client = connection.state.cloudburst
    return client
