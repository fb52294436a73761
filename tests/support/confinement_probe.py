"""Plays an exploited decoder. As ``sitecustomize.py`` it is in each Python that has its folder as a
path: a process that confines itself, and is of the kind in ``probe.json`` beside this file, then
tries what ``probe.json`` names, and reports what it could do as the fault of its input.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

ASKED = json.loads(Path(__file__).with_name("probe.json").read_bytes())
LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, IPC_INFO = 0x4206, 3
SYSTEM = (
    *(
        "/proc/net/tcp",
        "/proc/self/net/tcp",
        "/proc/self/environ",
        "/proc/version",
        "/proc/1/cmdline",
    ),
    *("/etc/passwd", "/etc/hostname", "/usr/local/etc/npmrc", "/usr/bin/env", "/usr/share/locale"),
    *("/dev/null", "/dev/shm", "/sys/kernel", "/tmp", "/"),
)
LAST_NUMBER = 600
"""More than the number of any system call. Those of x32 begin with `X32`."""
X32 = 0x40000000
PROBES = {335, 336}
"""Probes of the kernel on x86-64: Linux lets every filter permit them, and ends other callers."""


def call(name, *arguments):
    """Make a system call; raise the error that it returns."""
    from cloudburst.renderer.confinement.system_calls import numbers

    if LIBC.syscall(numbers("ptrace 101 117")[name], *arguments) < 0:
        raise OSError(ctypes.get_errno(), "rejected")


def permitted(number):
    """Make a system call with arguments that are never valid; return whether it reaches Linux."""
    ctypes.set_errno(0)
    LIBC.syscall(number, *[ctypes.c_long(-1)] * 6)
    return ctypes.get_errno() not in {errno.EPERM, errno.ENOSYS}


def system_calls():
    """Yield the names of further system calls that the filter does not reject."""
    from cloudburst.renderer.confinement.system_calls import DECODER_CALLS, numbers

    known = {*numbers(DECODER_CALLS).values(), numbers("mmap 9 222")["mmap"]}
    for number in range(LAST_NUMBER):
        if number not in known | PROBES and permitted(number):
            yield f"system call {number}"
        if number not in PROBES and permitted(X32 + number):
            yield f"system call {number} of x32"


def read(path):
    """Read a file, or the list of a folder."""
    return [*path.iterdir()] if path.is_dir() else path.read_bytes()


def read_memory(pid):
    """Read the start of the stack through ``/proc``."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    start = next(int(line.split("-")[0], 16) for line in lines if line.endswith("[stack]"))
    with Path(f"/proc/{pid}/mem").open("rb", 0) as file:
        file.seek(start)
        file.read(8)


def udp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"a secret", ("127.0.0.1", port))


def abstract(name):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect("\0" + name)


def change(path):
    path.chmod(0o600)
    path.open("r+b").close()


def own(pipe, pid):
    """Let a process get a signal, such as SIGKILL, when data arrives in a pipe."""
    fcntl.fcntl(pipe, fcntl.F_SETOWN, pid)


def shared_memory():
    """Ask what memory processes share in the way of System V."""
    if LIBC.shmctl(0, IPC_INFO, ctypes.create_string_buffer(1024)) < 0:
        raise OSError(ctypes.get_errno(), "rejected")


def execute():
    try:
        os.execv("/none/none", ["none"])
    except FileNotFoundError:  # it was looked for
        return


