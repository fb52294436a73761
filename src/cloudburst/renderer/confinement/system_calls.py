"""Filter of Linux for the system calls of processes that decode callers' files."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Sequence

# Operation and flags of the system call ``seccomp``, from ``linux/seccomp.h``: the filter is also
# that of the other threads. Without the second flag, Linux before 5.16 lets some processors run all
# code of the process more slowly.
SET_MODE_FILTER, ALL_THREADS, SPECULATION_ALLOWED = 1, 1, 4
# Results of a filter, from ``linux/seccomp.h``; an error number is added to `FAIL`.
ALLOW, FAIL = 0x7FFF0000, 0x00050000
# Operations of a filter, from ``linux/bpf_common.h``.
LOAD, EQUAL, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
# Offsets in the structure ``seccomp_data``, in bytes: the last one is that of the lower half of
# the first argument.
NUMBER_OFFSET, ARCHITECTURE_OFFSET, ARGUMENT_OFFSET = 0, 4, 16
# Lowest number of the system calls that were added after Linux 5.0, without which C libraries work,
# too. All of them have the same number on each architecture. Those of programs for x32, which
# x86-64 can run, too, have larger numbers.
NEW_NUMBERS = 424
# Names in ``linux/audit.h`` of the processor architectures, by the name that Linux shows.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Operations of ``fcntl`` and ``ioctl`` on the process's own descriptors: to copy one, to read its
# flags, to let programs inherit it, and to ask whether it is a terminal.
FCNTL, IOCTL = (0, 1, 2, 3, 1030), (0x5401, 0x5450, 0x5451, 0x802C542A)
# ``MAP_SHARED`` and ``MAP_ANONYMOUS`` of ``mmap``: together, memory that no limit counts.
UNCOUNTED = 0x21
# Flags with which glibc and musl make a thread by ``clone``.
THREAD = (0x3D0F00, 0x7D0F00)
# System calls that are permitted to a process that decodes files, on its own files, memory, time,
# threads and signals. Each has its numbers for `ARCHITECTURES`, from ``asm/unistd.h``; ``-`` if the
# architecture does not have it.
DECODER_CALLS = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, lseek 8 62,
open 2 -, openat 257 56, close 3 57, ftruncate 77 46, flock 73 32, stat 4 -, fstat 5 80, lstat 6 -,
newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439,
getdents64 217 61, getcwd 79 17, chdir 80 49, readlink 89 -, readlinkat 267 78, rename 82 -,
renameat 264 38, renameat2 316 276, unlink 87 -, unlinkat 263 35,
munmap 11 215, mremap 25 216, mprotect 10 226, madvise 28 233, brk 12 214,
clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169, time 201 -, nanosleep 35 101,
clock_nanosleep 230 115, restart_syscall 219 128, getrandom 318 278, uname 63 160,
futex 202 98, membarrier 324 283, rseq 334 293, set_robust_list 273 99, sched_yield 24 124,
sched_getaffinity 204 123, exit 60 93, exit_group 231 94, rt_sigaction 13 134, sigaltstack 131 132,
rt_sigprocmask 14 135, rt_sigreturn 15 139, getpid 39 172, gettid 186 178, getppid 110 173,
getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getrusage 98 165
"""
# System calls that are permitted with some arguments only, and one that installs the filter.
LIMITED_CALLS = """
kill 62 129, tgkill 234 131, prlimit64 302 261, fcntl 72 25, ioctl 16 29, clone 56 220,
mmap 9 222, seccomp 317 277
"""
LIBC = ctypes.CDLL(None, use_errno=True)


def numbers(calls: str) -> dict[str, int]:
    """Return the numbers of system calls; raise `OSError` for an unknown processor."""
    machine = os.uname().machine
    if machine not in ARCHITECTURES or sys.maxsize < 2**32:  # 32-bit programs have other numbers
        raise OSError(errno.ENOSYS, f"the system calls of {machine} are not known")
    column = 1 + list(ARCHITECTURES).index(machine)
    rows = map(str.split, calls.split(","))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def restrict_decoder(flags: int = ALL_THREADS, *, threads: bool = False) -> None:
    """Reject the system calls of this process, except those that decoding needs.

    Signals and limits are permitted for this process only, and new ``threads`` only if asked for.
    Without flags, the filter is only that of this thread, which must have ``no_new_privs``. Raises
    `OSError` if Linux does not permit this.
    """
    own, limited, known = os.getpid(), numbers(LIMITED_CALLS), numbers(DECODER_CALLS).values()
    install_filter(
        [
            *(step(EQUAL, limited["mmap"], no=5), step(LOAD, ARGUMENT_OFFSET + 8 * 3)),
            *(step(AND, UNCOUNTED), step(EQUAL, UNCOUNTED, no=1)),
            *(step(RETURN, FAIL | errno.EPERM), step(RETURN, ALLOW)),
            *_only_if(limited["kill"], 0, 0, own, -own),
            *_only_if(limited["tgkill"], 0, own),
            *_only_if(limited["prlimit64"], 0, 0, own),
            *_only_if(limited["fcntl"], 1, *FCNTL),
            *_only_if(limited["ioctl"], 1, *IOCTL),
            *_only_if(limited["clone"], 0, *(THREAD if threads else ())),
            *(step(EQUAL, number, yes=len(known) - at + 2) for at, number in enumerate(known)),
            *(step(AT_LEAST, NEW_NUMBERS, no=1), step(RETURN, FAIL | errno.ENOSYS)),
            *(step(RETURN, FAIL | errno.EPERM), step(RETURN, ALLOW)),
        ],
        flags,
    )


def install_filter(steps: Sequence[bytes], flags: int) -> None:
    """Install a filter. Before its first step the number of the call is loaded."""
    steps = [
        step(LOAD, ARCHITECTURE_OFFSET),
        step(EQUAL, ARCHITECTURES[os.uname().machine], yes=1),
        step(RETURN, FAIL | errno.EPERM),
        step(LOAD, NUMBER_OFFSET),
        *steps,
    ]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    seccomp = numbers(LIMITED_CALLS)["seccomp"]
    # Some kernels do not know the flag. A result above 0 is a thread that has another filter.
    for each in (flags | SPECULATION_ALLOWED, flags):
        if LIBC.syscall(seccomp, SET_MODE_FILTER, each, program) == 0:
            return
    raise OSError(ctypes.get_errno(), "seccomp: " + os.strerror(ctypes.get_errno()))


def _only_if(number: int, argument: int, *values: int) -> list[bytes]:
    """Return steps that permit a call only if an argument, from 0 on, is one of the values."""
    tests = [step(EQUAL, value, yes=len(values) - at) for at, value in enumerate(values)]
    ends = [step(RETURN, FAIL | errno.EPERM), step(RETURN, ALLOW)]
    load = step(LOAD, ARGUMENT_OFFSET + 8 * argument)
    return [step(EQUAL, number, no=len(tests) + 3), load, *tests, *ends]


def step(operation: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """Return a step of a filter; ``yes`` and ``no`` count the steps that it skips."""
    return struct.pack("HBBI", operation, yes, no, value & 0xFFFFFFFF)
