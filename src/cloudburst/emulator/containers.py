"""Containers of emulated tasks: real processes that a separate runtime process starts and ends."""

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

from cloudburst.concurrency import collapse_single
from cloudburst.emulator.errors import EmulatorError

PROGRAMS = Path(__file__).parent / "programs"
# Maximum size of an event from the runtime process, in bytes. Events contain the containers'
# output.
MAX_EVENT_BYTES = 16 * 1024 * 1024
RUNTIME_EXIT_TIMEOUT = 10.0
RUNTIME_ENDED = "containers: their runtime process was killed; start the emulator again"


class ContainerListener(Protocol):
    """Receiver of a container's events; its methods must not raise."""

    def started(self, pid: int) -> None:
        """Handle the start of the container's process."""
        ...

    def wrote(self, lines: Sequence[str]) -> None:
        """Handle lines of the container's output."""
        ...

    def ended(self, code: int) -> None:
        """Handle the end of the container; a code over 128 is 128 plus a signal's number."""
        ...


class Containers:
    """Connection to the runtime process of the containers. Use it on one event loop only."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._listeners: dict[str, ContainerListener] = {}

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        listener: ContainerListener,
        *,
        in_image: bool = False,
        has_init: bool = True,  # without one, a program ignores SIGTERM unless it handles it
    ) -> None:
        """Start a container under a unique name; an empty command starts the stub worker."""
        self._listeners[name] = listener
        self._send_command(
            do="start",
            name=name,
            argv=list(command),
            env=dict(environment),
            in_image=in_image,
            has_init=has_init,
        )

    def send(self, name: str, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the program of a container, or to its process group.

        The signal has no effect if the container has ended.
        """
        self._send_command(do="signal", name=name, number=int(number), group=group)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Pass events of the runtime process to the listeners of the containers until cancelled.

        Raises:
            EmulatorError: the runtime process has ended.
        """
        while line := await reader.readline():
            self._dispatch(json.loads(line))
        raise EmulatorError(RUNTIME_ENDED)

    def _dispatch(self, event: dict[str, Any]) -> None:
        name, listener = event["name"], self._listeners.get(event["name"])
        kind: str = event["event"]
        match kind:
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
                pass  # the container has no listener any more

    def _send_command(self, **command: Any) -> None:
        self._writer.write(json.dumps(command).encode() + b"\n")


@asynccontextmanager
async def open_containers() -> AsyncGenerator[Containers]:
    """Run the runtime process and yield the connection to it.

    All containers are ended when the context manager exits or this process ends. The same thread
    must enter and leave the context manager, because Linux ends the runtime process together with
    the thread that started it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(  # noqa: ASYNC220 - takes a few milliseconds; not in a thread, see above
            [sys.executable, "-E", "-s", "-S", PROGRAMS / "runtime.py", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
    reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_EVENT_BYTES)
    containers = Containers(writer)
    try:
        with collapse_single():
            async with create_task_group() as tasks:
                tasks.start_soon(containers.listen, reader)
                yield containers
                tasks.cancel_scope.cancel()
    finally:
        writer.close()
        with fail_after(RUNTIME_EXIT_TIMEOUT + 1, shield=True):
            await to_thread.run_sync(process.wait, RUNTIME_EXIT_TIMEOUT)
