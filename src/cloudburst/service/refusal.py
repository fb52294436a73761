"""Answers that say no: JSON, with facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

LINGER_SECONDS = 2.0

BODY_READ = "cloudburst.body_read"
"""Set in a request's scope when the end of its body was seen."""


class RefusedError(Exception):
    """A request that is answered with a status and ``{"error": …}`` plus further facts."""

    def __init__(self, status: int, error: str, **facts: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body: dict[str, Any] = {"error": error, **facts}


class Refusal(JSONResponse):
    """Answers at once, then reads on for a moment what the caller is still sending.

    A connection that is closed with unread data is reset, and the caller would lose the answer
    that says why.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the refusal, then linger while a body is coming."""
        head = {"type": "http.response.start", "status": self.status_code}
        await send({**head, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with anyio.move_on_after(LINGER_SECONDS):
            while not scope.get(BODY_READ):
                message = await receive()
                scope[BODY_READ] = not message.get("more_body", False)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def found(value: object) -> str:
    """A value as an error shows it: short, printable, without lone surrogates."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


async def answer_refused(_: Request, error: Exception) -> Response:
    """What the application does with a `RefusedError`."""
    if not isinstance(error, RefusedError):
        raise error
    return Refusal(error.body, error.status)


async def answer_http(_: Request, error: Exception) -> Response:
    """What it does with the framework's own 404 and 405."""
    if not isinstance(error, HTTPException):
        raise error
    return Refusal({"error": error.detail}, error.status_code, error.headers)


async def answer_gone(_: Request, error: Exception) -> Response:
    """What it does when the caller has left in the middle of a body: nobody reads this."""
    return JSONResponse({"error": f"the body ended early ({type(error).__name__})"}, 400)


async def answer_fault(_: Request, error: Exception) -> Response:
    """What it does with a fault of its own; the server logs the traceback."""
    return JSONResponse({"error": f"the service failed ({type(error).__name__})"}, 500)


HANDLERS: Mapping[Any, Any] = {
    RefusedError: answer_refused,
    HTTPException: answer_http,
    ClientDisconnect: answer_gone,
    Exception: answer_fault,
}
