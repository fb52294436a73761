"""Network stream that limits the size of the head of an HTTP answer."""

from __future__ import annotations

import ssl
from typing import Any

import httpcore

from cloudburst.models.transfers import TransferProblem
from cloudburst.net.transfers.errors import transfer_error

MAX_HEAD_BYTES = 32 * 1024
"""Largest size in bytes of the head of an answer, including informational answers before it. Heads
of S3 have at most 10 KB: 8 KB of headers and 2 KB of metadata."""
HEAD_READ_BYTES = 16 * 1024
"""Number of bytes that are read at once before the head is complete."""


class BoundedStream(httpcore.AsyncNetworkStream):
    """Stream of a connection on which one request after the other is made."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._in_head = True
        self._head_bytes = 0
        self.ended = False
        """True after the server has closed the connection."""

    def head_complete(self) -> None:
        """End the limit: what is read until the next request belongs to the body."""
        self._in_head = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Return received bytes; none at the end of the stream.

        Raises:
            httpcore.RemoteProtocolError: The head of the answer is too large.
            httpcore.ReadError: The server has closed the connection within the head.
        """
        if not self._in_head:
            data = await self._stream.read(max_bytes, timeout)
            self.ended = not data
            return data
        data = await self._stream.read(min(max_bytes, HEAD_READ_BYTES), timeout)
        self._head_bytes += len(data)
        if not data:
            self.ended = True
            raise httpcore.ReadError("the server closed the connection without an answer")
        if self._head_bytes > MAX_HEAD_BYTES:
            msg = f"the head of the answer has more than {MAX_HEAD_BYTES} bytes"
            raise httpcore.RemoteProtocolError(msg)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send bytes of a request."""
        self._in_head, self._head_bytes = True, 0
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Return the stream with TLS on top of it.

        Raises:
            TransferError: The server's certificate is not trusted: a repetition would not help.
        """
        try:
            stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectError as exc:
            if not isinstance(exc.__cause__, ssl.SSLCertVerificationError):
                raise
            reason = f"the server's certificate is not trusted: {exc.__cause__.verify_message}"
            raise transfer_error(TransferProblem.INVALID, reason) from exc
        return BoundedStream(stream)

    def get_extra_info(self, info: str) -> Any:
        """Return what the network knows about the connection."""
        # A body without a length ends with the connection, of which httpcore learns from the
        # network only: it would use the connection again until the network knows of its end.
        if info == "is_readable" and self.ended:
            return True
        return self._stream.get_extra_info(info)
