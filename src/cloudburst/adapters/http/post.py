"""One ``POST /create_video_onestep`` on its way, whose last bytes can be held back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import anyio
import httpx
from httpcore import AsyncNetworkStream

from cloudburst.adapters.http.body import Body
from cloudburst.adapters.http.line import BROKEN, CONNECT, Line, UnableError
from cloudburst.errors import UploadError

VIDEO = "/create_video_onestep"
HOLD = 50.0
"""Seconds for which a worker is kept waiting for the last bytes: our own service gives a body up
of which nothing comes for 60 s, and so do proxies."""


class HeldTooLongError(UnableError):
    """Nobody asked for the last bytes in time: the request was given up before it was one."""


class Post(httpx.AsyncByteStream):
    """A request that another task sends; it is complete when its last bytes are let go.

    The worker begins when it has them all. From then on it cannot be stopped, and the request
    must not be made again there.
    """

    def __init__(self, line: Line, body: Body) -> None:
        self.complete = False
        """The last bytes may have left."""
        self.sent = 0
        """Bytes that have left."""
        self.response: httpx.Response | None = None
        self._line = line
        self._body = body
        self._pieces = body.pieces()
        self._piece = next(self._pieces, None)
        self._given = 0
        self._wanted = anyio.Event()
        self._waiting = anyio.Event()
        self._ended = anyio.Event()
        self._scope = anyio.CancelScope()
        self._killed = False
        self._stream: AsyncNetworkStream | None = None
        self._error: Exception | None = None

    @property
    def unanswered(self) -> bool:
        """Whether the worker may be at it without our ever hearing of it."""
        return self.complete and self.response is None

    async def run(self) -> None:
        """Send it and receive the answer: the work of a task of its own."""
        # The engine bounds the encode, and keep-alive tells of a dead connection.
        silence = self._line.timeouts.silence
        timeout = httpx.Timeout(read=None, write=silence, connect=CONNECT, pool=None)
        headers = {"Content-Type": "application/json", "Content-Length": str(self._body.length)}
        try:
            with self._scope:
                request = self._line.http.build_request(
                    "POST",
                    VIDEO,
                    headers=headers,
                    timeout=timeout,
                    extensions={"trace": self._trace},
                )
                request.stream = self  # as content, httpx would wrap it in a generator
                self.response = await self._line.http.send(request)
        except (*BROKEN, UploadError) as exc:
            self._error = exc
        finally:
            self._ended.set()
            self._waiting.set()

    async def held(self) -> int:
        """Wait until all but the last bytes have left, or no more will; return how many have.

        Raises:
            UploadError: a file cannot be read, or changes.
        """
        await self._waiting.wait()
        if isinstance(self._error, UploadError):
            raise self._error
        return self.sent

    async def answer(self) -> httpx.Response:
        """Let the last bytes go and wait for the answer. Cancelled, it ends the request.

        Raises:
            UploadError: a file cannot be read, or changes.
            httpx.RequestError, UnableError: there is none; what is in `BROKEN`.
        """
        self._wanted.set()
        try:
            await self._ended.wait()
        finally:
            self.kill()
        if self._error is not None:
            raise self._error
        if self.response is None:
            msg = "the request was cut off here"
            raise UnableError(msg)
        if self.response.status_code == 408 and not self.complete:
            msg = "the worker gave up waiting for the last bytes"
            raise UnableError(msg)
        return self.response

    def kill(self) -> None:
        """End it: what has not left stays here."""
        self._killed = True
        self._scope.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes of the body; that they are asked for says that the last ones have left."""
        self.sent = self._given
        piece, self._piece = self._piece, next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        block = piece if isinstance(piece, bytes) else await piece.coded()
        if self._piece is None:
            self._waiting.set()
            with anyio.move_on_after(HOLD):
                await self._wanted.wait()
            if self._killed or not self._wanted.is_set():
                msg = f"nobody asked for it within {HOLD:g} s"
                raise HeldTooLongError(msg)
            self.complete = not self._has_spoken()
        self._given += len(block)
        return block

    async def _trace(self, event: str, facts: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._stream = facts["return_value"]
        elif event == "connection.start_tls.started":
            self._stream = None  # what can be read there may be TLS's own

    def _has_spoken(self) -> bool:
        """Whether the worker has closed or answered already: then it will not begin."""
        return self._stream is not None and bool(self._stream.get_extra_info("is_readable"))
