"""The compiled kernel, loaded with ctypes, and the choice between it and Pillow."""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from pathlib import Path

from .interface import PixelKernel, Plane, Rectangle, needed_range
from .pillow_kernel import PillowKernel
from .targets import LIBRARIES, SOURCE, KernelTarget, local_targets, source_hash

# Environment variable that restricts the kernel of this process, for tests: ``pillow`` loads no
# library, and ``baseline`` loads the one for every processor of this kind.
VARIANT_VARIABLE = "CLOUDBURST_KERNEL_VARIANT"

# Positions of the C kernel are whole numbers of this part of a sample.
_FRACTION = 2**32

_POINTER, _STRIDE, _SIZE = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int32
_BYTES, _VALUE, _POSITION = ctypes.c_char_p, ctypes.c_uint8, ctypes.c_int64
# Types of the result and of the arguments of the functions in ``kernel.c``.
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "kernel_scratch_size": (ctypes.c_size_t, []),
    "kernel_prepare_scratch": (None, [_POINTER]),
    "kernel_source_hash": (ctypes.c_uint64, []),
    "kernel_supports_v3": (ctypes.c_int32, []),
    "kernel_zoom": (
        None,
        [*([_POINTER, _STRIDE, _SIZE, _SIZE] * 2), *([_POSITION] * 3), _POINTER],
    ),
    "kernel_blend": (None, [_POINTER, _STRIDE, _SIZE, _SIZE, _BYTES, _VALUE]),
    "kernel_overlay": (None, [_POINTER, _STRIDE, _SIZE, _SIZE, _BYTES, _BYTES]),
    "kernel_copy": (None, [_POINTER, _STRIDE, _POINTER, _STRIDE, _SIZE, _SIZE]),
}


class KernelLoadError(Exception):
    """Error for a shared library that cannot be used in this process."""


class LibraryKernel(PixelKernel):
    """Pixel operations of a shared library. They may run in several threads at once."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._library = _load(path)
        self._local = threading.local()

    @property
    def supports_v3(self) -> bool:
        """True if the processor and the operating system support the variant `V3`."""
        return bool(self._library.kernel_supports_v3())

    def _scratch(self) -> ctypes.Array[ctypes.c_char]:
        """Return working memory of the current thread, because ctypes releases the GIL."""
        if not hasattr(self._local, "scratch"):
            memory = ctypes.create_string_buffer(self._library.kernel_scratch_size())
            self._library.kernel_prepare_scratch(memory)
            self._local.scratch = memory
        scratch: ctypes.Array[ctypes.c_char] = self._local.scratch
        return scratch

    def _zoom(self, source: Plane, target: Plane, left: float, top: float, zoom: float) -> None:
        x, width = needed_range(left, target.width / zoom, source.width)
        self._library.kernel_zoom(
            *(source.address + x, source.stride, width, source.height),
            *(target.address, target.stride, target.width, target.height),
            *(round(left * _FRACTION) - x * _FRACTION, round(top * _FRACTION)),
            *(round(_FRACTION / zoom), self._scratch()),
        )

    def _blend(self, target: Plane, area: Rectangle, mask: bytes, value: int) -> None:
        self._library.kernel_blend(*_part(target, area), area.width, area.height, mask, value)

    def _overlay(self, target: Plane, area: Rectangle, mask: bytes, picture: bytes) -> None:
        self._library.kernel_overlay(*_part(target, area), area.width, area.height, mask, picture)

    def _copy(self, source: Plane, target: Plane, area: Rectangle) -> None:
        parts = (*_part(source, area), *_part(target, area))
        self._library.kernel_copy(*parts, area.width, area.height)

    def _fill(self, target: Plane, samples: bytes) -> None:
        width, height = target.width, target.height
        given = ctypes.cast(ctypes.c_char_p(samples), ctypes.c_void_p)
        self._library.kernel_copy(given, width, target.address, target.stride, width, height)


def _part(plane: Plane, area: Rectangle) -> tuple[int, int]:
    return plane.address + area.y * plane.stride + area.x, plane.stride


def _load(path: Path) -> ctypes.CDLL:
    """Load a shared library of the present ``kernel.c``, or raise `KernelLoadError`."""
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        expected = source_hash(SOURCE.read_bytes())
    except (OSError, AttributeError) as exc:
        raise KernelLoadError(str(exc)) from exc
    if library.kernel_source_hash() != expected:
        msg = f"{path}: compiled from another kernel.c; install the package again"
        raise KernelLoadError(msg)
    return library


def open_kernel(
    variant: str, targets: tuple[KernelTarget, ...], folder: Path = LIBRARIES
) -> tuple[PixelKernel, str]:
    """Return the fastest kernel of this machine, and why it is not a compiled one, or ``""``.

    ``variant`` is the value of `VARIANT_VARIABLE`; another one raises `ValueError`. ``targets`` may
    run in this process, the baseline first.
    """
    if variant not in {"", "baseline", "pillow"}:
        msg = f"{VARIANT_VARIABLE}: {variant!r}; expected 'pillow' or 'baseline'"
        raise ValueError(msg)
    if variant == "pillow":
        return PillowKernel(), f"{VARIANT_VARIABLE} is set"
    if not targets:
        return PillowKernel(), "there is no kernel for this platform"
    try:
        kernel = LibraryKernel(folder / targets[0].file_name)
    except KernelLoadError as exc:
        return PillowKernel(), str(exc)
    if variant == "baseline" or len(targets) == 1 or not kernel.supports_v3:
        return kernel, ""
    try:
        return LibraryKernel(folder / targets[1].file_name), ""
    except KernelLoadError:
        return kernel, ""  # half as fast, with the same results


@cache
def load_kernel() -> PixelKernel:
    """Return the kernel of this process: the fastest one, or Pillow.

    Raises `ValueError` for an unknown value of the environment variable `VARIANT_VARIABLE`.
    """
    return open_kernel(os.environ.get(VARIANT_VARIABLE, ""), local_targets())[0]
