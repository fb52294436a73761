"""Places of the cues that are shown at the same time. Pure functions.

The rules are those of libass: a new cue is moved until it overlaps no other cue, upwards at the
bottom of the picture and downwards elsewhere, and it keeps its place as long as it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Rectangle(NamedTuple):
    """Area of the picture, in pixels; it may extend beyond the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Rectangle) -> bool:
        """Return whether two rectangles have a common area; touching edges have none."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom - _TOLERANCE
            and other.top < self.bottom - _TOLERANCE
        )

    def moved(self, down: float) -> Rectangle:
        """Return the rectangle at another height."""
        return self._replace(top=self.top + down, bottom=self.bottom + down)


_TOLERANCE = 0.01
"""Overlap in pixels that is caused by the rounding of sums."""


def aligned(
    position: int, block: tuple[float, float], canvas: tuple[int, int], side: int, edge: int
) -> Rectangle:
    """Return the default place of a block of text of this size on a canvas of this size.

    ``position`` is that of `Cue.position`. ``side`` is the margin at the left and right, ``edge``
    the margin at the top and bottom. A block that is wider than the space beside its margin extends
    into the margin, and beyond the picture only if it is wider than the picture.
    """
    row, column = divmod(position - 1, 3)
    (width, height), (canvas_width, canvas_height) = block, canvas
    left = (
        min(side, max(0.0, canvas_width - width)),
        (canvas_width - width) / 2,
        max(0.0, canvas_width - side - width),
    )[column]
    top = (canvas_height - edge - height, (canvas_height - height) / 2, edge)[row]
    return Rectangle(left, top, left + width, top + height)


def free_place(wanted: Rectangle, taken: Iterable[Rectangle], *, downwards: bool) -> Rectangle:
    """Return the rectangle, moved up or down until it overlaps none of those that are taken."""
    order = sorted(taken, key=lambda other: other.top if downwards else -other.bottom)
    place = wanted
    for other in order:
        if place.overlaps(other):
            place = place.moved(other.bottom - place.top if downwards else other.top - place.bottom)
    return place
