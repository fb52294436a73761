"""Pictures with a soft dot, and the place of the dot in a frame."""

from __future__ import annotations

import math

from PIL import Image

LANDSCAPE, PORTRAIT = (1920, 1080), (1080, 1920)

_BACKGROUND, _HEIGHT, _SPREAD = 40, 160, 6.0
"""Luma of the background, additional luma of a dot's centre, and its standard deviation in
pixels."""
_REACH = 26
"""Pixels from the centre of a dot to the edge of the square that contains all of it."""


def chart(size: tuple[int, int], dot: tuple[float, float]) -> Image.Image:
    """Return a picture in RGB whose luma shows a soft dot, in pixels off the centre."""
    luma = Image.new("L", size, _BACKGROUND)
    centre = [side / 2 + offset - 0.5 for side, offset in zip(size, dot, strict=True)]
    for y in range(round(centre[1]) - _REACH, round(centre[1]) + _REACH):
        for x in range(round(centre[0]) - _REACH, round(centre[0]) + _REACH):
            square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
            value = _BACKGROUND + _HEIGHT * math.exp(-square / (2 * _SPREAD**2))
            luma.putpixel((x, y), round(value))
    return luma.point(lambda value: round((value - 16) * 255 / 219)).convert("RGB")


def find_dot(luma: Image.Image, near: tuple[float, float]) -> tuple[float, float]:
    """Return the centre of the dot near a place, in pixels off the centre of the frame."""
    left, top = (
        round(side / 2 + offset) - _REACH for side, offset in zip(luma.size, near, strict=True)
    )
    part = luma.crop((left, top, left + 2 * _REACH, top + 2 * _REACH))
    total = across = down = 0
    for position, value in enumerate(part.tobytes()):
        weight = max(value - _BACKGROUND - 4, 0)
        row, column = divmod(position, 2 * _REACH)
        total += weight
        across += weight * column
        down += weight * row
    return (
        across / total + left + 0.5 - luma.width / 2,
        down / total + top + 0.5 - luma.height / 2,
    )
