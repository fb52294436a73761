"""Child processes without the secrets of the service, each of which leads a process group."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import anyio

from cloudburst.concurrency import START_TIMEOUT, finish_despite_cancel

# Option of ``prctl``, from ``linux/prctl.h``: whether other processes of the same user can read
# the memory of this process.
PR_SET_DUMPABLE = 4

# Names of the environment variables that are passed to child processes, because Python and its
# libraries need them.
_PASSED_NAMES = frozenset({"HOME", "LANG", "LANGUAGE", "PATH", "TEMP", "TMP", "TMPDIR", "TZ"})
# Prefixes of further environment variables that are passed to child processes, for the same
# reason.
_PASSED_PREFIXES = ("DYLD_", "LC_", "LD_", "MALLOC_", "PYTHON")

# Maximum length of a line of output, in bytes. A longer line is dropped.
MAX_LINE_BYTES = 1024 * 1024
# Number of bytes that are kept from the end of the error output.
MAX_STDERR_BYTES = 8192
# Seconds to wait for the end of a killed process group. The kernel ends it in milliseconds, except
# for a process that is blocked in disk access.
KILL_TIMEOUT = 5.0
# Option of ``prctl``, from ``linux/prctl.h``: whether this process becomes the parent of its
# orphaned descendants.
PR_SET_CHILD_SUBREAPER = 36


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that a child process needs, without credentials."""
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES)
    }


def hide_process() -> None:
    """Deny other processes of the same user access to this process through ``/proc``."""
    # This covers its memory and its environment. ``/proc`` would otherwise show the environment
    # that the process was started with, even after variables were deleted. Child processes are not
    # hidden: exec resets the flag. Linux only; root and processes with ``CAP_SYS_PTRACE`` still
    # have access.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitedProcess:
    """Result of a child process that has exited."""

    code: int
    """Exit code; negative for a signal, as in `subprocess`."""
    errors: str
    """End of the process's error output, at most `MAX_STDERR_BYTES`."""


class Subprocesses:
    """Runner of child processes, which ends their whole process groups after each run."""

    # Also on errors and cancellation. The standard input of a child is a pipe that is never
    # written to; it is closed when this process ends.

    def __init__(self) -> None:
        self._groups: set[int] = set()

    async def run(self, command: Sequence[str], on_line: Callable[[bytes], None]) -> ExitedProcess:
        """Run a command until it exits; each line of its output is passed to ``on_line``.

        Lines of more than `MAX_LINE_BYTES` and a last line without a line feed are left out.
        ``on_line`` must not raise. Afterwards no process of the group is left, including those that
        the child started.
        """
        protocol = _ChildProtocol(on_line)
        transport = await _start(command, protocol)
        group = transport.get_pid()
        self._groups.add(group)
        try:
            await protocol.exited.wait()
        finally:
            try:
                with suppress(TimeoutError):
                    await finish_despite_cancel(
                        lambda: _end(group, transport, protocol), seconds=KILL_TIMEOUT
                    )
            finally:
                transport.close()
                self._groups.discard(group)
        return ExitedProcess(code=cast("int", transport.get_returncode()), errors=protocol.errors)

    def kill(self) -> None:
        """Kill all process groups without waiting, just before this process exits."""
        for group in list(self._groups):
            _kill(group)


async def _start(command: Sequence[str], protocol: _ChildProtocol) -> asyncio.SubprocessTransport:
    loop = asyncio.get_running_loop()
    # A cancellation here would lose track of the child.
    with anyio.fail_after(START_TIMEOUT, shield=True):
        transport, _ = await loop.subprocess_exec(
            lambda: protocol, *command, start_new_session=True, env=child_environment()
        )
        return transport
    raise AssertionError("unreachable: the scope raises at its deadline")


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


def become_subreaper() -> None:
    """Make this process, not process 1, the parent of orphaned descendants (Linux only)."""
    # A killed process counts as a member of its group until its parent waits for it, and process 1
    # may take seconds to do so.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill(group: int) -> None:
    # macOS answers "not permitted" for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _remains(group: int) -> bool:
    # This process is the parent of the group's orphans: as process 1 of a container, or as the
    # subreaper.
    with suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


class _ChildProtocol(asyncio.SubprocessProtocol):
    """Protocol that splits a child's output into lines, and reports its exit at once."""

    # A grandchild that holds a pipe keeps the pipe open after the child's exit; ``Process.wait``
    # of some Python versions waits for both.

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self.exited = anyio.Event()
        self.closed = anyio.Event()
        self._on_line = on_line
        self._line = b""
        self._drops_line = False
        """True while the rest of a line is dropped because the line is too long."""
        self._errors = b""

    @property
    def errors(self) -> str:
        return self._errors.decode("utf-8", "replace").strip()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self._errors = (self._errors + data)[-MAX_STDERR_BYTES:]
            return
        *lines, rest = (self._line + data).split(b"\n")
        if lines and self._drops_line:
            del lines[0]
            self._drops_line = False
        self._drops_line = self._drops_line or len(rest) > MAX_LINE_BYTES
        self._line = b"" if self._drops_line else rest
        for line in lines:
            if len(line) <= MAX_LINE_BYTES:
                self._on_line(line)

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed.set()
