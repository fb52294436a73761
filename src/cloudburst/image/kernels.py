"""The pixel kernel for the architectures of an image, from the installation or compiled."""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

from cloudburst.errors import ImageError
from cloudburst.image.cache import ImageCache
from cloudburst.image.options import MACHINES, Architecture
from cloudburst.renderer.kernel.compiler import (
    CCompiler,
    KernelCompileError,
    compile_library,
    find_compiler,
    find_zig,
)
from cloudburst.renderer.kernel.targets import (
    LIBRARIES,
    KernelTarget,
    local_targets,
    source_hash,
    targets_for,
)
from cloudburst.text import printable_line

logger = logging.getLogger(__name__)


def image_targets(architecture: Architecture) -> tuple[KernelTarget, ...]:
    """Return the targets of the kernel for an architecture."""
    return targets_for("linux", MACHINES[architecture])


def find_kernels(architecture: Architecture, cache: ImageCache) -> tuple[Path, ...]:
    """Return the libraries for an architecture; compile those that are missing; blocks."""
    return tuple(_library(target, cache) for target in image_targets(architecture))


def has_kernels(architecture: Architecture) -> bool:
    """Return whether the libraries for an architecture are installed or can be compiled; blocks."""
    return all(
        _is_installed(target) or _compiler(target) is not None
        for target in image_targets(architecture)
    )


def _library(target: KernelTarget, cache: ImageCache) -> Path:
    if _is_installed(target):
        return LIBRARIES / target.file_name
    folder = cache.folder / "kernels" / f"{source_hash():016x}"
    path = folder / target.file_name
    if path.is_file():
        return path
    compiler = _compiler(target)
    if compiler is None:
        raise ImageError(
            f"the pixel kernel for {target.machine} ({target.file_name}) is not in this "
            "installation, and there is no compiler for it: run pip install ziglang"
        )
    try:
        return compile_library(compiler, target, folder)
    except KernelCompileError as exc:
        logger.debug("the pixel kernel was not compiled: %s", exc)
        raise ImageError(f"the pixel kernel was not compiled: {printable_line(str(exc))}") from exc


def _compiler(target: KernelTarget) -> CCompiler | None:
    """Return zig, which compiles the same library everywhere, or this machine's compiler."""
    if (zig := find_zig()) is not None:
        return zig
    return find_compiler(os.environ) if target in local_targets() else None


def _is_installed(target: KernelTarget) -> bool:
    # A wheel for all machines has all libraries, of its source. A checkout has only those of this
    # machine, perhaps of an earlier source, so these are asked.
    path = LIBRARIES / target.file_name
    if not path.is_file():
        return False
    if target not in local_targets():
        return True
    function = ctypes.CDLL(str(path)).kernel_source_hash
    function.restype = ctypes.c_uint64
    return bool(function() == source_hash())
