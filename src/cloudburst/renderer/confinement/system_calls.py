"""Filter of Linux for the system calls of processes that decode callers' files."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence

# Option and mode of the system call ``prctl``, from ``linux/prctl.h`` and ``linux/seccomp.h``.
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
# Operation and flag of the system call ``seccomp``, from ``linux/seccomp.h``. Without the flag,
# Linux before 5.16 lets some processors run all code of the process more slowly.
SET_MODE_FILTER, SPECULATION_ALLOWED = 1, 4
# Results of a filter, from ``linux/seccomp.h``; an error number is added to `FAIL`.
ALLOW, FAIL = 0x7FFF0000, 0x00050000
# Operations of a filter, from ``linux/bpf_common.h``.
LOAD, EQUAL, AT_LEAST, HAS_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Offsets in the structure ``seccomp_data``, in bytes: the last one is that of the lower half of
# the first argument.
NUMBER_OFFSET, ARCHITECTURE_OFFSET, ARGUMENT_OFFSET = 0, 4, 16
# ``F_SETOWN`` and ``F_SETOWN_EX`` of ``fcntl``, ``FIOSETOWN`` and ``SIOCSPGRP`` of ``ioctl``, with
# which another process gets any signal when data arrives.
SET_OWNER = (8, 15, 0x8901, 0x8902)
# Lowest number of the system calls that were added after Linux 6.7, with which `DECODER_CALLS` was
# not compared. All of them have the same number on each architecture. Those of programs for x32,
# which x86-64 can run, too, have larger numbers.
UNKNOWN_NUMBERS = 457
# Names in ``linux/audit.h`` of the processor architectures, by the name that Linux shows.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Flag of the system call ``clone`` for a new thread in place of a process.
CLONE_THREAD = 0x10000
# System calls that a process that decodes files does not need, or only for itself: programs and
# namespaces; other processes; connections; folders, links, rights, times and lengths of files,
# which would outlast the process; the machine and the kernel. Each has its numbers for
# `ARCHITECTURES`, from ``asm/unistd.h``; ``-`` if the architecture does not have it.
DECODER_CALLS = """
execve 59 221, execveat 322 281, fork 57 -, vfork 58 -, unshare 272 97, setns 308 268,
chroot 161 51, pivot_root 155 41, personality 135 92, seccomp 317 277, clone 56 220, clone3 435 435,
kill 62 129, tgkill 234 131, prlimit64 302 261, fcntl 72 25, ioctl 16 29, setpriority 141 140,
ptrace 101 117, kcmp 312 272, process_vm_readv 310 270, process_vm_writev 311 271,
process_madvise 440 440, process_mrelease 448 448, pidfd_open 434 434, pidfd_getfd 438 438,
pidfd_send_signal 424 424, tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
move_pages 279 239, migrate_pages 256 238, sched_setaffinity 203 122, sched_setattr 314 274,
sched_setparam 142 118, sched_setscheduler 144 119, ioprio_set 251 30,
socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, listen 50 201, accept 43 202,
accept4 288 242, shmget 29 194, shmat 30 196, shmctl 31 195, msgget 68 186, msgsnd 69 189,
msgrcv 70 188, msgctl 71 187, semget 64 190, semop 65 193, semctl 66 191, semtimedop 220 192,
mq_open 240 180, truncate 76 45, utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88,
mkdir 83 -, mkdirat 258 34, symlink 88 -, symlinkat 266 36, link 86 -, linkat 265 37, mknod 133 -,
mknodat 259 33, chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -,
lchown 94 -, fchown 93 55, fchownat 260 54, setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7,
name_to_handle_at 303 264, open_by_handle_at 304 265, fanotify_init 300 262,
mount 165 40, umount2 166 39, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
open_tree 428 428, move_mount 429 429, mount_setattr 442 442, reboot 169 142, kexec_load 246 104,
kexec_file_load 320 294, init_module 175 105, finit_module 313 273, delete_module 176 106,
syslog 103 116, iopl 172 -, ioperm 173 -, modify_ldt 154 -, bpf 321 280, perf_event_open 298 241,
userfaultfd 323 282, keyctl 250 219, add_key 248 217, request_key 249 218, io_uring_setup 425 425,
io_uring_enter 426 426, io_uring_register 427 427
"""
LIBC = ctypes.CDLL(None, use_errno=True)


def numbers() -> dict[str, int]:
    """Return the numbers of `DECODER_CALLS`; raise `OSError` for an unknown processor."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES or sys.maxsize < 2**32:  # 32-bit programs have other numbers
        raise OSError(errno.ENOSYS, f"the system calls of {machine} are not known")
    column = 1 + list(ARCHITECTURES).index(machine)
    rows = map(str.split, DECODER_CALLS.split(","))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def restrict_decoder() -> None:
    """Reject `DECODER_CALLS` of this thread and of all threads that it starts from now on.

    So are new processes, and signals and limits for other processes. The thread must have
    ``no_new_privs``. Raises `OSError` if Linux does not permit this.
    """
    own, known = os.getpid(), numbers()
    install_filter(
        [
            *(step(AT_LEAST, UNKNOWN_NUMBERS, no=1), step(RETURN, FAIL | errno.ENOSYS)),
            *_only_if(known["kill"], EQUAL, 0, own, -own),
            *_only_if(known["tgkill"], EQUAL, own),
            *_only_if(known["prlimit64"], EQUAL, 0, own),
            *_only_if(known["clone"], HAS_BIT, CLONE_THREAD),
            *_unless(known["fcntl"], SET_OWNER),
            *_unless(known["ioctl"], SET_OWNER),
            # The flags of clone3 are out of reach of a filter. glibc then uses clone.
            *(step(EQUAL, known["clone3"], no=1), step(RETURN, FAIL | errno.ENOSYS)),
            *(step(EQUAL, number, yes=len(known) - at) for at, number in enumerate(known.values())),
        ]
    )


