"""Containers that run somewhere already as a backend: each address is a worker, lent in turn."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import anyio

from cloudburst.adapters.http import native, onestep
from cloudburst.adapters.http.files import Hashes
from cloudburst.adapters.http.line import checked_address, checked_key
from cloudburst.engine.assumed import endpoints_kind, endpoints_pace
from cloudburst.errors import CapacityError, ConfigurationError, WorkerError
from cloudburst.models.options import RenderOptions
from cloudburst.models.policy import Timeouts
from cloudburst.models.scene import Scene
from cloudburst.models.task import (
    FoundTask,
    LaunchRequest,
    Protocol,
    Secrets,
    TaskId,
    TaskState,
    TaskStatus,
)
from cloudburst.ports import Arrived, Backend, Connect, Download, Output, Progress, Renderer, Upload

REST = 10.0
"""Seconds for which an address is not lent after it was of no use. Others take its scenes
meanwhile; lent again at once, it would fail them all in turn."""


@asynccontextmanager
async def open_endpoints(
    addresses: Sequence[str],
    *,
    key: str,
    protocol: Protocol,
    encoders: int = 1,
    timeouts: Timeouts,
) -> AsyncGenerator[Backend]:
    """A backend that starts and stops nothing.

    Args:
        addresses: Base URLs. ``https`` is for those that the system's authorities know.
        key: What all of them want; empty when they want none.
        protocol: What all of them speak.
        encoders: Scenes that each encodes at once. More than one is for our own service only: the
            public image's scenes get into each other's way.
        timeouts: ``silence`` and ``call`` count here.

    Raises:
        ConfigurationError: an address, the key or a count is nothing to work with.
    """
    secrets = Secrets(key=checked_key(key))
    if encoders < 1:
        msg = f"encoders={encoders}: at least 1"
        raise ConfigurationError(msg)
    endpoints = _checked(addresses)
    launcher = EndpointLauncher(endpoints)
    yield Backend(
        name="endpoints",
        launcher=launcher,
        connect=_connect(launcher, protocol, timeouts),
        capacity=len(endpoints),
        encoders=encoders,
        cancels=protocol is Protocol.NATIVE,
        new_secrets=lambda: secrets,
        kind=endpoints_kind([endpoint.address for endpoint in endpoints], protocol),
        pace=endpoints_pace(protocol, at_once=encoders),
        slowness=onestep.SLOWNESS if protocol is Protocol.ONESTEP else 0.0,
    )


@dataclass(eq=False, slots=True, kw_only=True)
class Endpoint:
    """One address."""

    address: str
    task: TaskId | None = None
    """To whom it is lent now."""
    failed: float = -math.inf
    """When it last was of no use, on anyio's clock."""
    used: float = -math.inf
    """When it was last given back."""


class EndpointLauncher:
    """Lends addresses; nothing is started or stopped."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._tasks: dict[str, TaskId] = {}  # of each request, by its token
        self._numbers = count(1)

    async def launch(self, request: LaunchRequest) -> TaskId:
        """Lend a free address: one that has not failed, or else failed longest ago.

        Raises:
            CapacityError: all are lent, or have just failed.
        """
        if (task := self._tasks.get(request.token)) is not None:
            return task
        rested = anyio.current_time() - REST
        free = [e for e in self._endpoints if e.task is None and e.failed <= rested]
        if not free:
            msg = f"all {len(self._endpoints)} addresses are in use, or have just failed"
            raise CapacityError(msg)
        chosen = min(free, key=lambda endpoint: (endpoint.failed, endpoint.used))
        chosen.task = TaskId(f"{chosen.address}#{next(self._numbers)}")
        self._tasks[request.token] = chosen.task
        return chosen.task

    async def describe(self, task: TaskId, *, anew: bool = False) -> TaskStatus:  # noqa: ARG002
        """Whether the address is still lent to it."""
        for endpoint in self._endpoints:
            if endpoint.task == task:
                return TaskStatus(state=TaskState.RUNNING, address=endpoint.address)
        return TaskStatus(state=TaskState.STOPPED, reason="its address was given back")

    async def stop(self, task: TaskId, *, reason: str) -> None:  # noqa: ARG002
        """Take the address back. What runs there goes on running."""
        for endpoint in self._endpoints:
            if endpoint.task == task:
                endpoint.task = None
                endpoint.used = anyio.current_time()

    async def find(self, run: str) -> Sequence[FoundTask]:  # noqa: ARG002
        """None: what was lent to a process that is no more is nobody's."""
        return ()

    async def post_mortem(self, task: TaskId) -> str | None:  # noqa: ARG002
        """Nothing is known of what runs there."""
        return None

    def judge(self, address: str, *, useless: bool) -> None:
        """Take note of how it went there: others come first for a while, or not."""
        for endpoint in self._endpoints:
            if endpoint.address == address:
                endpoint.failed = anyio.current_time() if useless else -math.inf


def _connect(launcher: EndpointLauncher, protocol: Protocol, timeouts: Timeouts) -> Connect:
    hashes = Hashes()

    @asynccontextmanager
    async def connect(address: str, *, secrets: Secrets) -> AsyncGenerator[Renderer]:
        line = (
            onestep.connect(address, secrets=secrets, timeouts=timeouts)
            if protocol is Protocol.ONESTEP
            else native.connect(address, secrets=secrets, timeouts=timeouts, hashes=hashes)
        )
        async with line as renderer:
            observed = _Observed(renderer)
            try:
                yield observed
            finally:
                if observed.useless is not None:
                    useless = observed.useless or renderer.abandoned
                    launcher.judge(address, useless=useless)

    return connect


class _Observed:
    """A renderer of which is known whether it is of use; ``None``: nothing was asked of it yet."""

    def __init__(self, renderer: Renderer) -> None:
        self.useless: bool | None = None
        self._renderer = renderer

    @property
    def abandoned(self) -> bool:
        return self._renderer.abandoned

    async def healthy(self) -> bool:
        self.useless = not await self._renderer.healthy()
        return not self.useless

    async def clear(self) -> None:
        with self._watched():
            await self._renderer.clear()

    async def upload(self, scene: Scene, options: RenderOptions) -> Upload:
        with self._watched():
            return await self._renderer.upload(scene, options)

    async def generate(self, upload: Upload, *, progress: Progress) -> Output:
        with self._watched():
            return await self._renderer.generate(upload, progress=progress)

    async def download(
        self, output: Output, to: Path, *, arrived: Arrived | None = None
    ) -> Download:
        with self._watched():
            return await self._renderer.download(output, to, arrived=arrived)

    @contextmanager
    def _watched(self) -> Generator[None]:
        try:
            yield
        except WorkerError:
            self.useless = True
            raise


def _checked(addresses: Sequence[str]) -> tuple[Endpoint, ...]:
    if isinstance(addresses, str) or not addresses:
        msg = f"{addresses!r}: expected base URLs of workers, at least one"
        raise ConfigurationError(msg)
    endpoints = [
        Endpoint(address=str(checked_address(address)).rstrip("/")) for address in addresses
    ]
    seen: set[str] = set()
    for endpoint in endpoints:
        if endpoint.address in seen:
            msg = f"{endpoint.address} is named twice: each address is one worker"
            raise ConfigurationError(msg)
        seen.add(endpoint.address)
    return tuple(endpoints)
