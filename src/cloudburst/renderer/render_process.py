"""Render process: ``python -m cloudburst.renderer.render_process FOLDER``.

It writes `ChildLine` objects, one JSON object per line, and exits with 0, with 2 if an input cannot
be rendered, or with Python's exit code after an error. When its standard input is closed, the
server has ended, and this process ends with its children.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from cloudburst.renderer import process_limits
from cloudburst.renderer.child_process import (
    ProgressReporter,
    announce_gops,
    announce_reading,
    start_child,
    write_line,
)
from cloudburst.renderer.job import INPUT_FAULT_EXIT_CODE, InputFaultError
from cloudburst.renderer.render import render


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
