"""Plays an exploited decoder. As ``sitecustomize.py`` it is in each Python that has its folder as a
path: a process that confines itself, and is of the kind in ``probe.json`` beside this file, then
tries what ``probe.json`` names, and reports what it could do as the fault of its input.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

ASKED = json.loads(Path(__file__).with_name("probe.json").read_bytes())
LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, NEW_USER, SESSION_KEYRING, IPC_INFO = 0x4206, 0x10000000, -3, 3


def call(name, *arguments):
    """Make a system call; raise the error that it returns."""
    from cloudburst.renderer.confinement.system_calls import numbers

    if LIBC.syscall(numbers()[name], *arguments) < 0:
        raise OSError(ctypes.get_errno(), "rejected")


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
    yield "namespaces", lambda: call("unshare", NEW_USER)
    yield "io_uring", lambda: call("io_uring_setup", 1, ctypes.create_string_buffer(120))
    yield "keys", lambda: call("keyctl", 0, SESSION_KEYRING, 0)


def works(attempt):
    try:
        return attempt() != 0 or os._exit(0)  # a fork returns 0 to the new process
    except OSError:
        return False


def probe(folder):
    found = [name for name, attempt in attempts(folder) if works(attempt)]
    signal.raise_signal(signal.SIGCHLD)  # what it needs for itself
    os.killpg(0, 0)
    Path("/proc/self/status").read_bytes()
    (folder / "new").write_bytes(b"a result")
    (folder / "new").replace(folder / "result")
    threading.Thread(target=lambda: None).start()
    fault = {"field": "image", "found": ", ".join(found) or "nothing", "expected": "nothing"}
    sys.stdout.write(json.dumps({"fault": fault}) + "\n")
    sys.stdout.flush()
    os._exit(2)


if ASKED["module"] in sys.orig_argv:
    from cloudburst.renderer import child_process

    watch = child_process.watch_parent

    def watch_and_probe():
        watch()
        probe(Path(sys.argv[1]))

    child_process.watch_parent = watch_and_probe
