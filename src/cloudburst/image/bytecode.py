"""Bytecode for the Python of the image, compiled by an interpreter of this machine.

The root file system of a task is read-only, so modules without bytecode would be compiled at each
start. Every Python 3.13 has the same format of bytecode, but the digest of an image depends on the
release, which may optimize differently.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cloudburst.errors import ImageError
from cloudburst.image.base_image import bytecode_path
from cloudburst.image.entries import Entry
from cloudburst.image.options import PYTHON

# Arguments with which an interpreter loads nothing of this environment. They are those of ``-I``
# without ``-E``, which would ignore ``PYTHONHASHSEED``.
_ISOLATED = ("-s", "-S", "-P")
# Exit code of ``compileall`` if a module is not valid for this Python, as some in packages are.
_NOT_ALL_VALID = 1


@dataclass(frozen=True, slots=True)
class BytecodeCompiler:
    """Interpreter that compiles for the image."""

    python: str
    """Path of the interpreter."""
    version: str
    """Its release, for example ``3.13.5``."""


@cache
def find_compiler() -> BytecodeCompiler | None:
    """Return this interpreter or the first ``python3.13`` on the path, or ``None``; blocks."""
    if platform.python_version().startswith(f"{PYTHON}."):
        return BytecodeCompiler(sys.executable, platform.python_version())
    found = shutil.which(f"python{PYTHON}")
    if found is None:
        return None
    done = subprocess.run([found, "-V"], capture_output=True, text=True, check=False)
    return BytecodeCompiler(found, done.stdout.split()[-1]) if done.returncode == 0 else None


def compile_entries(
    compiler: BytecodeCompiler, modules: Iterable[Entry], folder: Path
) -> Sequence[Entry]:
    """Return the bytecode files of modules; none for modules that are not valid; blocks.

    They are compiled in the order of their paths, by a process that starts in the same state each
    time: bytecode depends on both.
    """
    paths = list[str]()
    for module in modules:
        path = folder / module.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module.data)
        paths.append(bytecode_path(module.path))
    arguments = ("-qq", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [compiler.python, *_ISOLATED, "-m", "compileall", *arguments, str(folder)],
        env={**kept, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # Ctrl-C cancels the build and is no failure of the interpreter
    )
    if done.returncode not in {0, _NOT_ALL_VALID}:
        raise ImageError(
            f"{compiler.python} failed to compile the modules (exit code {done.returncode}): "
            f"{done.stderr[-500:]}"
        )
    return [
        Entry(path=path, data=(folder / path).read_bytes())
        for path in paths
        if (folder / path).exists()
    ]
