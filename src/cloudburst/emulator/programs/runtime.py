"""Runtime process that starts the containers, and ends them when it exits.

It is small and has one thread, so that its forks are quick and safe. When the emulator's process
ends, even by SIGKILL, the socket between them is closed, and all containers end. It imports no
package.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

# Maximum size of a log event, in bytes: "CloudWatch Logs quotas" (2026-11).
MAX_LOG_EVENT_BYTES = 256 * 1024
READ_BYTES = 65_536


class Container:
    """Container: a process that leads a process group, and the pipe with the group's output."""

    def __init__(self, name: str, pid: int, output: int, status: int, *, has_init: bool) -> None:
        self.name = name
        self.pid = pid
        self.first = pid
        """Process id of the container's first process, which is a child of the process ``pid`` if
        the container runs in an image."""
        self.has_init = has_init
        """True if the first process is an init process, whose child is the program."""
        self.output = output
        self.closed = False
        """True if the group has closed its output."""
        self.status = status
        """Pipe that is readable when the container has started."""
        self.starting = True
        self._rest = b""

    def lines(self, *, last: bool = False) -> list[str]:
        """Return lines of new output; if ``last`` is true, with an incomplete one at the end."""
        with suppress(BlockingIOError):
            while len(self._rest) <= MAX_LOG_EVENT_BYTES and not self.closed:
                chunk = os.read(self.output, READ_BYTES)
                self.closed = not chunk
                self._rest += chunk
        *whole, self._rest = self._rest.split(b"\n")
        if self._rest and (last or len(self._rest) > MAX_LOG_EVENT_BYTES):
            whole.append(self._rest)
            self._rest = b""
        return [
            line[start : start + MAX_LOG_EVENT_BYTES].decode(errors="replace").rstrip("\r")
            for line in whole
            for start in range(0, len(line) or 1, MAX_LOG_EVENT_BYTES)
        ]


# Options of the system call `prctl`, from `linux/prctl.h`.
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None)
# File descriptor on which `bwrap` reports the first process of a container, as JSON. In other
# containers it is closed when the container has started.
STATUS_FD = 3
EXIT_TIMEOUT = 5.0
MAX_DESCRIPTORS = 65_536


@cache
def _stub_worker() -> Any:
    """Import the stub worker once, so that its forks need not."""
    return importlib.import_module("stub_worker")


