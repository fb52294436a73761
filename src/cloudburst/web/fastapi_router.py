"""FastAPI router with the operations of `Jobs`, for the page ``/docs`` of an app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from cloudburst.web.job_documents import ErrorDocument
from cloudburst.web.operations import Operation

TAG = "jobs"
"""Tag of the operations on the page ``/docs``."""


def fastapi_router(
    operations: Sequence[Operation],
    respond: Callable[[Operation, Request], Awaitable[Response]],
) -> APIRouter:
    """Return a router with these operations, whose requests ``respond`` answers.

    FastAPI reads neither parameters nor bodies, so that requests are checked in one place and files
    are not read into memory. It solves the dependencies of the router.
    """
    router = APIRouter(tags=[TAG])
    for operation in operations:
        endpoint = _endpoint(operation, respond)
        router.add_api_route(
            operation.path,
            endpoint,
            methods=[operation.method],
            name=operation.name,
            operation_id=operation.name,
            summary=operation.summary,
            description=operation.description,
            status_code=operation.status,
            response_class=Response,
            responses=_responses(operation),
            openapi_extra=_request_description(operation),
        )
        if operation.method == "GET":
            router.add_api_route(
                operation.path, endpoint, methods=["HEAD"], include_in_schema=False
            )
    return router


def _endpoint(
    operation: Operation, respond: Callable[[Operation, Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await respond(operation, request)

    return endpoint


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {}
    if operation.document is not None:
        responses[operation.status] = {"model": operation.document}
    elif operation.content is not None:
        responses[operation.status] = {"content": dict(operation.content)}
    for status, text in operation.errors.items():
        responses[status] = {"description": text}
        if status >= 400:
            responses[status]["model"] = ErrorDocument
    return responses


def _request_description(operation: Operation) -> dict[str, Any]:
    extra: dict[str, Any] = {
        "parameters": [
            {
                "name": parameter.name,
                "in": parameter.place,
                "required": parameter.place == "path",
                "description": parameter.description,
                "schema": dict(parameter.schema),
            }
            for parameter in operation.parameters
        ]
    }
    if operation.body is not None:
        extra["requestBody"] = dict(operation.body)
    return extra
