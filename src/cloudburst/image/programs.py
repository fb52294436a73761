"""Running of programs whose output is small, with all processes that they start."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio
from anyio.abc import Process

from cloudburst.concurrency import START_TIMEOUT
from cloudburst.errors import ImageError

MAX_OUTPUT_BYTES = 1024**2
"""Maximum number of bytes of the output that are kept: the last ones."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Program that has ended."""

    code: int
    """Exit code; negative after a signal."""
    output: str
    """Standard output and standard error."""


async def run_program(
    command: Sequence[str], *, seconds: float, environ: Mapping[str, str] | None = None
) -> Finished:
    """Run a program, and return its exit code and output.

    A cancellation ends the program together with the processes that it has started.

    Raises:
        ImageError: it cannot be started, or takes longer than ``seconds``.
    """
    output = b""
    try:
        with anyio.fail_after(seconds):
            process = await _start(command, environ)
            try:
                async with process:
                    assert process.stdout is not None
                    async for piece in process.stdout:
                        output = (output + piece)[-MAX_OUTPUT_BYTES:]
            finally:
                _end(process)
    except TimeoutError as exc:
        raise ImageError(f"{command[0]} did not end within {seconds:.0f} seconds") from exc
    except OSError as exc:
        raise ImageError(f"{command[0]} cannot be started: {exc.strerror or exc}") from exc
    code = process.returncode
    return Finished(-1 if code is None else code, output.decode(errors="replace"))


async def _start(command: Sequence[str], environ: Mapping[str, str] | None) -> Process:
    """Start a program in a session of its own, so that its processes can be ended together."""
    # The start takes milliseconds. If it were cancelled, the process would be unknown.
    with anyio.fail_after(START_TIMEOUT, shield=True):
        return await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env=environ,
            start_new_session=True,
        )
    raise AssertionError("unreachable: the scope raises at its deadline")


def _end(process: Process) -> None:
    """End the processes that a program has left."""
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
