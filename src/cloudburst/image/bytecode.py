"""Bytecode for the Python of the image, compiled by an interpreter of this machine.

The root file system of a task is read-only, so modules without bytecode would be compiled at each
start. Every Python 3.13 has the same format of bytecode, on all processors. Two releases, such as
3.13.0 and 3.13.5, may optimize differently: the digest of an image depends on the release. Modules
are compiled in the same order each time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from anyio import to_thread

from cloudburst.errors import ImageError
from cloudburst.image.base_layers import bytecode_path
from cloudburst.image.entries import Entry, bytes_entry
from cloudburst.image.locked_packages import PYTHON
from cloudburst.image.programs import run_program

MAGIC = (3571).to_bytes(2, "little") + b"\r\n"
"""Format of the bytecode of Python 3.13: the first bytes of a file."""
PROGRAM = Path(__file__).with_name("compile_files.py")
PROBE_TIMEOUT = 20.0
COMPILE_TIMEOUT = 300.0
"""Maximum time in seconds. The standard library takes 4 on one core."""
_ISOLATED = ("-s", "-S", "-P")
"""Arguments with which an interpreter loads nothing of this environment. They are those of ``-I``
without ``-E``, which would ignore ``PYTHONHASHSEED``."""
_PROBE = (
    "import importlib.util as u, platform as p;"
    "print(u.MAGIC_NUMBER.hex(), p.python_version(), p.python_implementation())"
)


@dataclass(frozen=True, slots=True)
class Compiler:
    """Interpreter that compiles for the image."""

    python: str
    """Path of the interpreter."""
    version: str
    """Its release, for example ``3.13.5``."""


def candidates(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the interpreters that may be suitable, the likeliest first."""
    yield sys.executable
    path = environ.get("PATH")
    for name in (f"python{PYTHON}", "python3", f"/usr/bin/python{PYTHON}", "/usr/bin/python3"):
        if found := shutil.which(name, path=path):
            yield found
    if uv := shutil.which("uv", path=path):
        found = _output([uv, "python", "find", "--no-python-downloads", PYTHON])
        if found:
            yield found


@cache
def find_compiler() -> Compiler | None:
    """Return an interpreter with the bytecode of the image's Python, or ``None``; blocks."""
    tried = set[str]()
    for python in candidates(os.environ):
        if python not in tried:
            tried.add(python)
            words = _output([python, "-I", "-S", "-c", _PROBE]).split()
            if words[:1] == [MAGIC.hex()] and words[2:] == ["CPython"]:
                return Compiler(python, words[1])
    return None


def _output(command: Sequence[str]) -> str:
    """Return what a program prints, or an empty text if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=PROBE_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    return done.stdout.strip()


async def compile_entries(
    compiler: Compiler, modules: Sequence[Entry], folder: Path
) -> tuple[Entry, ...]:
    """Return the bytecode files of modules; none for modules that are not valid.

    Temporary files are written into ``folder``.

    Raises:
        ImageError: the interpreter fails.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="compile-") as temporary:
        source, target = Path(temporary, "sources"), Path(temporary, "bytecode")
        await to_thread.run_sync(_write_sources, source, modules)
        command = [compiler.python, *_ISOLATED, str(PROGRAM), str(source), str(target)]
        environ = _compile_environment(os.environ)
        done = await run_program(command, seconds=COMPILE_TIMEOUT, environ=environ)
        if done.code:
            raise ImageError(
                f"{compiler.python} failed to compile the modules (exit code {done.code}): "
                f"{done.output[-500:]}"
            )
        return await to_thread.run_sync(_read_bytecode, target, modules)


def _compile_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for an interpreter that always makes the same bytecode.

    Bytecode depends on the state of the process that compiles: two equal sets become one constant
    only if their strings are not known from a module before. Hash seed and locale are part of it.
    """
    kept = {name: value for name, value in environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def modules_of(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are modules."""
    return [entry for entry in entries if entry.path.endswith(".py") and not entry.link]


def _write_sources(path: Path, modules: Sequence[Entry]) -> None:
    with path.open("wb") as file:
        for module in modules:
            data = module.read()
            file.write(json.dumps([f"/{module.path}", len(data)]).encode() + b"\n" + data)


def _read_bytecode(path: Path, modules: Sequence[Entry]) -> tuple[Entry, ...]:
    made = list[Entry]()
    with path.open("rb") as file:
        for module in modules:
            line = file.readline(20).strip()
            size = int(line) if line.isdigit() else -1
            data = file.read(size) if size >= 0 else b""
            if len(data) != size or (data and not data.startswith(MAGIC)):
                raise ImageError("the interpreter wrote other bytecode than was expected")
            if data:
                made.append(bytes_entry(bytecode_path(module.path), data))
    return tuple(made)
