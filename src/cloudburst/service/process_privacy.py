"""Protection of the service's secrets from its child processes, which decode callers' files."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

PR_SET_DUMPABLE = 4
"""Option of ``prctl``, from ``linux/prctl.h``: whether other processes of the same user can read
the memory of this process."""

_PASSED_NAMES = frozenset({"HOME", "LANG", "LANGUAGE", "PATH", "TEMP", "TMP", "TMPDIR", "TZ"})
"""Names of the environment variables that are passed to child processes, because Python and its
libraries need them."""
_PASSED_PREFIXES = ("DYLD_", "LC_", "LD_", "MALLOC_", "PYTHON")
"""Prefixes of further environment variables that are passed to child processes, for the same
reason."""


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that a child process needs, without credentials."""
    return {
        name: value
        for name, value in environ.items()
        if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES)
    }


def hide_process() -> None:
    """Deny other processes of the same user access to this process through ``/proc``.

    This covers its memory and its environment. ``/proc`` would otherwise show the environment that
    the process was started with, even after variables were deleted. Child processes are not hidden:
    exec resets the flag. Linux only; root and processes with ``CAP_SYS_PTRACE`` still have access.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
