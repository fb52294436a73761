"""Listener for the address of a server that runs with the emulator."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Sequence

from cloudburst.emulator.errors import EmulatorError

SHOWN_LINES = 20
"""Number of the last lines of a server's output that an error shows."""
SHOWN_LINE_CHARS = 500
"""Maximum number of characters of each of these lines."""


class AddressListener:
    """Listener that waits until a server prints its address.

    Args:
        server: Name of the server, for errors.
        pattern: Part of the line with the address, which is the first group.
    """

    def __init__(self, server: str, pattern: re.Pattern[str]) -> None:
        self.address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Address of the server; `EmulatorError` if it ends before it prints one."""
        self._server = server
        self._pattern = pattern
        self._lines = deque[str](maxlen=SHOWN_LINES)

    @property
    def last_lines(self) -> str:
        """Last lines of the server's output."""
        return "\n".join(line[:SHOWN_LINE_CHARS] for line in self._lines)

    def started(self, pid: int) -> None:
        """Ignore the start of the process."""

    def wrote(self, lines: Sequence[str]) -> None:
        """Look for the address in lines of the output."""
        for line in lines:
            if not self.address.done() and (found := self._pattern.search(line)):
                self.address.set_result(found[1])
            self._lines.append(line)

    def ended(self, code: int) -> None:
        """Report the end of the server if it has printed no address."""
        if not self.address.done():
            text = f"{self._server}: exit code {code}:\n{self.last_lines}"
            self.address.set_exception(EmulatorError(text))
