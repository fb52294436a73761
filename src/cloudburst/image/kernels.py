"""The pixel kernel for the architectures of an image, from the installation or compiled."""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache
from cloudburst.image.options import Architecture
from cloudburst.image.wheel_download import MACHINES
from cloudburst.renderer.kernel.compiler import (
    Compiler,
    KernelCompileError,
    compile_library,
    find_compiler,
    find_zig,
)
from cloudburst.renderer.kernel.targets import (
    LIBRARIES,
    SOURCE,
    Target,
    local_targets,
    source_hash,
    targets_for,
)
from cloudburst.safe_files import read_regular_file
from cloudburst.text import printable_line

MAX_LIBRARY_BYTES = 4 * 1024**2
_MOVE_MASK, _MOVES = 0xFF800000, (0xD2800000, 0xF2800000)
"""Instructions MOVZ and MOVK of ARM64, which set 16 of the 64 bits of a register."""
logger = logging.getLogger(__name__)


def image_targets(architecture: Architecture) -> tuple[Target, ...]:
    """Return the targets of the kernel that an image of an architecture needs."""
    return targets_for("linux", MACHINES[architecture])


def find_kernels(architecture: Architecture, cache: ImageCache) -> tuple[Path, ...]:
    """Return the libraries for an architecture; compile those that are missing; blocks.

    Raises:
        ImageError: a library is missing, and there is no compiler for it.
    """
    return tuple(_library(target, cache) for target in image_targets(architecture))


def has_kernels(architecture: Architecture) -> bool:
    """Return whether the libraries for an architecture are installed or can be compiled; blocks."""
    expected = source_hash(SOURCE.read_bytes())
    return all(
        is_compiled_from(LIBRARIES / target.file_name, target, expected)
        or _compiler(target) is not None
        for target in image_targets(architecture)
    )


def _library(target: Target, cache: ImageCache) -> Path:
    expected = source_hash(SOURCE.read_bytes())
    installed = LIBRARIES / target.file_name
    if is_compiled_from(installed, target, expected):
        return installed
    folder = cache.folder / "kernels" / f"{expected:016x}"
    key = f"{expected:016x}-{target.file_name}"
    path = folder / target.file_name
    digest = cache.read_record("kernel-hashes", key)
    if digest is not None and _hash(path) == digest:
        cache.mark_used(path)
        return path
    compiler = _compiler(target)
    if compiler is None:
        raise ImageError(
            f"the pixel kernel for {target.machine} ({target.file_name}) is not in this "
            "installation, and there is no compiler for it: run pip install ziglang"
        )
    try:
        compile_library(compiler, target, folder)
    except KernelCompileError as exc:
        logger.debug("the pixel kernel was not compiled: %s", exc)
        raise ImageError(f"the pixel kernel was not compiled: {printable_line(str(exc))}") from exc
    cache.mark_used(path)
    cache.write_record("kernel-hashes", key, _hash(path))
    return path


def _hash(path: Path) -> str:
    """Return the SHA-256 of a library in hex digits, or an empty text if there is none."""
    try:
        return hashlib.sha256(read_regular_file(path, limit=MAX_LIBRARY_BYTES)).hexdigest()
    except OSError:
        return ""


def _compiler(target: Target) -> Compiler | None:
    """Return zig, which compiles the same library everywhere, or this machine's compiler."""
    if (zig := find_zig()) is not None:
        return zig
    return find_compiler(os.environ) if target in local_targets() else None


def is_compiled_from(path: Path, target: Target, expected: int) -> bool:
    """Return whether a library exists and contains the hash of the present source.

    A library of another architecture cannot be loaded to ask for its hash, so it is searched in
    the machine code.
    """
    try:
        data = read_regular_file(path, limit=MAX_LIBRARY_BYTES)
    except OSError:
        return False
    if not data.startswith(b"\x7fELF"):
        return False
    if expected.to_bytes(8, "little") in data:
        return True  # an operand of x86-64, or a constant
    return target.machine == "aarch64" and set(_parts(expected)) <= set(_moved_parts(data))


def _parts(number: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of 16 bits of a number that are not 0, with their places."""
    for place in range(4):
        if part := number >> 16 * place & 0xFFFF:
            yield place, part


def _moved_parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the operands of the instructions MOVZ and MOVK of ARM64, with their places."""
    whole = data[: len(data) // 4 * 4]
    for (instruction,) in struct.iter_unpack("<I", whole):
        if instruction & _MOVE_MASK in _MOVES:
            yield instruction >> 21 & 3, instruction >> 5 & 0xFFFF
