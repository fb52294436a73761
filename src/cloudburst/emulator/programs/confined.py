"""Processes of containers whose images are unpacked: their programs and their health checks.

The runtime process calls `run` in a fork of itself.
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
    spec: Mapping[str, Any], argv: Sequence[str], env: Mapping[str, str], *, joined: int | None
) -> NoReturn:
    """Run the command of a container, or of its health check, and exit with its exit code.

    The command runs in a fork, because only forks of this process enter a PID namespace: there the
    program is process 1, so that Linux ends its descendants with it and the signals that it does
    not handle have no effect, as on Fargate.

    Args:
        spec: Fields of `containers.Confinement`.
        argv: Command. Without one, the container is only set up.
        env: Environment variables.
        joined: Process id of the program whose health is checked; ``None`` for a new container.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, confinement.INIT_SIGNALS)  # until the program runs
    try:
        if joined:
            confinement.join(joined)
        else:
            confinement.enter(spec)
        if child := os.fork():
            os.close(confinement.STATUS_FD)
            os._exit(confinement.exit_code_of(os.waitpid(child, 0)[1]))
        os.setsid()
        if not joined:
            confinement.set_up_root(spec)
        confinement.become_user(spec)
        confinement.LIBC.prctl(confinement.PR_SET_PDEATHSIG, signal.SIGKILL)
        if not argv:
            os._exit(0)
        path = confinement.find_program(argv, env, spec["folder"])
        os.set_inheritable(confinement.STATUS_FD, False)
        if spec["init"] and not joined:
            confinement.run_init(path, argv, env)
        confinement.execute(path, argv, env)
    except BaseException as exc:  # noqa: BLE001 - a fork must not continue the runtime
        os.write(confinement.STATUS_FD, str(exc).encode()[:MAX_PROBLEM_BYTES])
    finally:
        os._exit(NOT_FOUND)
