"""Responses for errors, which name no folder of the server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cloudburst.errors import (
    BusyError,
    CloudburstError,
    InvalidScenesError,
    JobConflictError,
    JobLimitError,
    JobStorageError,
    OutputClaimedError,
    OutputExistsError,
    Remedy,
    SceneError,
    UnknownJobError,
)
from cloudburst.jobs.public_json import public_faults, without_folders
from cloudburst.models.problems import code_of, fix_of

logger = logging.getLogger(__name__)


# Header of a response to a caller that has reached a limit: seconds until the next attempt.
RETRY_AFTER = {"retry-after": "10"}


# Status of each class of errors, and the message if that of the error is not public.
_STATUSES: tuple[tuple[type[CloudburstError], int, str | None], ...] = (
    (InvalidScenesError, 400, None),
    (OutputExistsError, 409, "a video of this name already exists"),
    (OutputClaimedError, 409, "another run is writing a video of this name"),
    (UnknownJobError, 404, None),
    (JobConflictError, 409, None),
    (JobLimitError, 507, None),
    (JobStorageError, 507, "the server cannot store this now; try again later"),
    (BusyError, 503, None),
)


def logged_response(error: CloudburstError, request: Request) -> JSONResponse:
    """Return the response for an error: its class, a message without folders, and a status.

    The error is logged if the response does not show it.
    """
    status, message = _status(error)
    kind, faults = type(error).__name__, dict[str, Any]()
    if isinstance(error, InvalidScenesError):
        message, faults["faults"] = public_faults(error)
    content = _content(kind, code_of(kind), message or without_folders(str(error))) | faults
    if status >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return JSONResponse(content, status, RETRY_AFTER if status == 429 else None)


def http_error_response(error: HTTPException) -> JSONResponse:
    """Return the response for an error of HTTP: its phrase, a message and a status."""
    status = HTTPStatus(error.status_code)
    # The name of 413 is not the same in all versions of Python.
    code = "too_large" if status == 413 else status.name.lower()
    return JSONResponse(_content(status.phrase, code, error.detail), status, error.headers)


def _content(error: str, code: str, message: str) -> dict[str, Any]:
    return {"error": error, "message": message, "code": code, "fix": fix_of(error) or fix_of(code)}


def _status(error: CloudburstError) -> tuple[int, str | None]:
    if isinstance(error, JobLimitError) and error.of_owner:
        return 429, None
    if isinstance(error, BusyError) and not error.retryable:
        return 413, None
    for kind, status, text in _STATUSES:
        if isinstance(error, kind):
            return status, text
    if isinstance(error, SceneError) and error.remedy is Remedy.FIX_SCENE:
        return 422, None
    if error.retryable:
        return 503, "the video could not be rendered now; try again later"
    return 500, "the video could not be rendered; the server's log says why"


async def _handle(request: Request, error: Exception) -> Response:
    return logged_response(cast("CloudburstError", error), request)


# Handlers for errors that a route raises: ``FastAPI(exception_handlers=exception_handlers)``.
exception_handlers: Mapping[Any, Any] = {CloudburstError: _handle}
