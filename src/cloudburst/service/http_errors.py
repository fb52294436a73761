"""Error responses of the render service: JSON with the details of the error."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

log = logging.getLogger("cloudburst.service")

LINGER_TIMEOUT = 2.0

# Key in the ASGI scope of a request; the value is true after the body was read to its end.
BODY_READ_KEY = "cloudburst.body_read"


class RejectedRequestError(Exception):
    """Error that rejects a request with an HTTP status and JSON: ``{"error": …}`` and details."""

    def __init__(self, status: int, error: str, **facts: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body: dict[str, Any] = {"error": error, **facts}


class RejectionResponse(JSONResponse):
    """Error response that is sent at once, before the rest of the request is read."""

    # Closing a connection with unread data resets it, and the caller would lose the response that
    # explains the error.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, then read the rest of the body."""
        head = {"type": "http.response.start", "status": self.status_code}
        await send({**head, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with anyio.move_on_after(LINGER_TIMEOUT):
            while not scope.get(BODY_READ_KEY):
                message = await receive()
                scope[BODY_READ_KEY] = not message.get("more_body", False)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def display_value(value: object) -> str:
    """Return the ``repr`` of a value for an error message, cut to 200 characters."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


async def respond_to_rejection(request: Request, error: Exception) -> Response:
    """Return the response for a `RejectedRequestError`, and log it: its caller has the key."""
    if not isinstance(error, RejectedRequestError):
        raise error
    log.warning("%s %s: %d, %s", request.method, request.url.path, error.status, error)
    return RejectionResponse(error.body, error.status)


async def respond_to_http_exception(_: Request, error: Exception) -> Response:
    """Return the response for an error of Starlette itself: 404 or 405."""
    if not isinstance(error, HTTPException):
        raise error
    return RejectionResponse({"error": error.detail}, error.status_code, error.headers)


async def respond_to_disconnect(_: Request, error: Exception) -> Response:
    """Return the response that the framework needs, although the caller has disconnected."""
    return JSONResponse({"error": f"the body ended early ({type(error).__name__})"}, 400)


async def respond_to_internal_error(_: Request, error: Exception) -> Response:
    """Return the response for an error in the service; the server logs the traceback."""
    return JSONResponse({"error": f"the service failed ({type(error).__name__})"}, 500)


EXCEPTION_HANDLERS: Mapping[Any, Any] = {
    RejectedRequestError: respond_to_rejection,
    HTTPException: respond_to_http_exception,
    ClientDisconnect: respond_to_disconnect,
    Exception: respond_to_internal_error,
}
