"""Compilation of the kernel: command lines of C compilers, for this machine or for all platforms.

The same source, compiler and target always make the same bytes: libraries have no build ID, no
timestamp and no path in them.
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .targets import SOURCES, V3, KernelTarget, source_hash

# Requirement of the wheel that contains clang for all targets.
ZIGLANG = "ziglang>=0.17"

# Maximum time for one library, in seconds. The first one for macOS takes 3 s with zig.
COMPILE_TIMEOUT = 300.0

_FLAGS = (
    *("-std=c11", "-O3", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"),
    # Without these two, loops would become calls of memcpy and memset, which are in the C library.
    *("-ffreestanding", "-fno-builtin"),
)
# Extensions of x86-64-v3. The name of the level would need gcc 11 or clang 12.
_V3_FLAGS = ("-mavx2", "-mbmi", "-mbmi2", "-mf16c", "-mfma", "-mlzcnt", "-mmovbe")
# Systems in zig's notation. The version of glibc has no effect, because it is not linked.
_ZIG_SYSTEMS = {"linux": "linux-gnu.2.17", "macos": "macos"}


class KernelCompileError(Exception):
    """Error of a compiler, or no compiler was found."""


class CCompiler(NamedTuple):
    """Command that starts a C compiler, with arguments that it always needs."""

    command: tuple[str, ...]
    is_zig: bool = False
    """True if the compiler accepts a target, and so compiles for every platform."""


def find_compiler(environ: Mapping[str, str]) -> CCompiler | None:
    """Return the C compiler of this machine, else zig, else ``None``.

    That is the one of the variable ``CC``, which may contain arguments, or the first of ``cc``,
    ``gcc`` and ``clang`` on the path.
    """
    for name in (environ.get("CC", ""), "cc", "gcc", "clang"):
        words = shlex.split(name)
        if words and (path := shutil.which(words[0], path=environ.get("PATH"))):
            return CCompiler((path, *words[1:]))
    return find_zig()


def find_zig() -> CCompiler | None:
    """Return zig's C compiler from the package ziglang, or ``None``."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    return CCompiler((sys.executable, "-m", "ziglang", "cc"), is_zig=True)


def compile_command(
    compiler: CCompiler, target: KernelTarget, sources: Sequence[Path], output: Path
) -> list[str]:
    """Return the command line that compiles a library."""
    return [
        *compiler.command,
        *_FLAGS,
        *_system_flags(target, is_zig=compiler.is_zig),
        *_processor_flags(target, is_zig=compiler.is_zig),
        f"-DKERNEL_SOURCE_HASH=0x{source_hash(sources):016x}u",
        *("-o", str(output), *map(str, sources)),
    ]


def _system_flags(target: KernelTarget, *, is_zig: bool) -> tuple[str, ...]:
    match target.system:
        case "linux":
            return ("-fPIC", "-s", "-nostdlib", "-Wl,--build-id=none")
        case "macos":
            # A library for macOS must be linked with libSystem. The path of the output would
            # otherwise be the name within the library.
            strip = ("-s",) if is_zig else ("-Wl,-x",)
            return ("-fPIC", *strip, f"-Wl,-install_name,@rpath/{target.file_name}")


def _processor_flags(target: KernelTarget, *, is_zig: bool) -> tuple[str, ...]:
    v3 = target.variant == V3
    if not is_zig:
        return _V3_FLAGS if v3 else ()
    triple = f"{target.machine}-{_ZIG_SYSTEMS[target.system]}"
    return ("-target", triple, *(("-mcpu=x86_64_v3",) if v3 else ()))


def compile_library(
    compiler: CCompiler, target: KernelTarget, folder: Path, sources: Sequence[Path] = SOURCES
) -> Path:
    """Compile one library into a folder, and return its path.

    An existing one is replaced at once, so that no process loads half a file.

    Raises:
        KernelCompileError: The compiler cannot be started, fails or takes too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".compile-") as temporary:
        output = Path(temporary, target.file_name)  # compilers write other files beside it
        command = compile_command(compiler, target, sources, output)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=COMPILE_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            msg = f"{target.file_name}: {exc}"
            raise KernelCompileError(msg) from exc
        if done.returncode or not output.exists():
            msg = f"{target.file_name}: {shlex.join(command)} failed\n{done.stderr[-2000:]}"
            raise KernelCompileError(msg)
        return output.replace(folder / target.file_name)


def compile_libraries(
    compiler: CCompiler, targets: Iterable[KernelTarget], folder: Path
) -> list[Path]:
    """Compile libraries into a folder, and return their paths."""
    return [compile_library(compiler, target, folder) for target in targets]
