"""One process that serves as a worker: started, heard, ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import anyio
from anyio import create_task_group, move_on_after, open_process, to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from cloudburst.engine.polling import insist
from cloudburst.models.failures import Failure, of_stop
from cloudburst.models.task import TaskId, TaskState, TaskStatus

GRACE = 5.0
"""Seconds from SIGTERM to SIGKILL: more than the service is told to take."""
REAP = 5.0
"""Seconds for the system to take away what was killed."""
LINE = 1024
"""Bytes of the longest line that says the address."""
SAID = b"listening on "
TAIL_LINES, TAIL_BYTES = 10, 4096
LONG = 1024
"""Bytes of a long line in a log."""


class ProcessWorker:
    """A worker's process, from before it runs until after it has ended."""

    def __init__(self, task: TaskId, command: Sequence[str], log: Path) -> None:
        self.task = task
        self.log = log
        self.started = anyio.Event()
        """Set when it runs, or will never."""
        self.fault: OSError | None = None
        """Why it will never."""
        self.ended = False
        self._command = command
        self._stop = anyio.Event()
        self._asked: str | None = None
        self._address: str | None = None
        self._reason = ""
        self._code: int | None = None

    @property
    def status(self) -> TaskStatus:
        """As the launcher tells it."""
        if self.ended:
            return TaskStatus(state=TaskState.STOPPED, reason=self._reason)
        state = TaskState.RUNNING if self._address else TaskState.STARTING
        return TaskStatus(state=state, address=self._address)

    @property
    def lives(self) -> bool:
        """It runs or will, and nobody has asked it to end."""
        return not self.ended and self._asked is None

    def stop(self, reason: str) -> None:
        """Ask it to end; `keep` sees to it."""
        if self._asked is None:
            self._asked = reason
            self._stop.set()

    @property
    def failure(self) -> Failure | None:
        """What its exit code means; ``None`` while it runs."""
        return None if self._code is None else of_stop("", [], [_shell_code(self._code)])

    def last_lines(self, count: int) -> list[str] | str:
        """Of its log, or why there are none; reads the file."""
        return _tail(self.log, lines=count, size=count * LONG).splitlines() or "It wrote nothing."

    async def keep(self, environment: Mapping[str, str]) -> None:
        """See the process through from its start to its end; on every way out it has ended."""
        try:
            process = await self._start(environment)
        except BaseException as exc:
            self.ended, self._reason = True, f"it was not started: {exc!r}"
            await insist(lambda: to_thread.run_sync(self._drop_log), seconds=REAP)
            if not isinstance(exc, OSError):
                raise
            self.fault = exc
            return
        finally:
            self.started.set()
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._listen, process)
                tasks.start_soon(self._watch, process)
                await self._stop.wait()
                tasks.cancel_scope.cancel()
        finally:
            with suppress(TimeoutError):
                await insist(lambda: self._end(process), seconds=GRACE + REAP)
            if process.returncode is None:
                _kill(process)

    async def _start(self, environment: Mapping[str, str]) -> Process:
        log = await to_thread.run_sync(_open_log, self.log)
        with log, anyio.CancelScope(shield=True):  # it takes milliseconds
            # Its own session: Ctrl-C in the terminal is for us, and we decide what it means.
            # Its input is a pipe whose other end only we hold: when we are gone, it ends.
            return await open_process(
                self._command, env=environment, stderr=log, start_new_session=True
            )
        raise AssertionError("unreachable: nobody cancels that scope")

    async def _listen(self, process: Process) -> None:
        """Learn the address from the output, then keep the pipe empty."""
        if process.stdout is None:
            return
        output = BufferedByteReceiveStream(process.stdout)
        with suppress(anyio.EndOfStream, anyio.IncompleteRead):
            while self._address is None:
                try:
                    line = await output.receive_until(b"\n", LINE)
                except anyio.DelimiterNotFound:
                    line = await output.receive()  # part of a longer line
                if line.startswith(SAID):
                    self._address = line.removeprefix(SAID).decode("ascii", "replace").strip()
            while True:
                await output.receive()

    async def _watch(self, process: Process) -> None:
        await process.wait()
        self._stop.set()

    async def _end(self, process: Process) -> None:
        """Until it has ended and we know why; may be repeated. The log of a failure stays."""
        killed = await self._terminate(process)
        await process.aclose()
        self._code = code = process.returncode or 0
        failed = self._asked is None or killed
        self._reason = f"{self._asked or 'it ended by itself'} ({_ending(code)})"
        if not failed:
            await to_thread.run_sync(self._drop_log)
        elif tail := await to_thread.run_sync(_tail, self.log):
            self._reason += f"; the last lines of {self.log}:\n{tail}"
        self.ended = True

    def _drop_log(self) -> None:
        with suppress(OSError):
            self.log.unlink()

    async def _terminate(self, process: Process) -> bool:
        """Whether it had to be killed."""
        with suppress(ProcessLookupError):
            process.terminate()
        with move_on_after(GRACE):
            await process.wait()
            return False
        _kill(process)
        await process.wait()
        return True


def _kill(process: Process) -> None:
    """Kill it with all that it started in its process group."""
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _open_log(path: Path) -> IO[bytes]:
    return path.open("ab", buffering=0)


def _tail(path: Path, *, lines: int = TAIL_LINES, size: int = TAIL_BYTES) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            said = file.read().decode("utf-8", "replace").splitlines()
    except OSError as exc:
        return f"(cannot be read: {exc})"
    return "\n".join(said[-lines:])


def _shell_code(code: int) -> int:
    """As a shell, and ECS, tells the end by a signal."""
    return code if code >= 0 else 128 - code


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
