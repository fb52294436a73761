"""Address of a worker: a proxy that can cut connections, or an address where they hang."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from anyio import create_task_group, sleep

from cloudburst.emulator.addresses import BlackHole
from cloudburst.emulator.config import TaskFault
from cloudburst.emulator.shared_state import SharedState

COPY_BLOCK_BYTES = 64 * 1024
# Seconds between two attempts to connect to a worker that does not listen yet.
CONNECT_RETRY_DELAY = 0.02


class WorkerProxy:
    """TCP proxy from the address of a task to the address at which the task's worker listens."""

    def __init__(self, address: str, worker: str, port: int, cuts: Mapping[int, int]) -> None:
        self._address = address
        self._worker = worker
        self._port = port
        self._cuts = cuts
        self._connections = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        """Forward connections until cancelled; accept none before the worker itself listens."""
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(self._worker, self._port)
                writer.close()
                break
            await sleep(CONNECT_RETRY_DELAY)
        server = await asyncio.start_server(self._connected, self._address, self._port)
        try:
            await server.serve_forever()
        finally:
            server.close()
            self.cut()

    def cut(self) -> int:
        """Reset all connections and return their number."""
        for writer in self._open:
            _reset(writer)
        return len(self._open) // 2

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self._cuts.get(self._connections, sys.maxsize)
        self._connections += 1
        try:
            inner_reader, inner_writer = await asyncio.open_connection(self._worker, self._port)
        except OSError:
            _reset(writer)
            return
        pair = {writer, inner_writer}

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            nonlocal left
            with suppress(ConnectionError):
                while chunk := await source.read(COPY_BLOCK_BYTES):
                    chunk = chunk[:left]
                    left -= len(chunk)
                    target.write(chunk)
                    await target.drain()
                    if not left:
                        for each in pair:
                            _reset(each)
                        return
                target.write_eof()

        self._open |= pair
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(pass_on, reader, inner_writer)
                tasks.start_soon(pass_on, inner_reader, writer)
        finally:
            self._open -= pair
            for each in pair:
                each.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN: unsent data is lost."""
    stream = writer.get_extra_info("socket")
    with suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass(slots=True, kw_only=True)
class WorkerAddress:
    """Address at which the worker of a task listens."""

    shared: SharedState
    fault: TaskFault
    address: str = ""
    """IP address of the worker; empty before the worker is started."""
    proxy: WorkerProxy | None = None
    _hole: BlackHole | None = field(default=None)

    def open(
        self, outer: str, *, port_open: bool, run: Callable[[Callable[[], Awaitable[None]]], None]
    ) -> None:
        """Prepare the address of a task."""
        config = self.shared.config
        self.address = outer
        if self.fault.black_hole or not port_open:
            self._hole = BlackHole(outer, config.port)
            self.address = self.shared.addresses.take()
        elif self.fault.cut_connections or config.proxy_connections:
            self.address = self.shared.addresses.take()
            self.proxy = WorkerProxy(outer, self.address, config.port, self.fault.cut_connections)
            run(self.proxy.serve)

    def close(self) -> None:
        """Close a listener that answers no connection."""
        if self._hole:
            self._hole.close()

    def release(self, *outer: str | None) -> None:
        """Release the addresses of the task after its network interface was deleted."""
        for address in filter(None, {*outer, self.address}):
            self.shared.addresses.release(address)
