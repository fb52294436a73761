"""Processes of containers whose images are unpacked: their programs and their health checks.

The runtime process calls these functions in a fork of itself.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from cloudburst.emulator.programs import confinement
else:
    import confinement  # the runtime process imports no package

SIOCSIFFLAGS, IFF_UP = 0x8914, 1
"""Request and flag of network interfaces, from ``linux/sockios.h`` and ``linux/if.h``."""
INTERFACE_REQUEST = struct.Struct("16sH14x")
"""Structure ``ifreq`` with a name and flags."""
NOT_FOUND = 127
"""Exit code for a program that does not exist, as in a shell."""
CHUNK_BYTES = 65_536
MAX_THREADS = 64
"""Maximum number of threads with which the connections of a health check are relayed, two for each.
They do not count for the limit of the container."""


def run(
    spec: Mapping[str, Any],
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    joined: int | None,
    check: bool,
) -> NoReturn:
    """Run the command of a container, or of its health check.

    Args:
        spec: Fields of `containers.Confinement`.
        argv: Command. Without one, the container is only set up.
        env: Environment variables.
        joined: Process id of the program whose health is checked; ``None``: it has ended.
        check: True for a health check.
    """
    try:
        if not check:
            _run_container(spec, argv, env)
        elif joined:
            _run_check(spec, joined, argv, env)
    except BaseException as exc:  # noqa: BLE001 - a fork must not continue the runtime
        os.write(2, f"{argv}: {exc!r}\n".encode())
    finally:
        os._exit(NOT_FOUND)


def _run_container(
    spec: Mapping[str, Any], argv: Sequence[str], env: Mapping[str, str]
) -> NoReturn:
    """Run the first process of a container.

    A problem is written to the status pipe. The pipe is closed when the program runs.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, confinement.INIT_SIGNALS)
    try:
        confinement.enter(spec)
        confinement.wait_for_parent()
        confinement.set_up_root(spec)
        confinement.drop_privileges(spec)
        if not argv:
            os._exit(0)
        path = confinement.find_program(argv, env, spec["folder"])
    except (confinement.StartError, OSError) as exc:
        os.write(confinement.STATUS_FD, str(exc).encode()[: CHUNK_BYTES - 1])
        os._exit(NOT_FOUND)
    os.set_inheritable(confinement.STATUS_FD, False)  # closed when the program runs
    if spec["init"]:
        confinement.run_init(path, argv, env)
    confinement.execute(path, argv, env)


def _run_check(
    spec: Mapping[str, Any], pid: int, argv: Sequence[str], env: Mapping[str, str]
) -> NoReturn:
    """Run a health check in the container of a process, and exit with its exit code.

    The check has a network of its own. There, connections to the worker's port of 127.0.0.1 are
    relayed to the address at which the worker listens on this machine.
    """
    ours, theirs = socket.socketpair()
    helper = os.fork()
    if helper == 0:
        ours.close()
        _join(spec, pid, theirs, argv, env)
    theirs.close()
    message, descriptors, *_ = socket.recv_fds(ours, 1, 1)
    if message:
        listener = socket.socket(fileno=descriptors[0])
        worker = (str(spec["address"]), int(spec["port"]))
        threading.Thread(target=_relay, args=(listener, worker), daemon=True).start()
    os._exit(_wait_for(helper))


def _join(
    spec: Mapping[str, Any],
    pid: int,
    line: socket.socket,
    argv: Sequence[str],
    env: Mapping[str, str],
) -> NoReturn:
    """Run a health check in a fork, because only forks of this process enter a PID namespace."""
    code = NOT_FOUND
    try:
        confinement.LIBC.prctl(confinement.PR_SET_PDEATHSIG, signal.SIGKILL)
        confinement.join(pid)
        child = os.fork()
        if child == 0:
            _check(spec, line, argv, env)
        line.close()
        code = _wait_for(child)
    except (confinement.StartError, OSError) as exc:
        os.write(2, f"health check: {exc}\n".encode())
    os._exit(code)


def _wait_for(pid: int) -> int:
    """Wait for a child process and return its exit code."""
    return confinement.exit_code_of(os.waitpid(pid, 0)[1])


def _check(
    spec: Mapping[str, Any], line: socket.socket, argv: Sequence[str], env: Mapping[str, str]
) -> NoReturn:
    try:
        confinement.leave_network()
        with socket.socket() as control:
            name = INTERFACE_REQUEST.pack(b"lo", IFF_UP)
            fcntl.ioctl(control, SIOCSIFFLAGS, name)
        listener = socket.create_server(("127.0.0.1", int(spec["port"])))
        socket.send_fds(line, [b"."], [listener.fileno()])
        listener.close()
        line.close()
        confinement.drop_privileges(spec)
        confinement.LIBC.prctl(confinement.PR_SET_PDEATHSIG, signal.SIGKILL)
        path = confinement.find_program(argv, env, spec["folder"])
    except (confinement.StartError, OSError) as exc:
        os.write(2, f"health check: {exc}\n".encode())
        os._exit(NOT_FOUND)
    confinement.execute(path, argv, env)


def _relay(listener: socket.socket, worker: tuple[str, int]) -> None:
    while True:
        inner, _ = listener.accept()
        if threading.active_count() > MAX_THREADS:
            inner.close()
            continue
        try:
            outer = socket.create_connection(worker)
        except OSError:
            inner.close()  # the check fails, as if the connection were refused
            continue
        for ends in ((inner, outer), (outer, inner)):
            threading.Thread(target=_copy, args=ends, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
