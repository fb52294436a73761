"""HTTP/1.1 parser that limits how much CPU time a peer can use with few bytes.

Each header line and each chunk takes microseconds of the event loop, even if it is short. A single
read from a socket can carry 40,000 chunks of one byte or 60,000 header lines.
"""

from __future__ import annotations

import re
from typing import Any

import h11

MAX_HEAD_BYTES = 16 * 1024
"""Largest size of a request head in bytes; those of our clients have 300 bytes."""
MAX_HEAD_LINES = 100
"""Maximum number of lines in a request head. Apache httpd has the same default limit for header
fields."""
UNCHECKED_CHUNKS = 1000
"""Number of chunks in a body above which the mean size of all its chunks is checked."""
MIN_MEAN_CHUNK_BYTES = 64
"""Smallest mean size of chunks, in bytes, in a body with more than `UNCHECKED_CHUNKS` chunks."""

_HEAD_END = re.compile(rb"\n\r?\n")


class BoundedParser(h11.Connection):
    """Parser for the server side of an HTTP/1.1 connection, with limits on heads and chunks.

    A chunked body is not parsed until the application needs it: then the owner of the parser sets
    `body_paused` to false and calls `next_event` again.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.body_paused = False
        """True while a chunked body is not parsed because the application has not asked for it
        yet."""
        self._chunks = 0
        self._body_bytes = 0

    def next_event(self) -> Any:
        """Return the next event; ``NEED_DATA`` if data is missing or `body_paused` is true.

        Raises:
            h11.RemoteProtocolError: the request is malformed, takes too much CPU time to parse, or
                has both a Content-Length and a chunked body.
        """
        if self.body_paused:
            return h11.NEED_DATA
        if self.their_state is h11.IDLE:
            self._check_head()
        event: Any = super().next_event()
        if type(event) is h11.Data:
            self._check_chunk(event)
        elif type(event) is h11.Request:
            names = {name for name, _ in event.headers}
            self.body_paused = b"transfer-encoding" in names
            self._chunks = self._body_bytes = 0
            if self.body_paused and b"content-length" in names:  # a proxy may have used the length
                raise h11.RemoteProtocolError("the body has a Content-Length and is chunked")
        return event

    def _check_head(self) -> None:
        waiting = self.trailing_data[0]
        end = _HEAD_END.search(waiting)
        size = end.end() if end else len(waiting)
        if size > MAX_HEAD_BYTES or waiting.count(b"\n", 0, size) > MAX_HEAD_LINES:
            raise h11.RemoteProtocolError("the request head is too long", error_status_hint=431)

    def _check_chunk(self, event: h11.Data) -> None:
        self._chunks += event.chunk_start
        self._body_bytes += len(event.data)
        if (
            self._chunks > UNCHECKED_CHUNKS
            and self._body_bytes < self._chunks * MIN_MEAN_CHUNK_BYTES
        ):
            raise h11.RemoteProtocolError("the chunks of the body are too small")
