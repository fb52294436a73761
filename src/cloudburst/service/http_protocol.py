"""uvicorn's HTTP/1.1 protocol for one connection, with additional limits of time and memory."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloudburst.service.connections import Connection
from cloudburst.service.http_parser import BoundedParser

KEEP_ALIVE_TIMEOUT = 60
"""Seconds after a request with the key after which an idle connection is closed; a client must
close or use it earlier."""
STRANGER_KEEP_ALIVE_TIMEOUT = 5
"""Seconds after a request without the key after which an idle connection is closed."""
MAX_DISCARDED_BYTES = 4 * 1024 * 1024
"""Maximum number of bytes of a rejected chunked body that are read and discarded, so that the
caller can read the response. After more bytes, the connection is closed."""
CONNECTION_KEY = "connection"
"""Key of the `Connection` in the ``state`` of a request's ASGI scope."""


class BoundedProtocol(H11Protocol):
    """Protocol that closes a connection if a request head is late or the peer stops reading."""

    conn: BoundedParser

    def __init__(self, *, connection: Connection, head: float, stall: float, **more: Any) -> None:
        super().__init__(app_state={CONNECTION_KEY: connection}, **more)
        self.conn = BoundedParser()
        self._served = self.app
        self.app = self._serve
        self._discarded = 0
        self._connection = connection
        self._head = head
        self._stall = stall
        self._had_request = False
        self._wait = 0.0
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit for the first request head."""
        self._connection.transport = transport
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of the closed connection."""
        self._connection.lost()
        for timer in (self._read_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, unless it belongs to a chunked body that the application ignored."""
        if self.conn.body_paused and self.conn.our_state is not h11.SEND_RESPONSE:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED_BYTES:
                self._connection.abort()
            return
        super().data_received(data)
        if self.conn.body_paused:
            self.flow.pause_reading()  # until the application has decided
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request; close the connection if a response has already begun."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self._connection.abort()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; parse a chunked body only if the application asks for it."""
        cycle = self.cycle
        if self.conn.body_paused:
            cycle.default_headers = [*cycle.default_headers, CLOSE_HEADER]

        async def resume_and_receive() -> Message:
            if (
                self.conn.body_paused
                and self.conn.our_state is h11.SEND_RESPONSE
                and cycle is self.cycle
            ):
                cycle.default_headers = self.server_state.default_headers
                self.conn.body_paused = False
                self.handle_events()
            return await receive()

        await self._served(scope, resume_and_receive if self.conn.body_paused else receive, send)

    def on_response_complete(self) -> None:
        """Note the end of the request, and limit the time until the next one."""
        self.timeout_keep_alive = (
            KEEP_ALIVE_TIMEOUT if self._connection.is_authorised else STRANGER_KEEP_ALIVE_TIMEOUT
        )
        self._connection.request_over()
        self._had_request = True
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Start the time limit for a peer that does not read."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._stall, self._connection.abort)

    def resume_writing(self) -> None:
        """Stop the time limit, because the peer reads again."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _watch(self) -> None:
        """Set the time limit for the next data from the peer, unless it is already set."""
        wait = self._awaited()
        if wait != self._wait:
            self._wait = wait
            if self._read_timer is not None:
                self._read_timer.cancel()
                self._read_timer = None
            if wait:
                self._read_timer = self.loop.call_later(wait, self._connection.abort)

    def _awaited(self) -> float:
        """Return the seconds that the peer may take for its next data; 0 for no limit."""
        if self.conn.their_state is h11.IDLE:
            # Between two requests, uvicorn's timer closes the connection, until the first byte of
            # the next head stops that timer.
            idle = self._had_request and not self.conn.trailing_data[0]
            return 0.0 if idle else self._head
        if self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            return self._stall  # the rest of a rejected body
        return 0.0  # the application reads the body with its own deadline
