"""Landlock: the part of Linux with which a process gives up the access to files and sockets."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from cloudburst.renderer.confinement.system_calls import LIBC

# Numbers of the system calls on each architecture, from ``asm/unistd.h``.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
# Flag and kind of rule, from ``linux/landlock.h``.
WANT_VERSION, PATH_BENEATH = 1, 1
# Rights, from ``linux/landlock.h``. The others are denied: to execute a file, to make a folder, a
# link, a pipe, a socket or a device, and to control a device.
WRITE_FILE, READ_FILE, READ_FOLDER, REMOVE_FILE, MAKE_FILE, TRUNCATE = 2, 4, 8, 32, 256, 1 << 14
READ = READ_FILE | READ_FOLDER
WRITE = READ | WRITE_FILE | TRUNCATE | MAKE_FILE | REMOVE_FILE
# Rights for a file; the others are rights for what is in a folder.
FILE_RIGHTS = WRITE_FILE | READ_FILE | TRUNCATE
# Number of rights for files that each version of Landlock knows, from the first one on.
RIGHTS_OF_VERSIONS = (13, 14, 15, 15, 16)
# Rights to bind and to connect, from version 4 on; scopes of abstract sockets and of signals, from
# version 6 on.
TCP, OTHER_PROCESSES = 3, 3


def restrict_files(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Deny this thread, and all threads that it starts, every file except those named.

    As far as Linux can, TCP and signals and abstract sockets of other processes are denied, too.
    The thread must have ``no_new_privs``. Raises `OSError` without Landlock.
    """
    version = _call(CREATE_RULESET, None, 0, WANT_VERSION)
    rights = (1 << RIGHTS_OF_VERSIONS[min(version, len(RIGHTS_OF_VERSIONS)) - 1]) - 1
    attributes = struct.pack("QQQ", rights, TCP * (version >= 4), OTHER_PROCESSES * (version >= 6))
    ruleset = _call(CREATE_RULESET, attributes, len(attributes), 0)
    for paths, allowed in ((readable, READ & rights), (writable, WRITE & rights)):
        for path in paths:
            _allow(ruleset, path, allowed)
    _call(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it does not exist
    rights &= -1 if stat.S_ISDIR(os.fstat(place).st_mode) else FILE_RIGHTS
    _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def _call(number: int, *arguments: object) -> int:
    result = LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return int(result)
