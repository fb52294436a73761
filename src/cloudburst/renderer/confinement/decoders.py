"""Confinement of processes that decode files of callers, as far as the system has its layers."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

# Option of ``prctl``, from ``linux/prctl.h``.
PR_SET_NO_NEW_PRIVS = 38
OWN_STATE = "/proc/self"
# Folders of libraries, and of fonts that belong to the system.
LIBRARIES = ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache")


def confine(
    folder: Path | None, *, readable: Sequence[Path] = (), writable: Sequence[Path] = ()
) -> tuple[str, ...]:
    """Give up what decoding does not need, in this thread and all threads that it starts.

    Call it before another thread starts. From then on, no program, connection, signal or other
    process is in reach, and only Python, libraries, fonts and the given files can be read. Files in
    ``folder`` and ``writable`` files can be written, too; the targets of links in the folder only
    read.

    Returns:
        The reason for each layer that the system does not have.
    """
    if sys.platform != "linux":
        return (f"Landlock and seccomp: {sys.platform} does not have them",)
    # Imported here, because it needs the C library of Linux.
    from cloudburst.renderer.confinement import landlock, system_calls  # noqa: PLC0415

    system_calls.LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A rule belongs to an inode. As long as this is open, proc does not make another one.
    os.open(OWN_STATE, os.O_PATH | os.O_CLOEXEC)
    readable = [Path(OWN_STATE), *_software(), *readable]
    if folder is not None:
        readable += [path for path in folder.iterdir() if path.is_symlink()]
        writable = [folder, *writable]
    missing: list[str] = []
    restrict_files = partial(landlock.restrict_files, readable, writable)
    for restrict in (restrict_files, system_calls.restrict_decoder):
        try:
            restrict()
        except OSError as exc:
            missing.append(str(exc.strerror))
    return tuple(missing)


def missing_layers() -> tuple[str, ...]:
    """Return the reason for each layer that `confine` would miss on this machine."""
    missing: list[str] = []
    # Linux confines threads, so nothing is left of this when the thread ends.
    thread = threading.Thread(target=lambda: missing.extend(confine(None)))
    thread.start()
    thread.join()
    return tuple(missing)


def _software() -> Iterator[Path]:
    yield Path(__file__).parents[1]
    yield from map(Path, (sys.prefix, sys.base_prefix, *LIBRARIES))
    # Without -P, the first entry is the current folder, which may have any files.
    yield from map(Path, sys.path[not sys.flags.safe_path :])
    yield from map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")))