def attempts(folder):
    parent, client = os.getppid(), ASKED["client"]
    others, store = folder.parent, folder.parents[1] / "files"
    yield "variables of the client", Path(f"/proc/{client}/environ").read_bytes
    yield "variables of the service", Path(f"/proc/{parent}/environ").read_bytes
    yield "command of the client", Path(f"/proc/{client}/cmdline").read_bytes
    for name, pid in (("client", client), ("service", parent)):
        yield f"memory of the {name}", lambda pid=pid: read_memory(pid)
        yield f"trace of the {name}", lambda pid=pid: call("ptrace", PTRACE_SEIZE, pid, 0, 0)
        yield f"signal to the {name}", lambda pid=pid: os.kill(pid, 0)
        yield f"descriptor of the {name}", lambda pid=pid: os.pidfd_open(pid)
        yield f"limits of the {name}", lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_CORE)
        yield f"cores of the {name}", lambda pid=pid: os.sched_setaffinity(pid, {0})
        yield f"signals to the {name} by a pipe", lambda pid=pid: own(os.pipe()[0], pid)
        yield f"priority of the {name}", lambda pid=pid: os.setpriority(os.PRIO_PROCESS, pid, 19)
        yield f"group of the {name}", lambda pid=pid: os.killpg(os.getpgid(pid), 0)
    yield "all processes", lambda: os.kill(-1, 0)
    yield "credentials", Path(ASKED["credentials"]).read_bytes
    yield "list of jobs", lambda: next(others.iterdir())
    yield "list of stored files", lambda: next(store.iterdir())
    yield "a file outside", Path(ASKED["outside"]).touch
    yield "the length of a file outside", lambda: os.truncate(ASKED["credentials"], 1)
    yield "the times of a file outside", lambda: os.utime(ASKED["credentials"], (1, 1))
    yield "deletion outside", Path(ASKED["credentials"]).unlink
    yield "shared memory", shared_memory
    yield "a change of the stored input", lambda: change(folder / "image")
    yield "a link out of the job", lambda: (folder / "video.mp4").symlink_to("/etc/passwd")
    yield "another name of a file", lambda: (folder / "x").hardlink_to(folder / "image")
    yield "a folder, which can be too deep to delete", (folder / "deep").mkdir
    yield "a pipe", lambda: os.mkfifo(folder / "pipe")
    yield "TCP", lambda: socket.create_connection(("127.0.0.1", ASKED["port"]), 5)
    yield "UDP", lambda: udp(ASKED["port"])
    yield "a pair of sockets", socket.socketpair
    yield "an abstract socket", lambda: abstract(ASKED["abstract"])
    yield "a fork", os.fork
    yield "a program", lambda: os.posix_spawn("/bin/true", ["true"], {})
    yield "another program", execute
    yield "a thread", threading.Thread(target=lambda: None).start
    for path in SYSTEM:
        yield "files of the system", lambda path=path: read(Path(path))
    for name in ("DATA", "FSIZE", "CPU", "NOFILE", "NPROC", "STACK", "MEMLOCK"):
        yield f"a higher limit of {name}", lambda name=name: raise_limit(f"RLIMIT_{name}")
    yield "much memory", lambda: mmap.mmap(-1, 1_500_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    yield "shared memory without a file", lambda: mmap.mmap(-1, 100_000)


def raise_limit(name):
    """Raise a hard limit, which root may do."""
    which = getattr(resource, name)
    soft, hard = resource.getrlimit(which)
    if hard == resource.RLIM_INFINITY and name not in {"RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_CPU"}:
        raise OSError("there is none")
    resource.setrlimit(which, (soft, resource.RLIM_INFINITY))


def works(attempt):
    try:
        return attempt() != 0 or os._exit(0)  # a fork returns 0 to the new process
    except (OSError, ValueError, RuntimeError):
        return False


def probe(folder):
    found = [name for name, attempt in attempts(folder) if works(attempt)] + [*system_calls()]
    signal.raise_signal(signal.SIGCHLD)  # what it needs for itself
    os.killpg(0, 0)
    (folder / "new").write_bytes(b"a result")
    (folder / "new").replace(folder / "result")
    fault = {"field": "image", "found": ", ".join(found) or "nothing", "expected": "nothing"}
    sys.stdout.write(json.dumps({"fault": fault}) + "\n")
    sys.stdout.flush()
    os._exit(2)


if ASKED["module"] in sys.orig_argv:
    from cloudburst.renderer import process_limits

    read_job = process_limits.read_job

    def read_job_and_probe(folder):
        read_job(folder)
        probe(folder)

    process_limits.read_job = read_job_and_probe
