"""Servers that run with the emulator on this machine: their addresses, and requests to them."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterable, Container, Mapping, Sequence

from aiohttp import ClientSession, web
from multidict import CIMultiDict
from yarl import URL

from cloudburst.emulator.errors import EmulatorError

# Number of the last lines of a server's output that an error shows.
SHOWN_LINES = 20
# Maximum number of characters of each of these lines.
SHOWN_LINE_CHARS = 500


class AddressListener:
    """Listener that waits until a server prints its address."""

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


LENGTH = frozenset({"content-length"})
# Headers that apply to one connection only, or that the emulator sets itself.
DROPPED_HEADERS = frozenset({"connection", "date", "expect", "server", "transfer-encoding"})


async def forward(
    session: ClientSession,
    request: web.Request,
    url: str,
    body: bytes | AsyncIterable[bytes] | None,
) -> web.Response:
    """Forward a request with this body and the session's headers, and return the response."""
    async with session.request(
        request.method,
        URL(url + request.raw_path, encoded=True),
        data=body,
        headers=_without(DROPPED_HEADERS | LENGTH, request.headers),
        allow_redirects=False,
        skip_auto_headers=("Accept-Encoding", "Content-Type"),
    ) as got:
        is_head = request.method == "HEAD"
        kept = _without(DROPPED_HEADERS if is_head else DROPPED_HEADERS | LENGTH, got.headers)
        content = None if is_head else await got.read()
        return web.Response(body=content, status=got.status, headers=kept)


def _without(names: Container[str], headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((k, v) for k, v in headers.items() if k.lower() not in names)
