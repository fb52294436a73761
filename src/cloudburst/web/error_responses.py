"""Responses for errors, which name no folder of the server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cloudburst.errors import (
    BusyError,
    CloudburstError,
    InvalidScenesError,
    OutputClaimedError,
    OutputExistsError,
    Remedy,
    SceneError,
)
from cloudburst.public_json import without_folders

logger = logging.getLogger(__name__)


def logged_response(error: CloudburstError, request: Request) -> JSONResponse:
    """Return the response for an error; log the error if the response does not show it."""
    response = _error_response(error)
    if response.status_code >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return response


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
    return logged_response(cast("CloudburstError", error), request)


exception_handlers: Mapping[Any, Any] = {CloudburstError: _handle}
"""Handlers for errors that a route raises: ``FastAPI(exception_handlers=exception_handlers)``.

The statuses are: 400 for invalid scenes, with every scene fault; 409 if the output exists or is
claimed by another run; 422 if the scene's files cannot be rendered; 503 if the queue is full or a
later attempt may succeed; 500 for all other errors. 500 and 503 are logged with their traceback.
"""
