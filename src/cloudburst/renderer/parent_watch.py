"""Start of a child process, which is confined and ends with its server."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from cloudburst.renderer.confinement.decoders import confine


def start_child(folder: Path) -> tuple[str, ...]:
    """Confine this process to the folder of its job, and let it end when its server ends.

    It gets a process group of its own. The result is the reason for each layer of confinement that
    is missing.
    """
    own_group()
    missing = confine(folder)
    watch_parent()
    return missing


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
