"""Function with which a child process waits for the end of its server, and then exits.

This module is imported before anything slow: a child has to end with its server even while it still
imports its libraries.
"""

from __future__ import annotations

import os
import signal


def end_with_parent() -> None:
    """Wait until the server ends, which closes standard input; then kill this process group."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)
