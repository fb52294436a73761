"""Requests whose results only their newest one needs, such as previews."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from cloudburst.concurrency import while_connected
from cloudburst.errors import SupersededError
from cloudburst.web.error_responses import RETRY_AFTER

_T = TypeVar("_T")


class LatestRequests:
    """Requests with keys, of which the newest one with a key ends the earlier ones.

    Args:
        maximum: Maximum number of requests that are worked on at once; others wait.
        seconds: Maximum number of seconds of each request, with the time for which it waits.
    """

    def __init__(self, maximum: int, seconds: float) -> None:
        self._room = anyio.Semaphore(maximum)
        self._seconds = seconds
        self._scopes: dict[object, anyio.CancelScope] = {}

    async def run(self, request: Request, key: object, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do the work for a request whose body was read, and return the result.

        Raises:
            SupersededError: There is a newer request with this key.
            ClientDisconnect: The caller has closed the connection.
            HTTPException: Status 503: the time is over.
        """
        results = list[_T]()
        with anyio.move_on_after(self._seconds) as scope:
            if (earlier := self._scopes.get(key)) is not None:
                earlier.cancel()
            self._scopes[key] = scope
            try:
                async with while_connected(request.receive), self._room:
                    results.append(await work())
            finally:
                if self._scopes.get(key) is scope:
                    del self._scopes[key]
        if results:
            return results[0]
        if not scope.cancelled_caught:
            raise ClientDisconnect
        if anyio.current_time() < scope.deadline:
            raise SupersededError("a newer request has taken the place of this one")
        detail = f"no result within {self._seconds:g} seconds; send the request again"
        raise HTTPException(503, detail, RETRY_AFTER)
