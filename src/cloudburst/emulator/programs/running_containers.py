"""Containers of the runtime process, with the pipes on which it reads from them."""

from __future__ import annotations

import os
from contextlib import suppress

MAX_LOG_EVENT_BYTES = 256 * 1024
"""Maximum size of a log event, in bytes: "CloudWatch Logs quotas" (2026-11)."""
READ_BYTES = 65_536


class Container:
    """Container: a process that leads a process group, and the pipe with the group's output."""

    def __init__(self, name: str, pid: int, output: int, status: int, *, has_init: bool) -> None:
        self.name = name
        self.pid = pid
        self.first = pid
        """Process id of the container's first process, which is a child of the process ``pid`` if
        the container runs in an image."""
        self.has_init = has_init
        """True if the first process is an init process, whose child is the program."""
        self.output = output
        self.closed = False
        """True if the group has closed its output."""
        self.status = status
        """Pipe that is readable when the container has started."""
        self.starting = True
        self._rest = b""

    def lines(self, *, last: bool = False) -> list[str]:
        """Return the lines of output since the last call, of which each call reads a part.

        Longer lines than a log event are split. If ``last`` is true, an incomplete line at the end
        of the output is returned as well.
        """
        with suppress(BlockingIOError):
            while len(self._rest) <= MAX_LOG_EVENT_BYTES and not self.closed:
                chunk = os.read(self.output, READ_BYTES)
                self.closed = not chunk
                self._rest += chunk
        *whole, self._rest = self._rest.split(b"\n")
        if self._rest and (last or len(self._rest) > MAX_LOG_EVENT_BYTES):
            whole.append(self._rest)
            self._rest = b""
        return [
            line[start : start + MAX_LOG_EVENT_BYTES].decode(errors="replace").rstrip("\r")
            for line in whole
            for start in range(0, len(line) or 1, MAX_LOG_EVENT_BYTES)
        ]
