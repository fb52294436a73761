"""FastAPI router with the operations of `Jobs`, for the page ``/docs`` of an app."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from cloudburst.web.job_api import OPERATIONS, Operation
from cloudburst.web.job_documents import ErrorDocument, schema_of

Endpoint = Callable[[Request], Awaitable[Response]]


def fastapi_router(endpoint_of: Callable[[Operation], Endpoint]) -> APIRouter:
    """Return a router with all operations.

    FastAPI reads neither parameters nor bodies, so that requests are checked in one place and files
    are not read into memory. It solves the dependencies of the router.
    """
    router = APIRouter(tags=["jobs"])
    for operation in OPERATIONS:
        endpoint = endpoint_of(operation)
        router.add_api_route(
            operation.path,
            endpoint,
            methods=[operation.method],
            operation_id=operation.handler.__name__,
            summary=operation.handler.__name__.replace("_", " ").capitalize(),
            description=inspect.getdoc(operation.handler),
            status_code=next(iter(operation.responses)),
            response_class=Response,
            responses=_responses(operation),
            openapi_extra=_request_description(operation),
        )
        if operation.method == "GET":
            router.add_api_route(
                operation.path, endpoint, methods=["HEAD"], include_in_schema=False
            )
    return router


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {}
    for status, response in operation.responses.items():
        if isinstance(response, str):
            model = {"model": ErrorDocument} if status >= 400 else {}
            found[status] = {"description": response, **model}
        else:
            key = "content" if isinstance(response, Mapping) else "model"
            found[status] = {key: response}
    return found


def _request_description(operation: Operation) -> dict[str, Any]:
    description: dict[str, Any] = {"parameters": list(_parameters(operation))}
    if operation.body is not None:
        description["requestBody"] = operation.body()
    return description


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for place, model in (("query", operation.query), ("header", operation.headers)):
        for name, schema in schema_of(model)["properties"].items() if model else ():
            description = schema.pop("description")
            yield {"name": name, "in": place, "description": description, "schema": schema}