class Runtime:
    """Loop that starts and stops containers for the emulator, and reports their events."""

    def __init__(self, line: socket.socket) -> None:
        self.over = False
        self._line = line
        self._unsent = b""
        self._received = b""
        self._by_name: dict[str, Container] = {}
        self._by_pid: dict[int, Container] = {}
        self._selector = selectors.DefaultSelector()
        line.setblocking(False)
        self._selector.register(line, selectors.EVENT_READ, self._read_commands)
        self._woken, self._wakes = socket.socketpair()
        self._woken.setblocking(False)
        self._wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, _ignore_signal)  # a handler is needed for the wakeup below
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._reap)

    def run(self) -> None:
        """Run until the socket is closed, then end all containers."""
        try:
            while not self.over:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            self._end_everything()

    def _read_commands(self) -> None:
        self._send()
        try:
            chunk = self._line.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self.over = self.over or not chunk
        *whole, self._received = (self._received + chunk).split(b"\n")
        for text in whole:
            command = json.loads(text)
            getattr(self, "do_" + command.pop("do"))(**command)

    def _send_event(self, **event: Any) -> None:
        self._unsent += json.dumps(event).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._line.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.over = True
            self._unsent = b""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._selector.get_key(self._line).events != wanted:
            self._selector.modify(self._line, wanted, self._read_commands)

    def do_start(
        self,
        *,
        name: str,
        argv: list[str],
        env: dict[str, str],
        in_image: bool,
        has_init: bool,
    ) -> None:
        """Start a container; an empty command starts the stub worker.

        With ``in_image``, the command is ``bwrap`` with options, which starts the first process.
        """
        if not argv:
            _stub_worker()
        reads, writes = os.pipe()
        status, reports = os.pipe()
        parent = os.getpid()
        # An early signal must not run this process's handlers in the new process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid == 0:
            try:
                _prepare(parent, writes, reports, ignores=not (in_image or has_init))
                if not in_image:
                    os.close(STATUS_FD)
                _become(argv, env)
            finally:
                os._exit(127)  # a fork must not continue the runtime
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(writes)
        os.close(reports)
        os.set_blocking(reads, False)
        container = Container(name, pid, reads, status, has_init=in_image and has_init)
        self._by_name[name] = self._by_pid[pid] = container
        self._selector.register(reads, selectors.EVENT_READ, lambda: self._read(container))
        self._selector.register(status, selectors.EVENT_READ, lambda: self._started(container))

    def _started(self, container: Container) -> None:
        if not container.starting:
            return
        container.starting = False
        self._selector.unregister(container.status)
        with os.fdopen(container.status, "rb") as pipe:
            report = pipe.read()
        if report:
            container.first = json.loads(report)["child-pid"]
        self._send_event(event="started", name=container.name, pid=container.first)

    def do_signal(self, *, name: str, number: int, group: bool) -> None:
        """Send a signal to a container's program, or to the container's process group."""
        container = self._by_name.get(name)
        if container is None:
            return
        with suppress(ProcessLookupError):
            if group:
                os.killpg(container.pid, number)
            else:
                children = _children_of(container.first) if container.has_init else ()
                os.kill(next(iter(children), container.first), number)

    def _read(self, container: Container) -> None:
        if self._by_name.get(container.name) is not container:
            return  # the container has just ended and its pipe is closed
        lines = container.lines()
        if container.closed:
            self._selector.unregister(container.output)
        if lines:
            self._send_event(event="output", name=container.name, lines=lines)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if container := self._by_pid.pop(pid, None):
                    self._ended(container, os.waitstatus_to_exitcode(status))

    def _ended(self, container: Container, code: int) -> None:
        del self._by_name[container.name]
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(container.pid, signal.SIGKILL)
        if not container.closed:
            self._selector.unregister(container.output)
        lines = container.lines(last=True)
        os.close(container.output)
        self._started(container)  # its program may have ended at once
        self._send_event(
            event="ended",
            name=container.name,
            code=code if code >= 0 else 128 - code,
            lines=lines,
        )

    def _end_everything(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, EXIT_TIMEOUT)  # SIGALRM ends this process
        with suppress(ChildProcessError):
            while True:
                for pid in {*self._by_pid, *_children_of(os.getpid())}:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._by_pid.pop(os.waitpid(-1, 0)[0], None)


def _children_of(pid: int) -> list[int]:
    with suppress(OSError):  # it has ended
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _ignore_signal(*_: object) -> None:
    pass


def _prepare(parent: int, output: int, status: int, *, ignores: bool) -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ignores else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(status, STATUS_FD)
    os.closerange(STATUS_FD + 1, MAX_DESCRIPTORS)


def _become(argv: list[str], env: dict[str, str]) -> NoReturn:
    code = 127
    try:
        if argv:
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these signals
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(argv[0], argv, env)  # noqa: S606 - in place of a container
        os.environ.clear()
        os.environ.update(env)
        code = _stub_worker().main()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 1
    except BaseException as exc:  # noqa: BLE001 - a fork must not continue the runtime
        os.write(2, f"{argv or 'worker'}: {exc!r}\n".encode())
    finally:
        os._exit(code)


def main() -> None:
    """Execute commands from the socket with the file descriptor FD: ``python runtime.py FD``."""
    parent = os.getppid()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the emulator handles Ctrl-C
    line = socket.socket(fileno=int(sys.argv[1]))
    line.set_inheritable(False)
    runtime = Runtime(line)

    def leave(*_: object) -> None:
        runtime.over = True

    signal.signal(signal.SIGTERM, leave)
    if os.getppid() == parent:
        runtime.run()


if __name__ == "__main__":
    main()
