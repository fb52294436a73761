"""Render process: ``python -m cloudburst.renderer.render_process FOLDER``.

It writes `ChildLine` objects to its standard output. It exits with 0, with 2 if an input cannot be
rendered, or with Python's exit code after an error. Its standard input is a pipe from the server:
when the pipe is closed, the server has ended, and this process ends with all its children.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from cloudburst.renderer import process_limits
from cloudburst.renderer.job import INPUT_FAULT_EXIT_CODE, InputFaultError
from cloudburst.renderer.parent_watch import start_child
from cloudburst.renderer.render import render

_PROGRESS_INTERVAL = 0.1
"""Minimum number of seconds between two progress lines."""


class ProgressReporter:
    """Writer of progress lines: at most ten per second, never decreasing."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last = -1.0

    def __call__(self, progress: float) -> None:
        """Write the progress if it has increased and the interval has passed."""
        if progress > self._last and time.monotonic() >= self._next:
            self._next, self._last = time.monotonic() + _PROGRESS_INTERVAL, progress
            write_line(progress=progress)


def write_line(**line: object) -> None:
    """Write a `ChildLine` with these fields to standard output, and flush it."""
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n")
    sys.stdout.buffer.flush()


def announce_reading(field: str) -> None:
    """Report the name of the input that is read from now on; an empty text means none."""
    write_line(reading=field)


def announce_gops(count: int) -> None:
    """Report that other processes can encode some of the video's GOPs."""
    write_line(gops=count)


def main(folder: Path) -> int:
    """Render the job in the folder and return the exit code."""
    start_child(folder)
    job = process_limits.read_job(folder)
    try:
        done = render(folder, job, ProgressReporter(), announce_reading, announce_gops)
    except InputFaultError as exc:
        write_line(fault=asdict(exc.fault))
        return INPUT_FAULT_EXIT_CODE
    write_line(done=asdict(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
