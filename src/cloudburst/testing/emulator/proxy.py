"""A way to a worker on which bytes are counted and connections are cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress

from anyio import create_task_group, sleep

BLOCK = 64 * 1024
SECONDS_BETWEEN_LOOKS = 0.02


class Proxy:
    """Listens at a task's address and passes bytes on to its worker, at another one."""

    def __init__(self, address: str, worker: str, port: int, cuts: Mapping[int, int]) -> None:
        self._address = address
        self._worker = worker
        self._port = port
        self._cuts = cuts
        self._connections = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        """Until cancelled. Nobody can connect before the worker itself listens."""
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(self._worker, self._port)
                writer.close()
                break
            await sleep(SECONDS_BETWEEN_LOOKS)
        server = await asyncio.start_server(self._connected, self._address, self._port)
        try:
            await server.serve_forever()
        finally:
            server.close()
            self.cut()

    def cut(self) -> int:
        """Reset all connections; returns how many there were."""
        for writer in self._open:
            _reset(writer)
        return len(self._open) // 2

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._cuts.get(self._connections)
        self._connections += 1
        try:
            inner_reader, inner_writer = await asyncio.open_connection(self._worker, self._port)
        except OSError:
            _reset(writer)
            return
        pair = {writer, inner_writer}
        self._open |= pair
        allowance = _Allowance(left)

        def end() -> None:
            for each in pair:
                _reset(each)

        try:
            async with create_task_group() as tasks:
                tasks.start_soon(_pass_on, reader, inner_writer, allowance, end)
                tasks.start_soon(_pass_on, inner_reader, writer, allowance, end)
        finally:
            self._open -= pair
            for each in pair:
                each.close()


class _Allowance:
    """Bytes that may still pass, in both directions together."""

    def __init__(self, left: int | None) -> None:
        self._left = left

    @property
    def spent(self) -> bool:
        return self._left == 0

    def take(self, wanted: int) -> int:
        if self._left is None:
            return wanted
        taken = min(wanted, self._left)
        self._left -= taken
        return taken


async def _pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    allowance: _Allowance,
    end: Callable[[], None],
) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(BLOCK):
            writer.write(chunk[: allowance.take(len(chunk))])
            await writer.drain()
            if allowance.spent:
                end()
                return
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, not with FIN: what has not travelled is lost."""
    stream = writer.get_extra_info("socket")
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
