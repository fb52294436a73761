"""Child process of a server: it is confined, ends with its server, and writes lines of JSON."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from cloudburst.renderer.confinement.decoders import confine

# Minimum number of seconds between two progress lines.
_PROGRESS_INTERVAL = 0.1
# glibc's ``M_MMAP_THRESHOLD``, and the size in bytes from which a block has memory of its own.
_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 4_000_000


def start_child(folder: Path, *, threads: bool = False) -> tuple[str, ...]:
    """Confine this process to the folder of its job, and let it end when its server ends.

    Only with ``threads``, it can start some later. Return the reason for each layer of confinement
    that is missing.
    """
    own_group()
    # When a large block is freed, glibc raises its threshold for blocks with memory of their own to
    # that size. Later frames then lie between small blocks, which keep their memory from being
    # returned: a zoom took 20 MB more in 1080p, up to 110 MB in 4K, and more CPU time.
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
    return confine(folder, watch_parent, threads=threads)


def own_group() -> None:
    """Give this process a group of its own, unless the server has done so."""
    # Only a process that was started manually belongs to the group of another one.
    if os.getpgrp() != os.getpid():
        os.setsid()


def watch_parent() -> None:
    """Start the thread that kills this process group when standard input is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


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
    """Write a `ChildLine` to standard output."""
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n")
    sys.stdout.buffer.flush()


def announce_reading(field: str) -> None:
    """Report the input that is read from now on; an empty text means none."""
    write_line(reading=field)


def announce_gops(count: int) -> None:
    """Report that other processes can encode some of the video's GOPs."""
    write_line(gops=count)
