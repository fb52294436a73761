"""Decision whether tasks run their images: a test of the namespaces of this machine."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from anyio import fail_after

from cloudburst.emulator.config import EmulatorConfig
from cloudburst.emulator.containers import Confinement, Containers
from cloudburst.emulator.errors import EmulatorError
from cloudburst.emulator.image_store import SYSTEM_FOLDERS

RESTRICTIONS = {
    "user/max_user_namespaces": "0",
    "kernel/unprivileged_userns_clone": "0",
    "kernel/apparmor_restrict_unprivileged_userns": "1",
}
"""Files in ``/proc/sys`` and their values with which Linux, Debian and Ubuntu deny user namespaces,
or the mounts in them."""
TEST_TIMEOUT = 10.0
"""Maximum time of the test, in seconds."""
TEST_USER = 10001
"""User and group of the container of the test."""


async def reason_not_confined(config: EmulatorConfig, folder: Path, containers: Containers) -> str:
    """Return the reason why tasks do not run their images; empty if they do.

    Args:
        config: Configuration of the emulator.
        folder: Folder for the files of a test.
        containers: Containers of the emulator.

    Raises:
        EmulatorError: ``EmulatorConfig.confined`` is true, but the machine does not permit this.
    """
    if config.confined is False:
        return "confined: False"
    problem = await _problem(folder, containers)
    if not problem:
        return ""
    reason = "; ".join([problem, *causes_of(folder)])
    if config.confined:
        raise EmulatorError(f"confined: True; {reason}")
    return reason


def causes_of(folder: Path, settings: Path = Path("/proc/sys")) -> Iterator[str]:
    """Yield known causes why containers cannot use namespaces, or files in a folder.

    Args:
        folder: Folder for the files of containers.
        settings: Folder with the settings of Linux.
    """
    for name, value in RESTRICTIONS.items():
        with suppress(OSError):
            if (settings / name).read_text().strip() == value:
                yield f"user namespaces are restricted: {name.replace('/', '.')} is {value}"
    for parent in folder.parents if os.geteuid() == 0 else ():
        if not parent.stat().st_mode & stat.S_IXOTH:
            yield f"the user of containers cannot open {parent}: set TMPDIR to another folder"


async def _problem(folder: Path, containers: Containers) -> str:
    """Set up a container without a program; return the problem, or an empty text."""
    root = folder / "test"
    for path in (root, *(root / name for name in SYSTEM_FOLDERS)):
        path.mkdir()
    listener = _Ending()
    confinement = Confinement(
        root=root,
        writable=None,
        volumes=(),
        uid=TEST_USER,
        gid=TEST_USER,
        folder="/",
        init=False,
    )
    containers.start("confinement test", [], {}, listener, confinement=confinement)
    try:
        with fail_after(TEST_TIMEOUT):
            return await listener.problem
    except TimeoutError:
        return f"the test of namespaces did not end within {TEST_TIMEOUT:g} s"


class _Ending:
    """Listener that waits for the end of a process."""

    def __init__(self) -> None:
        self.problem: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def started(self, pid: int) -> None:
        """Ignore the start of the process."""

    def wrote(self, lines: Sequence[str]) -> None:
        """Ignore the output of the process."""

    def ended(self, code: int, problem: str) -> None:
        if not self.problem.done():
            self.problem.set_result(problem or ("" if code == 0 else f"exit code {code}"))
