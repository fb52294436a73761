"""Namespaces, mounts and user of a container whose image is unpacked on this machine.

These functions are called after a fork of a process with one thread. They import nothing, because
the files of Python are out of reach after the change of the root folder.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
"""Kinds of namespaces, from ``linux/sched.h``."""
NAMESPACES = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
"""Namespaces of a container. Its network is that of this machine."""
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
"""Options of the system calls ``mount`` and ``umount2``, from ``linux/mount.h``."""
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
"""Options of the system call ``prctl``, from ``linux/prctl.h``."""
DEVICES = ("null", "zero", "full", "random", "urandom")
DEVICE_LINKS = {"fd": "self/fd", "stdin": "self/fd/0", "stdout": "self/fd/1", "stderr": "self/fd/2"}
SHARED_MEMORY = "size=64m,mode=1777"
"""Options of ``/dev/shm``: Docker and Fargate give a container 64 MiB."""
HOST_FILES = ("etc/hosts", "etc/resolv.conf")
"""Files for the resolution of names. Those of this machine replace those of the image."""
INIT_SIGNALS = {
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
"""Signals that the init process forwards."""
CANNOT_EXECUTE = 255
"""Exit code of a container whose program cannot be executed, as with Docker's runtime."""

STATUS_FD = 3
"""File descriptor on which a problem is reported. It is closed when the program runs."""

LIBC = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """Problem because of which a container cannot be started."""


def enter(spec: Mapping[str, Any]) -> None:
    """Enter new namespaces: the next fork of this process is the first process of a container.

    Raises:
        StartError: Linux does not permit the namespaces.
    """
    root, top = str(spec["root"]), spec["writable"]
    if os.geteuid() == 0:
        # Mounted by root, the files of the image still belong to root when they are changed.
        if top:
            _check(LIBC.unshare(CLONE_NEWNS), "unshare")
            _mount(None, "/", None, MS_REC | MS_PRIVATE)
            _mount_overlay(root, top)
        _become(int(spec["outer_user"]))
    uid, gid = os.geteuid(), os.getegid()
    _check(LIBC.unshare(NAMESPACES), "unshare")
    # A user without privileges may map itself only, and only without the right to drop groups.
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{spec['uid']} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{spec['gid']} {gid} 1")
    except OSError as exc:
        raise StartError(f"map user {spec['uid']}: {_reason(exc)}") from exc


def _become(user: int) -> None:
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError as exc:
        raise StartError(f"become user {user}: {_reason(exc)}") from exc
    # Linux cleared this with the change of the user. Without it, /proc/self belongs to root.
    LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def set_up_root(spec: Mapping[str, Any]) -> None:
    """Mount the image and the volumes of a container, and make the image the root folder.

    Raises:
        StartError: a mount is not possible.
    """
    root, top = str(spec["root"]), spec["writable"]
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    if top:
        mounted = Path(f"{top}/root").is_mount()
        root = f"{top}/root" if mounted else _mount_overlay(root, top)
    _mount(root, root, None, MS_BIND)  # only a mount of this namespace can become its root
    os.chdir(root)
    if os.statvfs(".").f_flag & os.ST_NOEXEC:
        raise StartError(f"programs cannot be executed in {root}: it is mounted with noexec")
    _mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount_devices()
    for name in HOST_FILES:
        with suppress(FileNotFoundError):
            if stat.S_ISREG(os.lstat(name).st_mode):
                _bind(f"/{name}", name, MS_RDONLY | MS_NOSUID | MS_NODEV)
    for source, target, read_only in spec["volumes"]:
        flags = MS_NOSUID | MS_NODEV | (MS_RDONLY if read_only else 0)
        _bind(source, f"./{target}", flags)
    _check(LIBC.pivot_root(b".", b"."), "pivot_root")
    _check(LIBC.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")
    if not top:
        _mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    with suppress(OSError):
        _check(LIBC.sethostname(b"localhost", len(b"localhost")), "sethostname")


def _mount_overlay(root: str, top: str) -> str:
    """Mount the image with a layer of its own for changes; return the mount point."""
    options = f"lowerdir={root},upperdir={top}/changes,workdir={top}/work"
    # Without privileges, Linux keeps the metadata of an overlay in attributes of users.
    options += "" if os.geteuid() == 0 else ",userxattr"
    _mount("overlay", f"{top}/root", "overlay", MS_NOSUID | MS_NODEV, options)
    return f"{top}/root"


def _mount_devices() -> None:
    _mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in DEVICES:
        Path("dev", name).touch()
        _mount(f"/dev/{name}", f"dev/{name}", None, MS_BIND)
    for name, target in DEVICE_LINKS.items():
        Path("dev", name).symlink_to(f"/proc/{target}")
    Path("dev/shm").mkdir()
    _mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, SHARED_MEMORY)


