"""Parts of a picture that fill a video, and pictures that fit into it. Pure functions."""

from __future__ import annotations

from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
"""Position in a picture as shares of its width and height, from 0 to 1."""
CENTRE: Point = (0.5, 0.5)
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a part of a picture, in pixels."""


def crop_box(size: tuple[int, int], shape: tuple[int, int], focus: Point) -> Box:
    """Return the largest part of a picture with the proportions of ``shape``.

    Its centre is as near to ``focus`` as the edges of the picture allow.
    """
    (width, height), ratio = size, shape[0] / shape[1]
    across, down = min(width, height * ratio), min(height, width / ratio)
    left = min(max(0.0, width * focus[0] - across / 2), width - across)
    top = min(max(0.0, height * focus[1] - down / 2), height - down)
    return left, top, left + across, top + down


def contained_size(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a picture that is scaled to touch two edges of a frame, in pixels."""
    scale = min(frame[0] / size[0], frame[1] / size[1])
    width, height = (max(1, round(side * scale)) for side in size)
    return min(width, frame[0]), min(height, frame[1])


def position_in_box(point: Point, size: tuple[int, int], box: Box) -> Point:
    """Return the position of a point within a part of a picture, or the nearest one in the part.

    Args:
        point: Position in the picture.
        size: Width and height of the picture.
        box: The part.
    """
    left, top, right, bottom = box
    across = (size[0] * point[0] - left) / (right - left)
    down = (size[1] * point[1] - top) / (bottom - top)
    return min(1.0, max(0.0, across)), min(1.0, max(0.0, down))


def stored_point(point: Point, orientation: int) -> Point:
    """Return a point of a picture before the rotation of an EXIF orientation.

    ``point`` is the point after the rotation, as the picture is seen. Orientations besides 2 to 8
    change nothing.
    """
    x, y = point
    turned: dict[int, Point] = {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (y, 1 - x),
        7: (1 - y, 1 - x),
        8: (1 - y, x),
    }
    return turned.get(orientation, point)
