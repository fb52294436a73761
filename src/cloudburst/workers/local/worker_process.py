"""A worker process: its start, address, end and log."""

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

from cloudburst.concurrency import START_TIMEOUT, finish_despite_cancel
from cloudburst.files import open_regular_file
from cloudburst.models.failures import classify_stop
from cloudburst.models.failures.failure import Failure
from cloudburst.models.task import TaskId, TaskState, TaskStatus

# Seconds from SIGTERM to SIGKILL, more than the render service may take to stop.
TERMINATE_TIMEOUT = 5.0
REAP_TIMEOUT = 5.0  # seconds for the system to remove a killed process
MAX_ADDRESS_LINE_BYTES = 1024
ADDRESS_PREFIX = b"listening on "
# Maximum number of lines and bytes from the end of the log that the reason of a failure quotes.
TAIL_LINES, TAIL_BYTES = 10, 4096
# Assumed maximum size of a log line in bytes, for reading a number of lines from the end.
MAX_LOG_LINE_BYTES = 1024


class WorkerProcess:
    """Process of one worker, with its address, its log and the reason for its end."""

    def __init__(self, task: TaskId, command: Sequence[str], log: Path) -> None:
        self.task = task
        self.log = log
        # Event that is set when the process runs or its start has failed.
        self.started = anyio.Event()
        # Error with which the start failed; None if it has not failed.
        self.start_error: OSError | None = None
        self.ended = False
        self._command = command
        self._stop = anyio.Event()
        self._stop_reason: str | None = None
        self._address: str | None = None
        self._reason = ""
        self._exit_code: int | None = None

    @property
    def status(self) -> TaskStatus:
        """Current status of the worker, as a backend reports it."""
        if self.ended:
            return TaskStatus(state=TaskState.STOPPED, reason=self._reason)
        state = TaskState.RUNNING if self._address else TaskState.STARTING
        return TaskStatus(state=state, address=self._address)

    @property
    def active(self) -> bool:
        """True if the process is starting or running, and was not asked to stop."""
        return not self.ended and self._stop_reason is None

    def stop(self, reason: str) -> None:
        """Request the stop of the process, which `run` carries out."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self._stop.set()

    @property
    def failure(self) -> Failure | None:
        """Row of the failure table for the exit code; ``None`` while the process runs."""
        if self._exit_code is None:
            return None
        return classify_stop("", [], [_shell_exit_code(self._exit_code)])

    def last_lines(self, count: int) -> list[str] | str:
        """Return the last lines of the log, or a text that says why there are none; blocks."""
        tail = _tail(self.log, lines=count, size=count * MAX_LOG_LINE_BYTES)
        return tail.splitlines() or "The log is empty."

    async def run(self, environment: Mapping[str, str]) -> None:
        """Start the process and wait for its end; a cancellation stops the process."""
        try:
            process = await self._start(environment)
        except BaseException as exc:
            self.ended, self._reason = True, f"it was not started: {exc!r}"
            await finish_despite_cancel(
                lambda: to_thread.run_sync(self._remove_log), seconds=REAP_TIMEOUT
            )
            if not isinstance(exc, OSError):
                raise
            self.start_error = exc
            return
        finally:
            self.started.set()
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._read_output, process)
                tasks.start_soon(self._wait_for_exit, process)
                await self._stop.wait()
                tasks.cancel_scope.cancel()
        finally:
            with suppress(TimeoutError):
                await finish_despite_cancel(
                    lambda: self._end(process), seconds=TERMINATE_TIMEOUT + REAP_TIMEOUT
                )
            if process.returncode is None:
                _kill(process)

    async def _start(self, environment: Mapping[str, str]) -> Process:
        log = await to_thread.run_sync(_open_log, self.log)
        with log, anyio.fail_after(START_TIMEOUT, shield=True):
            # A session of its own, so that Ctrl-C in the terminal reaches only this process,
            # which decides what to do. Only this process holds the other end of the worker's
            # input: if this process ends, the worker's input is closed and the worker ends too.
            return await open_process(
                self._command, env=environment, stderr=log, start_new_session=True
            )
        raise AssertionError("unreachable: the scope raises at its deadline")

    async def _read_output(self, process: Process) -> None:
        if process.stdout is None:
            return
        output = BufferedByteReceiveStream(process.stdout)
        with suppress(anyio.EndOfStream, anyio.IncompleteRead):
            while self._address is None:
                try:
                    line = await output.receive_until(b"\n", MAX_ADDRESS_LINE_BYTES)
                except anyio.DelimiterNotFound:
                    line = await output.receive()  # part of a longer line
                if line.startswith(ADDRESS_PREFIX):
                    address = line.removeprefix(ADDRESS_PREFIX)
                    self._address = address.decode("ascii", "replace").strip()
            while True:
                await output.receive()

    async def _wait_for_exit(self, process: Process) -> None:
        await process.wait()
        self._stop.set()

    async def _end(self, process: Process) -> None:
        """Stop the process and record the reason for its end; keep the log only after a failure.

        The call may be repeated.
        """
        killed = await self._terminate(process)
        await process.aclose()
        self._exit_code = code = process.returncode or 0
        failed = self._stop_reason is None or killed
        self._reason = f"{self._stop_reason or 'it exited by itself'} ({_describe_exit(code)})"
        if not failed:
            await to_thread.run_sync(self._remove_log)
        elif tail := await to_thread.run_sync(_tail, self.log):
            self._reason += f"; the last lines of {self.log}:\n{tail}"
        self.ended = True

    def _remove_log(self) -> None:
        with suppress(OSError):
            self.log.unlink()

    async def _terminate(self, process: Process) -> bool:
        with suppress(ProcessLookupError):
            process.terminate()
        with move_on_after(TERMINATE_TIMEOUT):
            await process.wait()
            return False
        _kill(process)
        await process.wait()
        return True


def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _open_log(path: Path) -> IO[bytes]:
    return path.open("ab", buffering=0)


def _tail(path: Path, *, lines: int = TAIL_LINES, size: int = TAIL_BYTES) -> str:
    try:
        with open_regular_file(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            text = file.read(size).decode("utf-8", "replace").splitlines()
    except OSError as exc:
        return f"(cannot be read: {exc})"
    return "\n".join(text[-lines:])


def _shell_exit_code(code: int) -> int:
    """Return the exit code that shells and ECS report: 128 plus the signal that ended a process."""
    return code if code >= 0 else 128 - code


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
