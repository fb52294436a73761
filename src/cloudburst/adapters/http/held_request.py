"""A ``POST /create_video_onestep`` request whose body is completed when the encode should start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import anyio
import httpx
from httpcore import AsyncNetworkStream

from cloudburst.adapters.http.connection import CONNECT_TIMEOUT, HttpConnection
from cloudburst.adapters.http.request_body import OnestepBody
from cloudburst.adapters.http.response import (
    REQUEST_ERRORS,
    UnavailableError,
    WorkerResponse,
    fail_after,
    read_response,
    translate_library_errors,
)
from cloudburst.errors import CloudburstError
from cloudburst.ports.sending import Sending

VIDEO_PATH = "/create_video_onestep"
HOLD_TIMEOUT = 50.0
"""Maximum number of seconds for which the last bytes of a request body are held back. Our own
render service, and proxies, drop a request if nothing arrives for 60 s."""


class HoldTimeoutError(UnavailableError):
    """Error for a request that was dropped because the end of its body was not released in time."""


class HeldRequest(httpx.AsyncByteStream):
    """Request for one video, sent in two steps: `run` holds back the last bytes of the body.

    `finish` releases these bytes. The worker begins to encode when it has the whole body. From then
    on the encode cannot be stopped, and the request must not be repeated on the same worker.
    """

    def __init__(self, connection: HttpConnection, body: OnestepBody, sending: Sending) -> None:
        self.complete = False
        """True if the last bytes of the body were possibly sent."""
        self.bytes_sent = 0
        self.held = False
        """True if all but the last bytes of the body were sent."""
        self.response: WorkerResponse | None = None
        self._connection = connection
        self._body = body
        self._sending = sending
        self._pieces = body.pieces()
        self._piece = next(self._pieces, None)
        self._bytes_taken = 0
        self._released = anyio.Event()
        self._held_or_ended = anyio.Event()
        self._ended = anyio.Event()
        self._scope = anyio.CancelScope()
        self._cancelled = False
        self._network: AsyncNetworkStream | None = None
        self._error: Exception | None = None

    @property
    def unanswered(self) -> bool:
        """True if the whole body was possibly sent and no response was received."""
        return self.complete and self.response is None

    async def run(self) -> None:
        """Send the request and receive the response. Must run in a task of its own."""
        # The engine limits the time of the encode, and keep-alive detects a broken connection.
        silence = self._connection.timeouts.silence
        timeout = httpx.Timeout(read=None, write=silence, connect=CONNECT_TIMEOUT, pool=None)
        headers = {"Content-Type": "application/json", "Content-Length": str(self._body.length)}
        try:
            with self._scope, translate_library_errors():
                request = self._connection.http_client.build_request(
                    "POST",
                    VIDEO_PATH,
                    headers=headers,
                    timeout=timeout,
                    extensions={"trace": self._trace},
                )
                request.stream = self  # as ``content``, httpx would wrap it in a generator
                response = await self._connection.http_client.send(request, stream=True)
                try:
                    with fail_after(silence, "no complete answer"):
                        self.response = await read_response(response)
                finally:
                    await response.aclose()
        except (*REQUEST_ERRORS, CloudburstError) as exc:
            self._error = exc
        finally:
            self._ended.set()
            self._held_or_ended.set()

    async def wait_until_held(self) -> int:
        """Wait until all but the last bytes of the body are sent, or the request has ended.

        Returns:
            Number of bytes that were sent.

        Raises:
            UploadError: A file cannot be read, or was changed.
            WorkerStoppedError: The connection is closed.
        """
        await self._held_or_ended.wait()
        if isinstance(self._error, CloudburstError):
            raise self._error
        return self.bytes_sent

    async def finish(self) -> WorkerResponse:
        """Release the last bytes of the body and wait for the response.

        If this call is cancelled, the request is cancelled, too.

        Raises:
            UploadError: A file cannot be read, or was changed.
            httpx.RequestError, UnavailableError: There is no useful answer (`REQUEST_ERRORS`).
        """
        self._released.set()
        try:
            await self._ended.wait()
        finally:
            self.cancel()
        if self._error is not None:
            raise self._error
        if self.response is None:
            msg = "the request was cancelled by this process"
            raise UnavailableError(msg)
        if self.response.status == 408 and not self.complete:
            msg = "the worker stopped waiting for the last bytes"
            raise UnavailableError(msg)
        return self.response

    def cancel(self) -> None:
        """Cancel the request; no further bytes are sent."""
        self._cancelled = True
        self._scope.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes of the body; a call implies that the previous bytes were sent."""
        self.bytes_sent = self._bytes_taken
        piece, self._piece = self._piece, next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, bytes):
            block = piece
        else:
            await self._sending.wait(self.bytes_sent)
            block = await piece.to_base64()
        if self._piece is None:
            self.held = True
            self._held_or_ended.set()
            with anyio.move_on_after(HOLD_TIMEOUT):
                await self._released.wait()
            if self._cancelled or not self._released.is_set():
                msg = f"the last bytes were not released within {HOLD_TIMEOUT:g} s"
                raise HoldTimeoutError(msg)
            self.complete = not self._has_answered()
        self._bytes_taken += len(block)
        return block

    async def _trace(self, event: str, facts: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._network = facts["return_value"]
        elif event == "connection.start_tls.started":
            self._network = None  # readable bytes may belong to TLS itself

    def _has_answered(self) -> bool:
        """Return whether the worker answered or disconnected early, so that it will not encode."""
        return self._network is not None and bool(self._network.get_extra_info("is_readable"))
