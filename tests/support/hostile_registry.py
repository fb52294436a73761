"""A TCP server on loopback that answers requests of a registry with any bytes, at any speed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from cloudburst.net.registry.documents import OCI_MANIFEST


@dataclass
class Request:
    """Request that the server has received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader


@dataclass
class HostileRegistry:
    """Its ``answer`` is bytes, or a coroutine function of a request and a writer.

    The connection is closed after an answer unless ``keep`` is true. ``numbered`` answers come
    before it, one for each request.
    """

    answer: object = b""
    numbered: list = field(default_factory=list)
    keep: bool = False
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    open_connections: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def asked(self):
        """Wait until the server answers with ``answer``."""
        while self.numbered or not self.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def left(self):
        """Wait until the client has left: the server sees that later."""
        while self.open_connections:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def handle(self, reader, writer):
        self.open_connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                while request := await read_request(reader):
                    self.requests.append(request)
                    answer = self.numbered.pop(0) if self.numbered else self.answer
                    if isinstance(answer, bytes):
                        writer.write(answer)
                    else:
                        await answer(request, writer)
                    await writer.drain()
                    if not self.keep:
                        break
        finally:
            self.open_connections -= 1
            writer.close()


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    return Request(method, path, headers, body, reader)


@asynccontextmanager
async def hostile_registry(answer=b"", **options):
    """Run a server; at the end, every connection of the client is closed."""
    registry = HostileRegistry(answer, **options)
    running = set()

    async def handle(reader, writer):
        running.add(asyncio.current_task())
        try:
            await registry.handle(reader, writer)
        finally:
            running.discard(asyncio.current_task())

    server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=2**20)
    registry.port = server.sockets[0].getsockname()[1]
    try:
        yield registry
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def head(status, *lines, **headers):
    """The head of an answer; names of headers have underscores."""
    named = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, *named, "", ""]).encode()


def whole(status, body=b"", **headers):
    """An answer with its length."""
    return head(status, Content_Length=len(body), **headers) + body


def manifest(body):
    return whole("200 OK", body, Content_Type=OCI_MANIFEST)


def endless(first, piece, *, pause=0.0):
    """An answer that begins with ``first`` and repeats ``piece`` as long as it is read."""

    async def answer(_, writer):
        writer.write(first)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


def silent(first=b""):
    """An answer that stops after its first bytes, and keeps the connection."""

    async def answer(request, writer):
        writer.write(first)
        await writer.drain()
        await request.reader.read()  # until the client leaves

    return answer


def reset(first=b""):
    """An answer that is cut by a reset of the connection."""

    async def answer(_, writer):
        writer.write(first)
        await writer.drain()
        writer.transport.abort()

    return answer
