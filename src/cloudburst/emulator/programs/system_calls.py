"""Filter for the system calls of containers: a part of Docker's default seccomp profile.

The filter rejects calls that reach objects outside all namespaces, above all the keys that the
kernel keeps for the user of this machine, and calls with a history of defects of the kernel.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
"""Option and mode of the system call ``prctl``, from ``linux/prctl.h`` and ``linux/seccomp.h``."""
ALLOW, REJECT = 0x7FFF0000, 0x00050000 | errno.EPERM
"""Results of a filter, from ``linux/seccomp.h``."""
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
"""Operations of a filter, from ``linux/bpf_common.h``."""
NUMBER_OFFSET, ARCHITECTURE_OFFSET = 0, 4
"""Offsets in the structure ``seccomp_data``, in bytes."""
FOREIGN_NUMBERS = 0x40000000
"""Lowest number of the system calls of programs for x32, which x86-64 can run, too."""
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""Names in ``linux/audit.h`` of the processor architectures, by the name that Linux shows."""
JOIN_SESSION_KEYRING = 1
"""Operation of the system call ``keyctl``."""
NUMBERS = {
    "x86_64": {
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "perf_event_open": 298,
        "bpf": 321,
        "userfaultfd": 323,
        "io_uring_setup": 425,
    },
    "aarch64": {
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "perf_event_open": 241,
        "bpf": 280,
        "userfaultfd": 282,
        "io_uring_setup": 425,
    },
}
"""Numbers of the rejected system calls, from ``asm/unistd.h``."""
LIBC = ctypes.CDLL(None, use_errno=True)


def leave_session_keys() -> None:
    """Give this process a session keyring of its own, without the keys of the session before."""
    if numbers := NUMBERS.get(os.uname().machine):
        LIBC.syscall(numbers["keyctl"], JOIN_SESSION_KEYRING, None)


def restrict_system_calls() -> None:
    """Reject some system calls of this process and of all its descendants from now on.

    The process must have ``no_new_privs``.

    Raises:
        OSError: Linux does not permit this, or the processor architecture is not known.
    """
    machine = os.uname().machine
    if machine not in NUMBERS:
        raise OSError(errno.ENOSYS, f"the system calls of {machine} are not known")
    rejected = NUMBERS[machine].values()
    steps = [
        struct.pack("HBBI", LOAD, 0, 0, ARCHITECTURE_OFFSET),
        # A jump skips a number of steps. The last step rejects, the one before it allows.
        struct.pack("HBBI", EQUAL, 0, len(rejected) + 3, ARCHITECTURES[machine]),
        struct.pack("HBBI", LOAD, 0, 0, NUMBER_OFFSET),
        struct.pack("HBBI", AT_LEAST, len(rejected) + 1, 0, FOREIGN_NUMBERS),
        *(
            struct.pack("HBBI", EQUAL, left, 0, number)
            for left, number in zip(range(len(rejected), 0, -1), rejected, strict=True)
        ),
        struct.pack("HBBI", RETURN, 0, 0, ALLOW),
        struct.pack("HBBI", RETURN, 0, 0, REJECT),
    ]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = struct.pack("HP", len(steps), ctypes.addressof(code))
    if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "seccomp: " + os.strerror(ctypes.get_errno()))
