"""Line between client and workers with a delay, and a rate that all connections share."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskGroup

from cloudburst.models.task import FoundTask, LaunchRequest, TaskId, TaskStatus
from cloudburst.ports.backend import Backend, Launcher

BURST = 0.02
"""Seconds by which bytes may be passed ahead of the rate."""
BUFFER_BYTES = 64 * 1024
"""Size of the socket buffers of the proxy, so that little waits outside of the line."""
BLOCKS_UNDER_WAY = 1000
"""Largest number of blocks that are under way on a connection."""

_ENDED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


@dataclass(kw_only=True)
class Rate:
    """Rate limit of one direction, in bytes per second."""

    rate: float
    _free_at: float = 0.0

    async def pass_block(self, size: int) -> None:
        """Wait until a block has passed; blocks of all connections pass in the order of calls."""
        now = anyio.current_time()
        self._free_at = max(self._free_at, now - BURST) + size / self.rate
        await anyio.sleep(max(0.0, self._free_at - now))


@dataclass(kw_only=True)
class Line:
    """Properties of a line; a rate may be for each connection, or for all of them together."""

    rate: float = math.inf
    """Bytes per second in each direction."""
    round_trip: float = 0.0
    """Seconds from a byte sent to an answer received."""
    shared: bool = False
    """True if all connections share the rate."""
    block: int = 64 * 1024
    """Largest number of bytes that are passed at once."""
    _shared: tuple[Rate, Rate] | None = field(default=None, init=False)

    def rates(self) -> tuple[Rate, Rate]:
        """Return the limits of a new connection: those to the worker and from it."""
        if not self.shared:
            return Rate(rate=self.rate), Rate(rate=self.rate)
        self._shared = self._shared or (Rate(rate=self.rate), Rate(rate=self.rate))
        return self._shared


class LineProxy:
    """Proxy in front of one worker, at the other end of a line."""

    def __init__(self, port: int, line: Line) -> None:
        self._port = port
        self._line = line

    async def handle(self, client: SocketStream) -> None:
        to_worker, from_worker = self._line.rates()
        async with client, await anyio.connect_tcp("127.0.0.1", self._port) as worker:
            _limit_buffers(client)
            await anyio.sleep(self._line.round_trip)  # the handshake of TCP
            async with anyio.create_task_group() as tasks:
                for source, sink, rate in (
                    (client, worker, to_worker),
                    (worker, client, from_worker),
                ):
                    tasks.start_soon(self._pump, source, sink, rate, tasks)

    async def _pump(
        self, source: ByteStream, sink: ByteStream, rate: Rate, tasks: TaskGroup
    ) -> None:
        send, receive = anyio.create_memory_object_stream[tuple[float, bytes]](BLOCKS_UNDER_WAY)
        tasks.start_soon(self._deliver, receive, sink, tasks.cancel_scope)
        try:
            while True:
                block = await source.receive(self._line.block)
                await rate.pass_block(len(block))
                await send.send((anyio.current_time() + self._line.round_trip / 2, block))
        except _ENDED:
            await anyio.sleep(self._line.round_trip / 2)
            tasks.cancel_scope.cancel()

    @staticmethod
    async def _deliver(
        blocks: anyio.abc.ObjectReceiveStream[tuple[float, bytes]],
        sink: ByteStream,
        scope: anyio.CancelScope,
    ) -> None:
        try:
            async for at, block in blocks:
                await anyio.sleep(max(0.0, at - anyio.current_time()))
                await sink.send(block)
        except _ENDED:
            scope.cancel()


def _limit_buffers(stream: SocketStream) -> None:
    raw = stream.extra(SocketAttribute.raw_socket)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        raw.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)


@dataclass(frozen=True, slots=True)
class FarLauncher:
    """Launcher whose tasks are reached over a line."""

    launcher: Launcher
    tasks: TaskGroup
    line: Line
    addresses: dict[str, str]

    async def launch(self, request: LaunchRequest) -> TaskId:
        return await self.launcher.launch(request)

    async def stop(self, task: TaskId, *, reason: str) -> None:
        await self.launcher.stop(task, reason=reason)

    async def find(self, run: str) -> Sequence[FoundTask]:
        return await self.launcher.find(run)

    async def post_mortem(self, task: TaskId) -> str | None:
        return await self.launcher.post_mortem(task)

    async def describe(self, task: TaskId, *, refresh: bool = False) -> TaskStatus:
        status = await self.launcher.describe(task, refresh=refresh)
        if status.address is None:
            return status
        if status.address not in self.addresses:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            proxy = LineProxy(int(status.address.rpartition(":")[2]), self.line)
            self.tasks.start_soon(listener.serve, proxy.handle)
            port = listener.extra(SocketAttribute.local_port)
            self.addresses[status.address] = f"http://127.0.0.1:{port}"
        return replace(status, address=self.addresses[status.address])


@asynccontextmanager
async def far_away(backend: Backend, line: Line) -> AsyncGenerator[Backend]:
    """Yield a backend whose workers are reached over a line."""
    async with anyio.create_task_group() as tasks:
        launcher = FarLauncher(backend.launcher, tasks, line, {})
        yield replace(backend, launcher=launcher, shares_uplink=True)
        tasks.cancel_scope.cancel()
