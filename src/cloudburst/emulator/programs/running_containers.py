"""Containers of the runtime process, with the pipes on which it reads from them."""

from __future__ import annotations

import os
from contextlib import suppress

MAX_LOG_EVENT_BYTES = 256 * 1024
"""Maximum size of a log event, in bytes: "CloudWatch Logs quotas" (2026-11)."""
READ_BYTES = 65_536
MAX_PROBLEM_BYTES = 65_536
"""Maximum number of bytes of a problem that are read from a container."""


class Container:
    """Container: a process that leads a process group, and the pipe with the group's output."""

    def __init__(self, name: str, pid: int, output: int, *, has_init: bool) -> None:
        self.name = name
        self.has_init = has_init
        """True if the first process is an init process, which runs the program as its child."""
        self.pid = pid
        self.output = output
        self.closed = False
        """True if the group has closed its output."""
        self.starting: StartPipes | None = None
        """Pipes of a container with an image until its program runs."""
        self.problem = ""
        """Reason why the container could not be started; empty if there is none."""
        self._rest = b""

    def lines(self, *, last: bool = False) -> list[str]:
        """Return the lines of output since the last call, of which each call reads a part.

        Longer lines than a log event are split. If ``last`` is true, an incomplete line at the end
        of the output is returned as well.
        """
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


class StartPipes:
    """Pipes of a container with an image: it reports problems on one and waits on the other."""

    def __init__(self, *, frozen: bool) -> None:
        self.frozen = frozen
        self.status, status = os.pipe()
        go, self._go = os.pipe()
        self._child_ends: list[int] = [status, go]

    def child_ends(self) -> tuple[int, ...]:
        """Return the ends of the status pipe and of the permission pipe for the container."""
        return tuple(self._child_ends)

    def close_child_ends(self) -> None:
        """Close the ends for the container, which has copies of them."""
        while self._child_ends:
            os.close(self._child_ends.pop())

    def first_process(self, helper: int) -> tuple[int, str]:
        """Wait for the helper; return the id of the first process, or 0 and a problem."""
        self.close_child_ends()
        answer = b""
        while not answer.endswith(b"\n") and (chunk := os.read(self.status, MAX_PROBLEM_BYTES)):
            answer += chunk
        with suppress(ChildProcessError):
            os.waitpid(helper, 0)
        if answer.endswith(b"\n"):
            return int(answer), ""
        return 0, answer.decode(errors="replace") or "the helper process ended"

    def permit(self) -> None:
        """Let the first process continue: the runtime process is its parent now."""
        with suppress(BrokenPipeError):
            os.write(self._go, b".")

    def problem(self) -> str:
        """Close the pipes and return the problem of the start; empty if there was none."""
        found = os.read(self.status, MAX_PROBLEM_BYTES)
        os.close(self.status)
        os.close(self._go)
        return found.decode(errors="replace")
