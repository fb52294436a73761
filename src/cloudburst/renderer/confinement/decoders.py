"""Confinement of processes that decode files of callers, as far as the system has its layers."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

# Option of ``prctl``, from ``linux/prctl.h``.
PR_SET_NO_NEW_PRIVS = 38
# Version of the structures of ``capset``, and bits of the two capabilities that are kept, with
# which root reads the files of others: from ``linux/capability.h``.
CAPABILITY_VERSION, READ_FILES = 0x20080522, 0b110
# Folders of libraries, beside those of Python.
LIBRARIES = ("/usr", "/usr/local", "/")


def confine(
    folder: Path | None,
    watch: Callable[[], object] | None = None,
    *,
    readable: Sequence[Path] = (),
    writable: Sequence[Path] = (),
    threads: bool = False,
) -> tuple[str, ...]:
    """Give up what decoding does not need, in this process, or without ``watch`` in this thread.

    Call it before another thread starts; ``watch`` starts the last one, unless there are to be more
    ``threads``. From then on, no program, connection, signal or other process is in reach, and only
    Python, libraries and the given files can be read. Files in ``folder`` and ``writable`` files
    can be written, too; the targets of links in the folder only read.

    Returns:
        The reason for each layer that the system does not have.
    """
    if sys.platform != "linux":
        if watch is not None:
            watch()
        return (f"Landlock and seccomp: {sys.platform} does not have them",)
    # Imported here, because it needs the C library of Linux.
    from cloudburst.renderer.confinement import landlock, system_calls  # noqa: PLC0415

    system_calls.LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities(system_calls.LIBC)
    readable = [*_software(), *readable]
    if folder is not None:
        readable += [path for path in folder.iterdir() if path.is_symlink()]
        writable = [folder, *writable]
    flags = 0 if watch is None else system_calls.ALL_THREADS
    missing: list[str] = []
    for restrict in (
        partial(landlock.restrict_files, readable, writable),
        watch or (lambda: None),
        partial(system_calls.restrict_decoder, flags, threads=threads),
    ):
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


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up the rights of root with which it could raise its limits or change the machine."""
    header, rights = struct.pack("Ii", CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
    libc.capget(header, rights)
    _, permitted, *_ = struct.unpack("6I", rights.raw)
    kept = permitted & READ_FILES
    libc.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0))


def _software() -> Iterator[Path]:
    yield Path(__file__).parents[2]
    for folder in (*LIBRARIES, sys.prefix, sys.base_prefix):
        yield from (Path(folder, "lib"), Path(folder, "lib64"))
    yield from (Path("/nix/store"), Path("/etc/ld.so.cache"))
    # Without -P, the first entry is the current folder, which may have any files.
    yield from map(Path, sys.path[not sys.flags.safe_path :])
    yield from map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")))