def install_filter(steps: Sequence[bytes]) -> None:
    """Install a filter. Before its first step the number of the call is loaded.

    After the last step, a call is permitted. A step that skips one more rejects it.
    """
    steps = [
        step(LOAD, ARCHITECTURE_OFFSET),
        step(EQUAL, ARCHITECTURES[os.uname().machine], yes=1),
        step(RETURN, FAIL | errno.EPERM),
        step(LOAD, NUMBER_OFFSET),
        *steps,
        step(RETURN, ALLOW),
        step(RETURN, FAIL | errno.EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    seccomp = numbers()["seccomp"]
    if (
        LIBC.syscall(seccomp, SET_MODE_FILTER, SPECULATION_ALLOWED, program) < 0
        and LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0  # other kernels
    ):
        raise OSError(ctypes.get_errno(), "seccomp: " + os.strerror(ctypes.get_errno()))


def _only_if(number: int, operation: int, *values: int) -> list[bytes]:
    """Return steps that permit a call only if its first argument is, or has, one of the values."""
    tests = [step(operation, value, yes=len(values) - at) for at, value in enumerate(values)]
    ends = [step(RETURN, FAIL | errno.EPERM), step(RETURN, ALLOW)]
    return [step(EQUAL, number, no=len(tests) + 3), step(LOAD, ARGUMENT_OFFSET), *tests, *ends]


def _unless(number: int, values: Sequence[int]) -> list[bytes]:
    """Return steps that permit a call unless its second argument is one of the values."""
    tests = [step(EQUAL, value, yes=len(values) - at) for at, value in enumerate(values)]
    ends = [step(RETURN, ALLOW), step(RETURN, FAIL | errno.EPERM)]
    return [step(EQUAL, number, no=len(tests) + 3), step(LOAD, ARGUMENT_OFFSET + 8), *tests, *ends]


def step(operation: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """Return a step of a filter; ``yes`` and ``no`` count the steps that it skips."""
    return struct.pack("HBBI", operation, yes, no, value & 0xFFFFFFFF)
