"""Operations of `Jobs`, their requests, and the state that the routes share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypeVar, cast

import anyio
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cloudburst.client.client import Client
from cloudburst.errors import ClosedError
from cloudburst.jobs import Job, JobQueue
from cloudburst.jobs.job_rows import unknown_job
from cloudburst.models.problems import describe_value
from cloudburst.web.access import Access, Action, Folders
from cloudburst.web.job_documents import JobDocument
from cloudburst.web.latest_requests import LatestRequests
from cloudburst.web.request_limits import ConcurrencyLimit
from cloudburst.web.submission_checks import SubmissionRules

_Model = TypeVar("_Model", bound=BaseModel)


# Responses of an operation by status, that to a valid request first: JSON document, OpenAPI
# description of the content by media type, or description of an error.
Responses: TypeAlias = Mapping[int, type[BaseModel] | Mapping[str, Any] | str]
# All operations, in the order of the page ``/docs``.
OPERATIONS: list[Operation] = []


# Maximum number of frames that the server draws at once, of plans, and of seconds for each.
MAX_PREVIEWS, PREVIEW_SECONDS = 2, 20.0


class JobApi:
    """State that the routes of `Jobs` share."""

    def __init__(self, client: Client, rules: SubmissionRules, *, asks_callers: bool) -> None:
        # Client that renders the jobs.
        self.client = client
        # Rules for submissions, unless the access of a caller has others.
        self.rules = rules
        # True if a function ``authorize`` decides who callers are.
        self.asks_callers = asks_callers
        # Lock of the checks of the server.
        self.checking = anyio.Lock()
        self.transfers = ConcurrencyLimit(rules.limits.transfers, "uploads")
        self.streams = ConcurrencyLimit(rules.limits.streams, "event streams")
        self.frames = LatestRequests(MAX_PREVIEWS, PREVIEW_SECONDS)
        self.plans = LatestRequests(MAX_PREVIEWS, PREVIEW_SECONDS)
        # Queue of the jobs; ``None`` outside the lifespan of the app.
        self.open_queue: JobQueue | None = None
        # Event that is set when the server is about to stop, so that event streams end.
        self.stopping = anyio.Event()

    @property
    def queue(self) -> JobQueue:
        """Queue of the jobs. Raises `ClosedError` outside the lifespan of the app."""
        if self.open_queue is None:
            msg = (
                "the app has no open Jobs: give it their lifespan, FastAPI(lifespan=jobs.lifespan)"
            )
            raise ClosedError(msg)
        return self.open_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class WebCall:
    """Request of one caller."""

    api: JobApi
    request: Request
    access: Access
    # Path at which the routes are mounted, without a slash at its end.
    base: str

    @property
    def owner(self) -> str:
        """Name of the caller."""
        return self.access.owner

    @property
    def queue(self) -> JobQueue:
        """Queue of the jobs."""
        return self.api.queue

    async def job(self) -> Job:
        """Return the job that the path of the request names.

        Raises `UnknownJobError` if it does not exist or has another owner.
        """
        identifier = str(self.request.path_params["id"])
        job = await self.queue.job(identifier)
        if job.owner != self.owner:
            raise unknown_job(identifier)
        return job

    def document(self, job: Job) -> JobDocument:
        """Return the document of a job."""
        return JobDocument.of(job, self.base)

    def rules(self) -> SubmissionRules:
        """Return the rules for submissions of the caller."""
        given = {"sources": self.access.sources, "destinations": self.access.destinations}
        own: dict[str, Any] = {
            name: Folders(some, name) for name, some in given.items() if some is not None
        }
        return replace(self.api.rules, owner=self.owner, **own)


def parse_parameters(model: type[_Model], values: Mapping[str, Any]) -> _Model:
    """Return parameters or headers of a request. Raises `HTTPException` 400 for invalid ones."""
    names = {field.alias or name for name, field in model.model_fields.items()}
    try:
        return model.model_validate({name: values[name] for name in names if name in values})
    except ValidationError as exc:
        error = exc.errors()[0]
        found, expected = describe_value(error)
        raise HTTPException(400, f"{error['loc'][0]}: {found}; expected {expected}") from exc


def base_url(request: Request, parts: int) -> str:
    """Return the path at which the routes are mounted, without a slash at its end.

    ``parts`` is the number of parts of the path of the request below it.
    """
    # Some frameworks remove the part at which an app is mounted from the path.
    raw = cast("bytes | None", request.scope.get("raw_path"))
    path = str(request.scope["path"]) if raw is None else raw.decode("latin-1")
    root = str(request.scope.get("root_path", ""))
    whole = path if path.startswith(root) else root + path
    above = whole.rstrip("/").split("/")[:-parts]
    return "".join(f"/{part}" for part in above if part)


# Function that responds to the requests of an operation. Its docstring describes the operation.
Handler: TypeAlias = Callable[[WebCall], Awaitable[Response]]


@dataclass(slots=True)
class Operation:
    """Operation of one path and method, from which the routes of all frameworks are made.

    It decorates its handler, which adds it to `OPERATIONS`.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    # Path below the one at which the routes are mounted.
    path: str
    # Action for which the function ``authorize`` is asked.
    action: Action
    responses: Responses
    # Parameters of the query that the handler reads.
    query: type[BaseModel] | None = None
    # Headers that the handler reads.
    headers: type[BaseModel] | None = None
    # Function that returns the OpenAPI description of the body of a request.
    body: Callable[[], Mapping[str, Any]] | None = None
    handler: Handler = field(init=False)

    def __call__(self, handler: Handler) -> Handler:
        """Decorate the handler."""
        self.handler = handler
        OPERATIONS.append(self)
        return handler
