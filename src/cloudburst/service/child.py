"""The render child: ``python -m cloudburst.service.child FOLDER``.

It writes `ChildLine`s to its output and exits with 0, with 2 when an input is bad, else with
whatever Python makes of the service's own fault. Its input is a pipe from the server: when that
ends the server is gone, and the child ends with all that it started.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from cloudburst.service.job import FAULT_EXIT, JOB, ChildLine, InputFaultError, RenderJob
from cloudburst.service.render import render

_EVERY = 0.1
"""Seconds between two progress lines, at least."""


class Reporter:
    """Progress lines, not more than ten a second and never backwards."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last = -1.0

    def __call__(self, progress: float) -> None:
        """Say it, if it is time."""
        if progress > self._last and time.monotonic() >= self._next:
            self._next, self._last = time.monotonic() + _EVERY, progress
            say(ChildLine(progress=progress))


def say(line: ChildLine) -> None:
    """Write a line at once."""
    sys.stdout.buffer.write(line.json_line().encode())  # UTF-8, whatever the locale
    sys.stdout.buffer.flush()


def end_with_parent() -> None:
    """Kill this process group when standard input ends."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


def main(folder: Path) -> int:
    """Render the job in the folder; returns the exit code."""
    if os.getpgrp() != os.getpid():
        os.setsid()  # started by hand: what is killed later must be ours alone
    threading.Thread(target=end_with_parent, daemon=True).start()
    job = RenderJob.model_validate_json((folder / JOB).read_bytes())
    try:
        done = render(folder, job, Reporter())
    except InputFaultError as exc:
        say(ChildLine(fault=exc.fault))
        return FAULT_EXIT
    say(ChildLine(done=done))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
