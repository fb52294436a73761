"""Arguments of the kernel, and checks that raise `ValueError` before memory is accessed."""

from __future__ import annotations

import math
from typing import NamedTuple

# Maximum width and height of the target of a zoom, in samples: those of the largest video. The C
# kernel has memory for rows of this size.
MAX_SIDE = 4096
# Maximum width and height of any plane, in samples. Panoramas are larger than the target of a
# zoom.
MAX_PLANE_SIDE = 1 << 15
# Maximum stride, in bytes, with which all offsets within a plane fit into 32 bits.
MAX_STRIDE = 1 << 20
# Limits of the magnification: of a picture that is kept larger than the video by this factor, and
# of a pan with the largest ``motion_amount``. The C kernel has memory for weights within them.
MIN_ZOOM, MAX_ZOOM = 1 / 1.55, 2.0
# Number of samples by which a window may extend beyond each edge of the plane. Because of their
# siting, windows of chroma planes extend beyond an edge by up to 1/7 sample, at the smallest and
# the largest zoom. The limit keeps the centres of all samples inside the plane: at the largest
# zoom, the first one is 1/4 sample from the start of the window.
MAX_OVERHANG = 0.2

# Samples beside a window that its samples may depend on: three lobes of up to 1.55 samples, and
# one for rounding.
FILTER_REACH = 6


class Plane(NamedTuple):
    """Memory of one plane of a frame, with 8 bits per sample. The frame owns it."""

    address: int
    stride: int
    """Bytes from the start of a row to that of the next one."""
    width: int
    height: int


class Rectangle(NamedTuple):
    """Part of a plane, in samples."""

    x: int
    y: int
    width: int
    height: int


# Sides of a macroblock, in samples.
BLOCK_SIZE = 16
# Maximum movement of any sample of a B picture, in samples; decoders of all levels here read 128.
MAX_SHIFT = 120.0
# Parts of the bytes of `BPicture.still`, as in ``vectors.c``.
LATER, EARLIER, FIXED = 1, 2, 4


class Motion(NamedTuple):
    """Movement of the samples of a picture: those at (x, y) move by left + grow * x, and so on."""

    left: float
    top: float
    grow: float

    def shifts(self, size: tuple[int, int]) -> list[float]:
        """Return the movements of the edges of a picture of this size, across and down."""
        width, height = size
        return [
            *(self.left, self.left + self.grow * width),
            *(self.top, self.top + self.grow * height),
        ]


class BPicture(NamedTuple):
    """B picture that holds vectors only; other pictures are found from it by their movement."""

    size: tuple[int, int]
    frame_number: int
    order: int
    """Values of the slice header, of 4 and 5 bits."""
    weight: int
    """Share of the earlier reference picture, in 1/64. With 0 or 64, one picture is taken alone,
    but the other one at edges that it lacks."""
    motions: tuple[Motion, Motion]
    """Movement from this picture to the later reference picture, and to the earlier one."""
    still: bytes
    """A byte for each macroblock, 0 where both pictures are taken as they move. Else the sum of
    `LATER` and `EARLIER`, the pictures that are taken, and of `FIXED` where nothing moves."""

    def check(self) -> None:
        """Raise `ValueError` for what the C code cannot write."""
        blocks = math.prod(-(-side // BLOCK_SIZE) for side in self.size)
        shifts = [shift for motion in self.motions for shift in motion.shifts(self.size)]
        if not (
            all(1 <= side <= MAX_SIDE for side in self.size)
            and len(self.still) == blocks
            and 0 <= self.frame_number < 16
            and 0 <= self.order < 32
            and 0 <= self.weight <= 64
            and all(abs(shift) <= MAX_SHIFT for shift in shifts)
        ):
            msg = f"{self._replace(still=b'')}: expected a picture that `BPicture` describes"
            raise ValueError(msg)


def needed_range(start: float, length: float, size: int) -> tuple[int, int]:
    """Return the first column or row that a window needs, and their number.

    The filter also reads some beside the window. ``size`` is their number in the plane.
    """
    first = max(0, math.floor(start) - FILTER_REACH)
    end = min(size, math.ceil(start + length) + FILTER_REACH)
    return first, end - first


def check_window(source: Plane, target: Plane, left: float, top: float, zoom: float) -> None:
    """Check the arguments of a zoom."""
    _check_plane(source)
    _check_plane(target, MAX_SIDE)
    check_disjoint(source, target)
    if not MIN_ZOOM <= zoom <= MAX_ZOOM:
        msg = f"zoom: {zoom}; expected {MIN_ZOOM:.2f} to {MAX_ZOOM}"
        raise ValueError(msg)
    starts = (
        ("left", left, source.width, target.width),
        ("top", top, source.height, target.height),
    )
    for name, start, size, length in starts:
        # Written so that not-a-number is rejected too.
        if not -MAX_OVERHANG <= start <= size - length / zoom + MAX_OVERHANG:
            msg = f"{name}: {start}; the window is outside of the plane"
            raise ValueError(msg)


def _check_plane(plane: Plane, max_side: int = MAX_PLANE_SIDE) -> None:
    sides = 1 <= plane.width <= max_side and 1 <= plane.height <= max_side
    if not (sides and plane.width <= plane.stride <= MAX_STRIDE and plane.address > 0):
        msg = (
            f"{plane}; expected sides of 1 to {max_side} samples"
            f" and a stride from the width to {MAX_STRIDE}"
        )
        raise ValueError(msg)


def check_area(plane: Plane, area: Rectangle) -> None:
    """Check that a plane contains a rectangle."""
    _check_plane(plane)
    not_empty = min(area.x, area.y) >= 0 and min(area.width, area.height) >= 1
    right, bottom = area.x + area.width, area.y + area.height
    if not (not_empty and right <= plane.width and bottom <= plane.height):
        msg = f"{area} is outside of {plane}"
        raise ValueError(msg)


def check_length(name: str, data: bytes, area: Rectangle) -> None:
    """Check that each sample of a rectangle has a byte."""
    if len(data) != area.width * area.height:
        msg = f"{name}: {len(data)} bytes; expected {area.width}x{area.height}"
        raise ValueError(msg)


def check_disjoint(first: Plane, second: Plane) -> None:
    """Check that two planes share no memory."""
    if first.address < _end(second) and second.address < _end(first):
        msg = f"{first} and {second} overlap"
        raise ValueError(msg)


def _end(plane: Plane) -> int:
    return plane.address + plane.stride * (plane.height - 1) + plane.width
