"""Connected TCP sockets of other processes, which the runtime process can reset."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PIDFD_GETFD = 438
"""Number of the system call ``pidfd_getfd`` on all processor architectures, from
``linux/asm-generic/unistd.h``."""
LIBC = ctypes.CDLL(None, use_errno=True)


def reset_connections(pid: int) -> int:
    """Reset the TCP connections of a process and return their number.

    Raises:
        OSError: Linux does not permit access to the process.
    """
    count = 0
    for stream in _streams(pid):
        LIBC.connect(stream.fileno(), bytes(16), 16)  # connecting to AF_UNSPEC resets a connection
        stream.close()
        count += 1
    return count


def _streams(pid: int) -> Iterator[socket.socket]:
    """Yield copies of the connected TCP sockets of a process."""
    process = os.pidfd_open(pid)
    try:
        for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
            with suppress(FileNotFoundError):
                if str(entry.readlink()).startswith("socket:"):
                    yield from _connected(_copied(process, int(entry.name)))
    finally:
        os.close(process)


def _copied(process: int, descriptor: int) -> socket.socket:
    copy = LIBC.syscall(PIDFD_GETFD, process, descriptor, 0)
    if copy < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=copy)


def _connected(stream: socket.socket) -> Iterator[socket.socket]:
    with suppress(OSError):
        stream.getpeername()
        if stream.family in {socket.AF_INET, socket.AF_INET6}:
            yield stream
            return
    stream.close()
