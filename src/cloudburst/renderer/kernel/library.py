"""The compiled kernel, loaded with ctypes."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cloudburst.errors import ConfigurationError

from .interface import (
    BLOCK_SIZE,
    BPicture,
    Plane,
    Rectangle,
    check_area,
    check_disjoint,
    check_length,
    check_window,
    needed_range,
)
from .targets import LIBRARIES, MISSING_KERNEL, KernelTarget, local_targets, source_hash

# Positions of the C kernel are whole numbers of this part of a sample.
_FRACTION = 2**32

_POINTER, _STRIDE, _SIZE = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int32
_BYTES, _VALUE, _POSITION = ctypes.c_char_p, ctypes.c_uint8, ctypes.c_int64
# Types of the result and of the arguments of the functions in ``kernel.c`` and ``vectors.c``.
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
    "vectors_size": (ctypes.c_size_t, []),
    "vectors_prepare": (None, [_POINTER]),
    "vectors_write": (
        ctypes.c_size_t,
        [*([_SIZE] * 5), *([_POINTER] * 2), _BYTES, *([_POINTER] * 2), ctypes.c_size_t],
    ),
}


class KernelLoadError(Exception):
    """Error for a shared library that cannot be used in this process."""


class Kernel:
    """Operations of a shared library, which may run in several threads at once.

    They raise `ValueError` for arguments that would access memory outside of the planes or buffers.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._library = _load(path)
        self._local = threading.local()

    @property
    def supports_v3(self) -> bool:
        """True if the processor and the operating system support the variant `V3`."""
        return bool(self._library.kernel_supports_v3())

    def zoom(self, source: Plane, target: Plane, left: float, top: float, zoom: float) -> None:
        """Draw a window of the source over the whole target.

        Its top left corner is (left, top), in samples of the source; its size is 1/zoom of the
        target's. Samples are interpolated by Lanczos' filter with three lobes, columns first.
        """
        check_window(source, target, left, top, zoom)
        x, width = needed_range(left, target.width / zoom, source.width)
        library = self._library
        scratch = self._memory("zoom", library.kernel_scratch_size, library.kernel_prepare_scratch)
        library.kernel_zoom(
            *(source.address + x, source.stride, width, source.height),
            *(target.address, target.stride, target.width, target.height),
            *(round(left * _FRACTION) - x * _FRACTION, round(top * _FRACTION)),
            *(round(_FRACTION / zoom), scratch),
        )

    def blend(self, target: Plane, area: Rectangle, mask: bytes, value: int) -> None:
        """Blend one value into a rectangle; the mask has a byte per sample, 255 for opaque."""
        check_area(target, area)
        check_length("mask", mask, area)
        if not 0 <= value <= 255:
            msg = f"value: {value}; expected 0 to 255"
            raise ValueError(msg)
        self._library.kernel_blend(*_part(target, area), area.width, area.height, mask, value)

    def overlay(self, target: Plane, area: Rectangle, mask: bytes, picture: bytes) -> None:
        """Blend a picture into a rectangle; the mask is as for `blend`."""
        check_area(target, area)
        check_length("mask", mask, area)
        check_length("picture", picture, area)
        self._library.kernel_overlay(*_part(target, area), area.width, area.height, mask, picture)

    def copy(self, source: Plane, target: Plane, area: Rectangle) -> None:
        """Copy a rectangle of the source to the same place of the target."""
        check_area(source, area)
        check_area(target, area)
        check_disjoint(source, target)
        parts = (*_part(source, area), *_part(target, area))
        self._library.kernel_copy(*parts, area.width, area.height)

    def fill(self, target: Plane, samples: bytes) -> None:
        """Copy samples, row after row without gaps, to the whole target."""
        width, height = target.width, target.height
        area = Rectangle(0, 0, width, height)
        check_area(target, area)
        check_length("samples", samples, area)
        given = ctypes.cast(ctypes.c_char_p(samples), ctypes.c_void_p)
        self._library.kernel_copy(given, width, target.address, target.stride, width, height)

    def write_b_picture(self, picture: BPicture) -> bytes:
        """Return the NAL unit of a picture, without a start code; `ValueError` for a bad one."""
        picture.check()
        writer = self._memory("writer", self._library.vectors_size, self._library.vectors_prepare)
        room = _picture_room(picture.size)
        out = ctypes.create_string_buffer(room)
        across, down = (
            (_POSITION * 4)(
                *(
                    round(number * _FRACTION)
                    for motion in picture.motions
                    for number in (motion[axis], motion.grow)
                )
            )
            for axis in (0, 1)
        )
        size = self._library.vectors_write(
            *(picture.frame_number, picture.order, *picture.size, picture.weight),
            *(across, down, picture.still, writer, out, room),
        )
        if size > room:
            msg = f"a B picture has {size} bytes; expected at most {room}"
            raise ValueError(msg)
        return out.raw[:size]

    def _memory(
        self, name: str, size: Callable[[], int], prepare: Callable[[object], None]
    ) -> ctypes.Array[ctypes.c_char]:
        """Return working memory of the current thread, because ctypes releases the GIL."""
        memory: ctypes.Array[ctypes.c_char] | None = getattr(self._local, name, None)
        if memory is None:
            memory = ctypes.create_string_buffer(size())
            prepare(memory)
            setattr(self._local, name, memory)
        return memory


def _part(plane: Plane, area: Rectangle) -> tuple[int, int]:
    return plane.address + area.y * plane.stride + area.x, plane.stride


def _picture_room(size: tuple[int, int]) -> int:
    # Random vectors take up to 5 bytes for each macroblock.
    return 1000 + 16 * math.prod(-(-side // BLOCK_SIZE) for side in size)


def _load(path: Path) -> ctypes.CDLL:
    """Load a shared library of the present sources, or raise `KernelLoadError`."""
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        expected = source_hash()
    except (OSError, AttributeError) as exc:
        raise KernelLoadError(str(exc)) from exc
    if library.kernel_source_hash() != expected:
        msg = f"{path}: compiled from other sources; install the package again"
        raise KernelLoadError(msg)
    return library


def open_kernel(targets: tuple[KernelTarget, ...], folder: Path = LIBRARIES) -> Kernel:
    """Return the fastest kernel of this machine, or raise `ConfigurationError`.

    ``targets`` may run in this process, the baseline first.
    """
    if not targets:
        raise ConfigurationError("the renderer has no kernel for this platform")
    baseline, *others = targets
    try:
        kernel = Kernel(folder / baseline.file_name)
        if others and kernel.supports_v3:
            kernel = Kernel(folder / others[0].file_name)
    except KernelLoadError as exc:
        raise ConfigurationError(f"{MISSING_KERNEL} ({exc})") from exc
    return kernel


@cache
def load_kernel() -> Kernel:
    """Return the kernel of this process; see `open_kernel`."""
    return open_kernel(local_targets())
