"""Operation of a route of `Jobs`: what responds to its requests, and its documentation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from cloudburst.web.access import Access, Action
from cloudburst.web.job_api import JobApi

Handler: TypeAlias = Callable[[JobApi, Request, Access], Awaitable[Response]]
"""Function that responds to the requests of an operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Parameter of an operation, for its documentation."""

    name: str
    place: Literal["path", "query", "header"]
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Operation of one path and method."""

    name: str
    """Identifier of the operation."""
    handler: Handler
    method: Literal["GET", "POST", "DELETE"]
    path: str
    """Path below the one at which the routes are mounted."""
    action: Action
    """Action for which the function ``authorize`` is asked."""
    summary: str
    description: str
    status: int
    """Status of the response to a valid request."""
    document: type[BaseModel] | None = None
    """JSON document of the response; ``None`` if the response is no JSON document."""
    content: Mapping[str, Any] | None = None
    """OpenAPI description of the content of any other response, by media type."""
    parameters: Sequence[Parameter] = ()
    body: Mapping[str, Any] | None = None
    """OpenAPI description of the body of a request."""
    errors: Mapping[int, str]
    """Descriptions of the errors, by status."""