def join(pid: int) -> None:
    """Enter the namespaces of a container's program; later forks are in its PID namespace.

    Raises:
        StartError: the process has ended, or Linux does not permit this.
    """
    if os.geteuid() == 0:
        os.setgroups([])
    process = os.pidfd_open(pid)
    _check(LIBC.setns(process, NAMESPACES), "setns")
    os.close(process)


def become_user(spec: Mapping[str, Any]) -> None:
    """Become the user of the container. Programs of other users than root get no capabilities."""
    uid, gid = int(spec["uid"]), int(spec["gid"])
    if (os.geteuid(), os.getegid()) != (uid, gid):
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    os.umask(0o022)


def find_program(argv: Sequence[str], env: Mapping[str, str], folder: str) -> str:
    """Change to the working folder and return the path of the program of a command.

    Raises:
        StartError: the folder or the program is missing, or the user may not use it.
    """
    try:
        os.chdir(folder)
    except OSError as exc:
        raise StartError(f"chdir to {folder}: {_reason(exc)}") from exc
    name = argv[0]
    if "/" in name:
        if not Path(name).exists():
            raise StartError(f'exec: "{name}": stat {name}: no such file or directory')
        if not _is_program(name):
            raise StartError(f'exec: "{name}": permission denied')
        return name
    for place in env.get("PATH", "").split(":"):
        if _is_program(path := f"{place or '.'}/{name}"):
            return path
    raise StartError(f'exec: "{name}": executable file not found in $PATH')


def _is_program(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.X_OK)


def execute(path: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Replace this process by a program of the image."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these signals
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execve(path, [*argv], {**env})  # noqa: S606 - confined to its image
    except OSError as exc:
        os.write(2, f"exec {path}: {_reason(exc)}\n".encode())
    os._exit(CANNOT_EXECUTE)


def run_init(path: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Run a program as a child of this init process, which forwards signals to it.

    The init process exits with the exit code of the program.
    """
    waited = INIT_SIGNALS | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    child = os.fork()
    if child == 0:
        execute(path, argv, env)
    os.close(STATUS_FD)
    while True:
        number = signal.sigwait(waited)
        if number != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.kill(child, number)
            continue
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == child:
                    os._exit(exit_code_of(status))
                if pid == 0:
                    break


def exit_code_of(status: int) -> int:
    """Return an exit code as in a shell: 128 plus the number of the signal that ended a process.

    Args:
        status: Status of the process, from `os.waitpid`.
    """
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _bind(source: str, target: str, flags: int) -> None:
    _mount(source, target, None, MS_BIND)
    _mount(None, target, None, MS_REMOUNT | MS_BIND | flags)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    result = LIBC.mount(*texts[:3], ctypes.c_ulong(flags), texts[3])
    _check(result, f"mount {source or ''} at {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise StartError(f"{what}: {_reason(OSError(number, os.strerror(number)))}")


def _reason(exc: OSError) -> str:
    """Return the reason of an error as Go's libraries write it."""
    if exc.errno == errno.ENOEXEC:
        return "exec format error"
    return (exc.strerror or str(exc)).lower()
