"""Shared libraries of the pixel kernel, compiled for tests, and planes whose memory is guarded."""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path

from filelock import FileLock
from PIL import Image, ImageChops

from cloudburst.renderer.kernel import compiler as compiler_module
from cloudburst.renderer.kernel import targets
from cloudburst.renderer.kernel.compiler import CCompiler, compile_library, find_compiler, find_zig
from cloudburst.renderer.kernel.interface import Plane
from cloudburst.renderer.kernel.library import Kernel
from cloudburst.renderer.kernel.targets import local_targets
from support.pillow_kernel import PillowKernel

_GUARD = 64
"""Bytes before and after a plane whose content must not change."""
_UNUSED = 0xA5


def compilers() -> dict[str, CCompiler]:
    """Return the compilers of this machine by name; the first is the one that builds use."""
    found = {"native": find_compiler(os.environ), "zig": find_zig()}
    return {name: compiler for name, compiler in found.items() if compiler is not None}


@cache
def libraries() -> Path:
    """Return a folder with the libraries for this machine, as a build makes them.

    They are kept in the user's cache until the kernel, its compiler or its build change.
    """
    compiler = next(iter(compilers().values()))
    built_by = (compiler_module.__file__, targets.__file__)
    parts = [path.read_bytes() for path in (*targets.SOURCES, *map(Path, built_by))]
    version = subprocess.run([*compiler.command, "--version"], capture_output=True, check=True)
    parts += [repr(compiler).encode(), version.stdout]
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache_home / "cloudburst-tests" / f"kernels-{sha256(b''.join(parts)).hexdigest()[:16]}"
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "lock"):
        if not (place / "complete").exists():
            for target in local_targets():
                compile_library(compiler, target, place)
            (place / "complete").touch()
    return place


@cache
def kernels() -> dict[str, Kernel]:
    """Return the kernels that run on this machine: Pillow, the baseline, and v3 if possible."""
    found: dict[str, Kernel] = {"pillow": PillowKernel()}
    if compilers() and local_targets():
        baseline, *others = local_targets()
        found["baseline"] = kernel = Kernel(libraries() / baseline.file_name)
        if others and kernel.supports_v3:
            found["v3"] = Kernel(libraries() / others[0].file_name)
    return found


class GuardedPlane:
    """Memory of a plane with a gap after each row, and with guards before and after it."""

    def __init__(self, width: int, height: int, gap: int = 0, samples: bytes | None = None) -> None:
        stride = width + gap
        self._size = stride * (height - 1) + width  # no gap after the last row
        self._memory = ctypes.create_string_buffer(
            bytes([_UNUSED]) * (self._size + 2 * _GUARD), self._size + 2 * _GUARD
        )
        self.plane = Plane(ctypes.addressof(self._memory) + _GUARD, stride, width, height)
        if samples is not None:
            for y in range(height):
                row = samples[y * width : (y + 1) * width]
                ctypes.memmove(self.plane.address + y * stride, row, width)

    def samples(self) -> bytes:
        """Return the samples, after a check that the guards and gaps have not changed."""
        _, stride, width, height = self.plane
        data = self._memory.raw
        inside = data[_GUARD : _GUARD + self._size]
        rows = [inside[y * stride : (y + 1) * stride] for y in range(height)]
        outside = data[:_GUARD] + data[_GUARD + self._size :] + b"".join(r[width:] for r in rows)
        assert outside.strip(bytes([_UNUSED])) == b"", "memory outside of the plane was written to"
        return b"".join(row[:width] for row in rows)


def largest_difference(first: bytes, second: bytes) -> int:
    """Return the largest difference of two samples at the same place."""
    assert len(first) == len(second)
    images = (Image.frombytes("L", (1, len(data)), data) for data in (first, second))
    return int(ImageChops.difference(*images).getextrema()[1])
