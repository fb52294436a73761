"""Kernels without some layers of confinement, for processes of tests."""

from __future__ import annotations

import ctypes
import errno

from cloudburst.renderer.confinement import system_calls
from cloudburst.renderer.confinement.system_calls import EQUAL, FAIL, RETURN, step

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


def drop_capabilities() -> None:
    """Make what is executed next an ordinary process, even of root: root reads everything."""
    libc = ctypes.CDLL(None)
    for number in range(64):
        libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def hide_landlock() -> None:
    """Let this process and its descendants find a kernel without Landlock."""
    drop_capabilities()
    _answer([step(EQUAL, 444, no=1), step(RETURN, FAIL | errno.ENOSYS)])


def hide_all_layers() -> None:
    """Let this process and its descendants find a kernel without Landlock and seccomp."""
    seccomp = system_calls.numbers(system_calls.LIMITED_CALLS)["seccomp"]
    _answer(
        [
            *(step(EQUAL, 444, yes=1), step(EQUAL, seccomp, no=1)),
            step(RETURN, FAIL | errno.ENOSYS),
        ]
    )


def _answer(steps: list[bytes]) -> None:
    system_calls.LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    system_calls.install_filter([*steps, step(RETURN, system_calls.ALLOW)], 0)
