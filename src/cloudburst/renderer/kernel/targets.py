"""Platforms for which the kernel is compiled, and the names of the shared libraries.

The build hook loads this module and `compiler` before the package is installed. They import only
the standard library and each other, by relative imports.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

System: TypeAlias = Literal["linux", "macos"]

KERNEL_FOLDER = Path(__file__).parent
SOURCES = KERNEL_FOLDER / "kernel.c", KERNEL_FOLDER / "vectors.c"
# Folder of the shared libraries. Libraries of several platforms may be in it.
LIBRARIES = KERNEL_FOLDER / "libs"
MISSING_KERNEL = (
    "the kernel of the renderer is missing: install a C compiler or the package ziglang, then "
    "install cloudburst-sdk again"
)

# Variant for the x86-64-v3 level: processors with AVX2, which is since about 2013 (Intel) and 2015
# (AMD).
V3 = "v3"

_SYSTEMS: dict[str, System] = {"linux": "linux", "darwin": "macos"}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SUFFIXES: dict[System, str] = {"linux": ".so", "macos": ".dylib"}


class KernelTarget(NamedTuple):
    """Platform and variant for which one shared library is compiled.

    The kernel calls no library, so a library for Linux serves glibc and musl.
    """

    system: System
    machine: str
    variant: str = ""
    """`V3`, or empty for the baseline of the processor."""

    @property
    def file_name(self) -> str:
        """Name of the shared library, for example ``kernel-linux-x86_64-v3.so``."""
        parts = ["kernel", self.system, self.machine, self.variant]
        return "-".join(filter(None, parts)) + _SUFFIXES[self.system]


# Targets of a wheel for all platforms. Macs with Intel processors use the baseline of it.
TARGETS = (
    KernelTarget("linux", "x86_64"),
    KernelTarget("linux", "x86_64", V3),
    KernelTarget("linux", "aarch64"),
    KernelTarget("macos", "x86_64"),
    KernelTarget("macos", "aarch64"),
)


def targets_for(system_name: str, machine: str) -> tuple[KernelTarget, ...]:
    """Return the targets that may run on a machine, the baseline first, or none.

    ``system_name`` is a value of ``sys.platform``; ``machine`` is the processor as the system names
    it.
    """
    system = _SYSTEMS.get(system_name)
    if system is None:
        return ()
    machine = _MACHINES.get(machine.lower(), machine.lower())
    baseline = KernelTarget(system, machine)
    return (baseline, KernelTarget(system, machine, V3)) if machine == "x86_64" else (baseline,)


def local_targets() -> tuple[KernelTarget, ...]:
    """Return the targets that may run in this process, the baseline first."""
    if sys.maxsize < 2**32:
        return ()  # a 32 bit Python, perhaps on a 64 bit system
    # For an x86-64 process on a Mac with an ARM processor, it is x86_64.
    return targets_for(sys.platform, platform.machine())


def source_hash(sources: Iterable[Path] = SOURCES) -> int:
    """Return the first 64 bits of the SHA-256 of the sources, which their libraries contain."""
    content = b"".join(source.read_bytes() for source in sources)
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
