"""Containers: real processes, started and ended through a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from anyio import create_task_group, fail_after, to_thread

from cloudburst.engine.groups import unwrapped

PROGRAMS = Path(__file__).parent / "programs"
LINE_BYTES = 16 * 1024 * 1024
"""The longest event of the runtime: what a container has written at once."""
SECONDS_TO_END = 10.0


class Listener(Protocol):
    """Hears of one container; never raises."""

    def started(self, pid: int) -> None:
        """Its process is there."""
        ...

    def wrote(self, lines: Sequence[str]) -> None:
        """Lines of its output."""
        ...

    def ended(self, code: int) -> None:
        """Nothing of it is left; the exit code is that of a shell."""
        ...


class Containers:
    """The line to the runtime. For one event loop."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._listeners: dict[str, Listener] = {}
        self._cuts: dict[str, list[asyncio.Future[int]]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        listener: Listener,
        *,
        ignores_sigterm: bool = False,
        frozen: bool = False,
    ) -> None:
        """Start a container under a name of its own; without a command it is the small worker."""
        self._listeners[name] = listener
        self._say(
            do="start",
            name=name,
            argv=list(command),
            env=dict(environment),
            ignores=ignores_sigterm,
            frozen=frozen,
        )

    def send(self, name: str, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to its first process, or to all; to one that has ended, nothing happens."""
        self._say(do="signal", name=name, number=int(number), group=group)

    async def cut(self, name: str) -> int:
        """Reset its connections; returns how many. Raises `OSError` where Linux forbids it."""
        future = asyncio.get_running_loop().create_future()
        self._cuts.setdefault(name, []).append(future)
        self._say(do="cut", name=name)
        return int(await future)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Tell the listeners what happens, until cancelled."""
        while line := await reader.readline():
            self._heard(json.loads(line))
        raise RuntimeError("the process that keeps the containers has ended")

    def _heard(self, event: dict[str, Any]) -> None:
        name, listener = event["name"], self._listeners.get(event["name"])
        kind: str = event["event"]
        match kind:
            case "cut":
                future = self._cuts[name].pop(0)
                if event["problem"]:
                    future.set_exception(OSError(event["problem"]))
                else:
                    future.set_result(event["connections"])
            case "started" if listener:
                listener.started(event["pid"])
            case "output" if listener:
                listener.wrote(event["lines"])
            case "ended" if listener:
                del self._listeners[name]
                if event["lines"]:
                    listener.wrote(event["lines"])
                listener.ended(event["code"])
            case _:
                pass  # of a container that nobody listens to any more

    def _say(self, **command: Any) -> None:
        self._writer.write(json.dumps(command).encode() + b"\n")


@asynccontextmanager
async def open_containers() -> AsyncGenerator[Containers]:
    """When this is left, or this process is gone, no container is left.

    It must be left by the thread that entered it, which must live until then: the kernel ends
    the runtime with the *thread* that started it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: ASYNC220 - a few milliseconds; see above why not in a thread
            [sys.executable, "-E", "-s", "-S", PROGRAMS / "runtime.py", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_BYTES)
    containers = Containers(writer)
    try:
        with unwrapped():
            async with create_task_group() as tasks:
                tasks.start_soon(containers.listen, reader)
                yield containers
                tasks.cancel_scope.cancel()
    finally:
        writer.close()
        with fail_after(SECONDS_TO_END + 1, shield=True):
            await to_thread.run_sync(process.wait, SECONDS_TO_END)
