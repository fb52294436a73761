"""Start of a child process, which ends with its server.

This module is imported before anything slow: a child has to end with its server even while it still
imports its libraries.
"""

from __future__ import annotations

import os
import signal
import threading


def start_child() -> None:
    """Give this process a group of its own, and let it end when its server ends."""
    own_group()
    watch_parent()


def own_group() -> None:
    """Give this process a group of its own, which is killed later, unless the server has done so.

    Only a process that was started manually belongs to the group of another one.
    """
    if os.getpgrp() != os.getpid():
        os.setsid()


def watch_parent() -> None:
    """Start the thread that kills this process group when standard input is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the server ends, which closes standard input; then kill this process group."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)
