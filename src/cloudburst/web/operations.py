"""Operations of `Jobs`: each handler with its path and what the page ``/docs`` says about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from starlette.responses import Response

from cloudburst.web.access import Action
from cloudburst.web.job_api import Call

Handler: TypeAlias = Callable[[Call], Awaitable[Response]]
"""Function that responds to the requests of an operation. Its docstring describes the operation."""


Responses: TypeAlias = Mapping[int, type[BaseModel] | Mapping[str, Any] | str]
"""Responses of an operation by status, that to a valid request first: JSON document, OpenAPI
description of the content by media type, or description of an error."""


@dataclass(slots=True)
class Operation:
    """Operation of one path and method, from which the routes of all frameworks are made.

    It decorates its handler, which adds it to `OPERATIONS`.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """Path below the one at which the routes are mounted."""
    action: Action
    """Action for which the function ``authorize`` is asked."""
    responses: Responses
    query: type[BaseModel] | None = None
    """Parameters of the query that the handler reads."""
    headers: type[BaseModel] | None = None
    """Headers that the handler reads."""
    body: Callable[[], Mapping[str, Any]] | None = None
    """Function that returns the OpenAPI description of the body of a request."""
    handler: Handler = field(init=False)

    def __call__(self, handler: Handler) -> Handler:
        """Decorate the handler."""
        self.handler = handler
        OPERATIONS.append(self)
        return handler


OPERATIONS: list[Operation] = []
"""All operations, in the order of the page ``/docs``."""
