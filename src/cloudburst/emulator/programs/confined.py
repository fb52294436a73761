"""Processes of containers whose images are unpacked: their programs and their health checks.

The runtime process calls these functions in a fork of itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from cloudburst.emulator.programs import confinement
else:
    import confinement  # the runtime process imports no package

NOT_FOUND = 127
"""Exit code for a program that does not exist, as in a shell."""
MAX_PROBLEM_BYTES = 65_535


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
        os.write(confinement.STATUS_FD, str(exc).encode()[:MAX_PROBLEM_BYTES])
        os._exit(NOT_FOUND)
    os.set_inheritable(confinement.STATUS_FD, False)  # closed when the program runs
    if spec["init"]:
        confinement.run_init(path, argv, env)
    confinement.execute(path, argv, env)


def _run_check(
    spec: Mapping[str, Any], pid: int, argv: Sequence[str], env: Mapping[str, str]
) -> NoReturn:
    """Run a health check in the container of a process, and exit with its exit code.

    It runs in a fork, because only forks of this process enter a PID namespace.
    """
    confinement.join(pid)
    child = os.fork()
    if child:
        os._exit(confinement.exit_code_of(os.waitpid(child, 0)[1]))
    confinement.drop_privileges(spec)
    confinement.LIBC.prctl(confinement.PR_SET_PDEATHSIG, signal.SIGKILL)
    confinement.execute(confinement.find_program(argv, env, spec["folder"]), argv, env)
