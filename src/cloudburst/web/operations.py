"""Operations of `Jobs`: each handler with its path and what the page ``/docs`` says about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from starlette.responses import Response

from cloudburst.web.access import Action
from cloudburst.web.job_api import Call

Handler: TypeAlias = Callable[[Call], Awaitable[Response]]
"""Function that responds to the requests of an operation. Its docstring describes the operation."""
Method: TypeAlias = Literal["GET", "POST", "DELETE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Operation of one path and method, from which the routes of all frameworks are made."""

    name: str
    handler: Handler
    method: Method
    path: str
    """Path below the one at which the routes are mounted."""
    action: Action
    """Action for which the function ``authorize`` is asked."""
    status: int = 200
    """Status of the response to a valid request."""
    document: type[BaseModel] | None = None
    """JSON document of the response; ``None`` if the response is no JSON document."""
    content: Mapping[str, Any] | None = None
    """OpenAPI description of the content of any other response, by media type."""
    query: type[BaseModel] | None = None
    """Parameters of the query."""
    headers: type[BaseModel] | None = None
    """Headers that the handler reads."""
    body: Callable[[], Mapping[str, Any]] | None = None
    """Function that returns the OpenAPI description of the body of a request."""
    errors: Mapping[int, str]
    """Descriptions of the errors, by status."""


OPERATIONS: list[Operation] = []
"""All operations, in the order of the page ``/docs``."""


def operation(
    method: Method, path: str, action: Action, **more: Any
) -> Callable[[Handler], Handler]:
    """Return a decorator that adds a handler to `OPERATIONS`."""

    def add(handler: Handler) -> Handler:
        OPERATIONS.append(
            Operation(
                name=handler.__name__,
                handler=handler,
                method=method,
                path=path,
                action=action,
                **more,
            )
        )
        return handler

    return add
