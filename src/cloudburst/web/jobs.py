"""Jobs over HTTP: routes and lifespans for Starlette, FastAPI and other ASGI frameworks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudburst.client.client import Client
from cloudburst.errors import CloudburstError, ConfigurationError
from cloudburst.jobs import JobLimits, JobQueue, Places
from cloudburst.jobs.webhooks.definitions import Webhooks
from cloudburst.web import (  # they define the operations
    file_handlers,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    input_handlers,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    job_handlers,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    preview_handlers,  # noqa: F401  # pyright: ignore[reportUnusedImport]
    server_handlers,  # noqa: F401  # pyright: ignore[reportUnusedImport]
)
from cloudburst.web.access import Access, Authorize, Folders, find_access, refuse_other_sites
from cloudburst.web.error_responses import http_error_response, logged_response
from cloudburst.web.job_api import OPERATIONS, JobApi, Operation, WebCall, base_url
from cloudburst.web.job_documents import JobLinks
from cloudburst.web.request_limits import RequestLimits
from cloudburst.web.server_sent_events import call_on_shutdown
from cloudburst.web.submission_checks import SubmissionRules

if TYPE_CHECKING:
    from fastapi import APIRouter


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


class Jobs:
    """Jobs over HTTP: submit, follow, cancel, play, delete. They outlive requests and processes.

    >>> jobs = Jobs(Client(), "jobs")
    >>> app = FastAPI(lifespan=jobs.lifespan)  # doctest: +SKIP
    >>> app.include_router(jobs.router(), prefix="/api")  # doctest: +SKIP

    Several processes of this machine may serve one folder: see `JobQueue`.

    Args:
        client: Client that renders the jobs. `lifespan` opens it.
        folder: Folder for the jobs, their files and videos, on a disk of this machine.
        authorize: Function that decides who the caller of a request is, and whether it may do this;
            ``None``: everybody may do everything, and sees all jobs, except for pages of other
            sites in a browser.
        sources: Folders in S3, such as ``s3://bucket/in/``, from which scenes may use files.
        destinations: Folders in S3 to which videos may be written.
        limits: Limits of the jobs, and of each owner.
        places: Places that jobs may name; ``None``: all jobs are rendered where the client does.
        request_limits: Limits of the requests.
        webhooks: Webhooks that receive events of the jobs.
        public_url: URL at which the routes are mounted, such as ``https://example.com/api``, for
            the links in webhooks; ``None``: the links have no scheme and host. Without
            ``authorize``, requests with another host name than this one or a local one are refused.
    """

    def __init__(
        self,
        client: Client,
        folder: Path | str,
        *,
        authorize: Authorize | None = None,
        sources: Sequence[str] = (),
        destinations: Sequence[str] = (),
        limits: JobLimits | None = None,
        places: Places | None = None,
        request_limits: RequestLimits | None = None,
        webhooks: Webhooks | None = None,
        public_url: str | None = None,
    ) -> None:
        self._client = client
        self._folder = Path(folder).absolute()
        self._limits = limits
        self._places = places or Places()
        self._public_url = (public_url or "").rstrip("/")
        self._authorize = authorize
        rules = SubmissionRules(
            owner="",
            sources=Folders(sources, "sources"),
            destinations=Folders(destinations, "destinations"),
            limits=request_limits or RequestLimits(),
            webhooks=webhooks or Webhooks(),
        )
        self._api = JobApi(client, rules, asks_callers=authorize is not None)

    @property
    def queue(self) -> JobQueue:
        """Queue of the jobs, for the code of the app. Raises `ClosedError` outside `lifespan`."""
        return self._api.queue

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncGenerator[AppState]:
        """Open the client and the queue, as the lifespan of an app.

        At its end, the tasks of unfinished jobs are stopped; the jobs go on in another process, or
        when the app starts again. Raises `ConfigurationError` if callers could cause any bill.
        """
        queue = JobQueue(
            self._client,
            self._folder,
            limits=self._limits,
            webhooks=self._api.rules.webhooks,
            links=self._links,
            places=self._places,
        )
        async with self._client:
            if self._client.is_billed or self._places.fargate is not None:
                _require_budget(self._client, queue.limits)
            async with queue:
                self._api.open_queue, self._api.stopping = queue, anyio.Event()
                try:
                    with call_on_shutdown(self._api.stopping.set):
                        yield {"cloudburst": self._client}
                finally:
                    self._api.open_queue = None

    @property
    def routes(self) -> list[Route]:
        """Routes for Starlette: ``Mount("/api", routes=jobs.routes)``."""
        return [
            Route(one.path, self._endpoint(one), methods=[one.method], name=one.handler.__name__)
            for one in OPERATIONS
        ]

    @property
    def app(self) -> ASGIApp:
        """ASGI app with the routes, which a server can run and any ASGI framework can mount.

        Frameworks do not run the lifespan of a mounted app: give `lifespan` to the outer app.
        """
        inner = Starlette(routes=self.routes, lifespan=self.lifespan)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            path = str(scope.get("path", ""))
            if path.endswith("/"):  # Litestar adds it to the paths of mounted apps
                scope = {**scope, "path": path.rstrip("/")}
            await inner(scope, receive, send)

        return app

    def router(self) -> APIRouter:
        """Return a router for FastAPI, whose operations are described on the page ``/docs``."""
        from cloudburst.web.fastapi_router import fastapi_router  # noqa: PLC0415 - needs FastAPI

        return fastapi_router(self._endpoint)

    def _links(self, job: str) -> Mapping[str, str]:
        links = JobLinks.of(job, self._public_url, film=False, is_open=False)
        return links.model_dump(exclude_none=True)

    def _endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            # Exceptions of the function authorize belong to the app.
            access = await find_access(self._authorize, request, operation.action)
            response = await self._respond(operation, request, access)
            # Caches that many users share, as those of CDNs, store responses without this header.
            response.headers.setdefault("cache-control", "no-store")
            return response

        return endpoint

    async def _respond(self, operation: Operation, request: Request, access: Access) -> Response:
        base = base_url(request, operation.path.count("/"))
        try:
            if self._authorize is None:
                refuse_other_sites(request, self._public_url)
            call = WebCall(api=self._api, request=request, access=access, base=base)
            return await operation.handler(call)
        except HTTPException as exc:
            return http_error_response(exc)
        except CloudburstError as exc:
            return logged_response(exc, request)
        except ClientDisconnect:  # while the body arrived; no one receives this response
            return Response(status_code=400)


def _require_budget(client: Client, limits: JobLimits) -> None:
    if limits.owner_usd is None and client.limits.max_usd is None:
        msg = (
            "tasks of the jobs are billed, and callers could cause any bill: set "
            "Jobs(limits=JobLimits(owner_usd=…)), the maximum bill of each owner in 24 hours, or "
            "Client(limits=Limits(max_usd=…)), that of the process, in USD"
        )
        raise ConfigurationError(msg)
