"""Folder in memory for the temporary files of a test run."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
FILES_BYTES = 4 * 2**30
"""Space that must be free in the shared memory: twice that of the files of a whole run."""
PROCESSES_BYTES = 6 * 2**30
"""Memory that must be available besides: four test processes use up to 1 GB each."""


@contextmanager
def temporary_files_in_memory() -> Generator[None]:
    """Keep temporary files of this process and of those that it starts in memory, if there is room.

    A disk takes milliseconds for each commit of a journal, for which thousands of tests wait. The
    files are removed at the end. A folder that the user has chosen with ``TMPDIR`` is kept.
    """
    if "TMPDIR" in os.environ or not _has_room():
        yield
        return
    folder = tempfile.mkdtemp(prefix="cb", dir=SHARED_MEMORY)  # short: paths of sockets are limited
    Path(folder).chmod(0o711)  # users of containers open files below
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        del os.environ["TMPDIR"]
        tempfile.tempdir = None
        shutil.rmtree(folder, ignore_errors=True)


def _has_room() -> bool:
    if sys.platform != "linux" or not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return False
    shared = os.statvfs(SHARED_MEMORY)
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    runs_programs = not shared.f_flag & os.ST_NOEXEC  # Docker forbids it
    return (
        runs_programs
        and shared.f_bavail * shared.f_frsize >= FILES_BYTES
        and 1024 * int(available) >= FILES_BYTES + PROCESSES_BYTES
    )
