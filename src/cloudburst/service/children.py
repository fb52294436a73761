"""Child processes, each the head of a process group that ends with it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import anyio

LINE_BYTES = 1024 * 1024
"""A child's line that is longer is lost."""
TAIL_BYTES = 8192
"""What is kept of a child's error output."""
END_SECONDS = 5.0
"""The kernel ends a killed group in milliseconds; a process stuck in a dead disk never ends."""


PR_SET_CHILD_SUBREAPER = 36
"""From ``linux/prctl.h``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child came to its end by itself."""

    code: int
    """Exit code; negative for a signal, as `subprocess` has it."""
    errors: str
    """The last of what it wrote to its standard error."""


class Children:
    """Starts children and ends their whole groups: on return, error and cancel alike.

    A child's standard input is a pipe that nobody writes to: it ends when this process is gone.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()

    async def run(self, command: Sequence[str], on_line: Callable[[bytes], None]) -> Ended:
        """Run a command to its end, whose lines of output go to ``on_line`` (which never raises).

        When this returns or raises, no process of the group is left, also none that the child
        started and forgot.
        """
        protocol = _ChildProtocol(on_line)
        transport = await _start(command, protocol)
        group = transport.get_pid()
        self._groups.add(group)
        try:
            await protocol.exited.wait()
        finally:
            with anyio.move_on_after(END_SECONDS, shield=True):
                await _end(group, transport, protocol)
            transport.close()
            self._groups.discard(group)
        return Ended(code=cast("int", transport.get_returncode()), errors=protocol.errors)

    def kill(self) -> None:
        """End all groups without waiting: the last resort of a process that is about to end."""
        for group in list(self._groups):
            _kill(group)


async def _start(command: Sequence[str], protocol: _ChildProtocol) -> asyncio.SubprocessTransport:
    loop = asyncio.get_running_loop()
    with anyio.CancelScope(shield=True):  # cut here, a child would be nobody's
        transport, _ = await loop.subprocess_exec(
            lambda: protocol, *command, start_new_session=True
        )
        return transport
    raise AssertionError("unreachable: this scope is never cancelled")


async def _end(
    group: int, transport: asyncio.SubprocessTransport, protocol: _ChildProtocol
) -> None:
    _kill(group)
    await protocol.exited.wait()
    if stdin := transport.get_pipe_transport(0):
        stdin.close()
    await protocol.closed.wait()
    while _remains(group):
        _kill(group)
        await anyio.sleep(0.005)


def adopt_orphans() -> None:
    """Have the kernel give the orphans of our children to us, not to process 1 (Linux only).

    A killed orphan counts as a process of its group until it is buried, and others may let it
    lie for seconds.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill(group: int) -> None:
    # macOS answers "not permitted" for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _remains(group: int) -> bool:
    # As process 1 of a container, or having asked for them, we inherit the group's orphans.
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class _ChildProtocol(asyncio.SubprocessProtocol):
    """Splits output into lines and tells apart "the child is gone" and "its pipes are closed".

    A grandchild that holds a pipe keeps it open after the child; ``Process.wait`` of some
    Pythons waits for both.
    """

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self.exited = anyio.Event()
        self.closed = anyio.Event()
        self._on_line = on_line
        self._line = b""
        self._errors = b""

    @property
    def errors(self) -> str:
        return self._errors.decode("utf-8", "replace").strip()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self._errors = (self._errors + data)[-TAIL_BYTES:]
            return
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[-LINE_BYTES:]
        for line in lines:
            self._on_line(line)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed.set()
